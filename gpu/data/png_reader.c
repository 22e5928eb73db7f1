/*
 * See png_reader.h. Rows come one by one; only interlaced files are decoded as a whole. Chunk
 * limits keep a compressed profile or text from growing without bound.
 */
#include "gpu/data/png_reader.h"

#include <string.h>

#include <spng.h>

#include "base/mem.h"

#define PIXEL_BYTES     4u
#define CHUNK_BYTES_MAX (16u << 20)
#define CACHE_BYTES_MAX (32u << 20)

struct png_reader {
    spng_ctx *codec; /* one per image: the library has no reset */
    struct spng_ihdr header;
    uint8_t *pixels; /* a strip of whole rows, or the whole image where it is interlaced */
    size_t capacity;
    struct image_box box;
    uint32_t row; /* next row of the image to hand out */
};

enum ij_status png_reader_new(struct png_reader **ret_reader, struct ij_err *reterr_err)
{
    *ret_reader = mem_new(struct png_reader);
    if (!*ret_reader)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a PNG decoder");
    return IJ_OK;
}

void png_reader_free(struct png_reader *reader)
{
    if (!reader)
        return;
    png_reader_close(reader);
    mem_free(reader->pixels);
    mem_free(reader);
}

void png_reader_close(struct png_reader *reader)
{
    spng_ctx_free(reader->codec); /* NULL is fine */
    reader->codec = NULL;
}

static enum ij_status failed(struct png_reader *reader, int code, struct ij_err *reterr_err)
{
    bool large = code == SPNG_EMEM || code == SPNG_ECHUNK_LIMITS || code == SPNG_EUSER_WIDTH ||
                 code == SPNG_EUSER_HEIGHT;
    png_reader_close(reader);
    return IJ_ERR(reterr_err, large ? IJ_TOO_LARGE : IJ_DATA, "PNG: %s", spng_strerror(code));
}

static int prepare(struct png_reader *reader, const uint8_t *data, size_t size)
{
    int code = spng_set_chunk_limits(reader->codec, CHUNK_BYTES_MAX, CACHE_BYTES_MAX);
    if (!code)
        code = spng_set_crc_action(reader->codec, SPNG_CRC_ERROR, SPNG_CRC_DISCARD);
    if (!code)
        code = spng_set_png_buffer(reader->codec, data, size);
    return code ? code : spng_get_ihdr(reader->codec, &reader->header);
}

enum ij_status png_reader_open(struct png_reader *reader, const uint8_t *data, size_t size,
                               struct image_info *ret_info, struct ij_err *reterr_err)
{
    const struct spng_ihdr *header = &reader->header;
    png_reader_close(reader);
    reader->codec = spng_ctx_new(0);
    if (!reader->codec)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a PNG decoder");
    int code = prepare(reader, data, size);
    if (code)
        return failed(reader, code, reterr_err);
    if ((uint64_t)header->width * header->height > IMAGE_PIXELS_MAX) {
        png_reader_close(reader);
        return IJ_ERR(reterr_err, IJ_TOO_LARGE, "%u x %u pixels, more than %u million",
                      header->width, header->height, IMAGE_PIXELS_MAX / 1000000);
    }
    *ret_info = (struct image_info){IMAGE_PNG, header->width, header->height};
    return IJ_OK;
}

static enum ij_status make_room(struct png_reader *reader, size_t rows, struct ij_err *reterr_err)
{
    size_t bytes = rows * reader->header.width * PIXEL_BYTES + IMAGE_SLACK_BYTES;
    if (bytes <= reader->capacity)
        return IJ_OK;
    mem_free(reader->pixels);
    reader->capacity = 0;
    reader->pixels = mem_alloc_aligned(64, bytes);
    if (!reader->pixels)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for rows of %u pixels",
                      reader->header.width);
    reader->capacity = bytes;
    return IJ_OK;
}

static int decode_row(struct png_reader *reader, uint32_t slot)
{
    size_t stride = (size_t)reader->header.width * PIXEL_BYTES;
    int code = spng_decode_row(reader->codec, reader->pixels + slot * stride, stride);
    return code == SPNG_EOI ? 0 : code;
}

enum ij_status png_reader_start(struct png_reader *reader, const struct image_box *box,
                                struct ij_err *reterr_err)
{
    bool whole = reader->header.interlace_method != 0;
    size_t stride = (size_t)reader->header.width * PIXEL_BYTES;
    reader->box = *box;
    reader->row = box->y;
    IJ_TRY(make_room(reader, whole ? reader->header.height : IMAGE_STRIP_ROWS, reterr_err));
    int code;
    if (whole)
        code = spng_decode_image(reader->codec, reader->pixels, stride * reader->header.height,
                                 SPNG_FMT_RGBA8, 0);
    else
        code = spng_decode_image(reader->codec, NULL, 0, SPNG_FMT_RGBA8, SPNG_DECODE_PROGRESSIVE);
    for (uint32_t y = 0; !whole && !code && y < box->y; y++)
        code = decode_row(reader, 0);
    return code ? failed(reader, code, reterr_err) : IJ_OK;
}

enum ij_status png_reader_rows(struct png_reader *reader, struct image_strip *ret_strip,
                               struct ij_err *reterr_err)
{
    uint32_t left = reader->box.y + reader->box.height - reader->row;
    uint32_t count = left < IMAGE_STRIP_ROWS ? left : IMAGE_STRIP_ROWS, first = 0;
    size_t stride = (size_t)reader->header.width * PIXEL_BYTES;
    int code = 0;
    IJ_ASSERT(count > 0);
    if (reader->header.interlace_method)
        first = reader->row;
    else
        for (uint32_t i = 0; !code && i < count; i++)
            code = decode_row(reader, i);
    if (code)
        return failed(reader, code, reterr_err);
    reader->row += count;
    *ret_strip = (struct image_strip){
        reader->pixels + first * stride + reader->box.x * (size_t)PIXEL_BYTES, stride, count};
    return IJ_OK;
}
