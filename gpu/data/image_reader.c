/* See image_reader.h: tells the formats apart and hands on to the reader of each. */
#include "gpu/data/image_reader.h"

#include <string.h>

#include "base/mem.h"
#include "gpu/data/jpeg_reader.h"
#include "gpu/data/png_reader.h"

struct image_reader {
    struct jpeg_reader *jpeg;
    struct png_reader *png;
    struct image_info info;
};

struct signature {
    const char *bytes;
    size_t size;
    const char *name;
};

enum ij_status image_reader_new(struct image_reader **ret_reader, struct ij_err *reterr_err)
{
    struct image_reader *reader = mem_new(struct image_reader);
    if (!reader)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an image reader");
    enum ij_status status = jpeg_reader_new(&reader->jpeg, reterr_err);
    if (status == IJ_OK)
        status = png_reader_new(&reader->png, reterr_err);
    if (status != IJ_OK) {
        image_reader_free(reader);
        return status;
    }
    *ret_reader = reader;
    return IJ_OK;
}

void image_reader_free(struct image_reader *reader)
{
    if (!reader)
        return;
    jpeg_reader_free(reader->jpeg);
    png_reader_free(reader->png);
    mem_free(reader);
}

static bool begins_with(const uint8_t *data, size_t size, const char *bytes, size_t count)
{
    return size >= count && memcmp(data, bytes, count) == 0;
}

/* Names the usual strangers, so that the message helps. */
static enum ij_status refuse(const uint8_t *data, size_t size, struct ij_err *reterr_err)
{
    static const struct signature known[] = {
        {"GIF8", 4, "a GIF"},
        {"RIFF", 4, "a WebP"},
        {"BM", 2, "a BMP"},
        {"II*\0", 4, "a TIFF"},
        {"MM\0*", 4, "a TIFF"},
        {"<", 1, "an HTML or XML text"},
        {"\0\0\0\x0cjP", 6, "a JPEG 2000"},
        {"\xff\x0a", 2, "a JPEG XL"},
    };
    if (size == 0)
        return IJ_ERR(reterr_err, IJ_DATA, "the file is empty");
    for (size_t i = 0; i < COUNT_OF(known); i++)
        if (begins_with(data, size, known[i].bytes, known[i].size))
            return IJ_ERR(reterr_err, IJ_DATA, "neither JPEG nor PNG: it looks like %s",
                          known[i].name);
    return IJ_ERR(reterr_err, IJ_DATA, "neither JPEG nor PNG");
}

enum ij_status image_reader_open(struct image_reader *reader, const uint8_t *data, size_t size,
                                 struct image_info *ret_info, struct ij_err *reterr_err)
{
    image_reader_close(reader);
    if (begins_with(data, size, "\xff\xd8", 2)) {
        reader->info.format = IMAGE_JPEG;
        IJ_TRY(jpeg_reader_open(reader->jpeg, data, size, &reader->info, reterr_err));
    } else if (begins_with(data, size, "\x89PNG\r\n\x1a\n", 8)) {
        reader->info.format = IMAGE_PNG;
        IJ_TRY(png_reader_open(reader->png, data, size, &reader->info, reterr_err));
    } else {
        return refuse(data, size, reterr_err);
    }
    *ret_info = reader->info;
    return IJ_OK;
}

enum ij_status image_reader_start(struct image_reader *reader, const struct image_box *box,
                                  struct ij_err *reterr_err)
{
    IJ_ASSERT(box->width >= 1 && box->width <= reader->info.width);
    IJ_ASSERT(box->height >= 1 && box->height <= reader->info.height);
    IJ_ASSERT(box->x <= reader->info.width - box->width);
    IJ_ASSERT(box->y <= reader->info.height - box->height);
    if (reader->info.format == IMAGE_JPEG)
        return jpeg_reader_start(reader->jpeg, box, reterr_err);
    return png_reader_start(reader->png, box, reterr_err);
}

enum ij_status image_reader_rows(struct image_reader *reader, struct image_strip *ret_strip,
                                 struct ij_err *reterr_err)
{
    if (reader->info.format == IMAGE_JPEG)
        return jpeg_reader_rows(reader->jpeg, ret_strip, reterr_err);
    return png_reader_rows(reader->png, ret_strip, reterr_err);
}

void image_reader_close(struct image_reader *reader)
{
    jpeg_reader_close(reader->jpeg);
    png_reader_close(reader->png);
}
