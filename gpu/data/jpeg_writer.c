/* See jpeg_writer.h. TurboJPEG's interface has no longjmp and keeps its buffer. */
#include "gpu/data/jpeg_writer.h"

#include <turbojpeg.h>

#include "base/mem.h"

struct jpeg_writer {
    tjhandle codec;
    unsigned char *data; /* owned; tjFree */
    unsigned long capacity;
};

enum ij_status jpeg_writer_new(struct jpeg_writer **ret_writer, struct ij_err *reterr_err)
{
    struct jpeg_writer *writer = mem_new(struct jpeg_writer);
    if (writer)
        writer->codec = tjInitCompress();
    if (!writer || !writer->codec) {
        jpeg_writer_free(writer);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a JPEG encoder");
    }
    *ret_writer = writer;
    return IJ_OK;
}

void jpeg_writer_free(struct jpeg_writer *writer)
{
    if (!writer)
        return;
    if (writer->codec)
        tjDestroy(writer->codec);
    tjFree(writer->data);
    mem_free(writer);
}

enum ij_status jpeg_writer_compress(struct jpeg_writer *writer, const uint8_t *pixels,
                                    uint32_t width, uint32_t height, int quality,
                                    const uint8_t **ret_data, size_t *ret_size,
                                    struct ij_err *reterr_err)
{
    unsigned long size = writer->capacity;
    if (tjCompress2(writer->codec, pixels, (int)width, 0, (int)height, TJPF_RGB, &writer->data,
                    &size, TJSAMP_444, quality, 0) < 0)
        return IJ_ERR(reterr_err, IJ_INTERNAL, "cannot compress a picture of %u x %u: %s", width,
                      height, tjGetErrorStr2(writer->codec));
    if (size > writer->capacity)
        writer->capacity = size;
    *ret_data = writer->data;
    *ret_size = size;
    return IJ_OK;
}
