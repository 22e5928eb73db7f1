/* See png_writer.h. */
#include "gpu/eval/png_writer.h"

#include <spng.h>
#include <stdlib.h>

#include "base/file.h"

enum ij_status png_writer_save(const char *path, const uint8_t *pixels, uint32_t width,
                               uint32_t height, struct ij_err *reterr_err)
{
    struct spng_ihdr header = {
        .width = width, .height = height, .bit_depth = 8, .color_type = SPNG_COLOR_TYPE_TRUECOLOR};
    size_t size = 0;
    int code = SPNG_EMEM;
    void *data = NULL;
    spng_ctx *codec = spng_ctx_new(SPNG_CTX_ENCODER);
    if (codec)
        code = spng_set_option(codec, SPNG_ENCODE_TO_BUFFER, 1);
    if (!code)
        code = spng_set_ihdr(codec, &header);
    if (!code)
        code = spng_encode_image(codec, pixels, (size_t)width * height * 3, SPNG_FMT_PNG,
                                 SPNG_ENCODE_FINALIZE);
    if (!code)
        data = spng_get_png_buffer(codec, &size, &code);
    spng_ctx_free(codec);
    if (!data)
        return IJ_ERR_FIELD(reterr_err, IJ_NO_MEMORY, path, "cannot encode %s: %s", path,
                            spng_strerror(code));
    enum ij_status status = file_write_durable(path, data, size, 0644, reterr_err);
    free(data);
    return status;
}
