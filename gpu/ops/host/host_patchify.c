/* Patches out of images, kept ones only. Every thread owns a part of the output rows. */
#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_tensor.h"

/* A row of a patch from interleaved uint8 pixels: y[i] = x[3 i] * scale + shift. */
HOST_CLONES static void host_patchify_bytes(const uint8_t *restrict x, float *restrict y,
                                            float scale, float shift, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        y[i] = (float)x[3 * i] * scale + shift;
}

static void host_patchify_patch(const struct op_patchify *args, int64_t image, int64_t patch,
                                float *y)
{
    int64_t side = args->patch, size = args->size, grid = size / side;
    int64_t top = patch / grid * side, left = patch % grid * side;
    for (int64_t c = 0; c < 3; c++) {
        float scale = 1.0f / (255.0f * args->std[c]), shift = -args->mean[c] / args->std[c];
        for (int64_t dy = 0; dy < side; dy++) {
            float *row = y + (c * side + dy) * side;
            int64_t line = top + dy;
            if (args->pixels.type == TENSOR_U8)
                host_patchify_bytes((const uint8_t *)args->pixels.data +
                                        ((image * size + line) * size + left) * 3 + c,
                                    row, scale, shift, side);
            else
                memcpy(row,
                       (const float *)args->pixels.data + ((image * 3 + c) * size + line) * size +
                           left,
                       (size_t)side * sizeof(float));
        }
    }
}

static enum ij_status host_patchify_check(const struct op_patchify *args, struct ij_err *reterr_err)
{
    const char *op = "patchify";
    if (args->images < 0 || args->patch < 1 || args->size < 1 || args->size % args->patch)
        return IJ_ERR(reterr_err, IJ_INVALID, "%s: images of %lld pixels, patches of %lld", op,
                      (long long)args->size, (long long)args->patch);
    IJ_TRY(host_tensor_check(op, "y", args->y, reterr_err));
    if (!args->pixels.data || (args->pixels.type != TENSOR_U8 && args->pixels.type != TENSOR_F32))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "pixels", "%s: must be uint8 or float32", op);
    int64_t patches = (args->size / args->patch) * (args->size / args->patch);
    if (!args->index && args->keep_count != patches)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "keep_count", "%s: must be %lld, got %lld", op,
                            (long long)patches, (long long)args->keep_count);
    for (int64_t i = 0; args->index && i < args->images * args->keep_count; i++)
        if (args->index[i] < 0 || args->index[i] >= patches)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "index", "%s: patch %d of %lld", op,
                                args->index[i], (long long)patches);
    return IJ_OK;
}

enum ij_status host_patchify(struct backend *backend, const struct op_patchify *args,
                             struct ij_err *reterr_err)
{
    struct host_backend *host = host_backend_of(backend);
    IJ_TRY(host_patchify_check(args, reterr_err));
    int64_t width = 3 * args->patch * args->patch;
    IJ_TRY(host_backend_need(host, 0, (size_t)width, reterr_err));
#pragma omp parallel num_threads(backend->threads)
    {
        struct host_span span = host_my_part(args->images * args->keep_count, 1);
        for (int64_t row = span.begin; row < span.end; row++) {
            float *y = host_tensor_target(args->y, row * width, host_backend_local(host));
            int64_t patch = args->index ? args->index[row] : row % args->keep_count;
            host_patchify_patch(args, row / args->keep_count, patch, y);
            host_tensor_write(args->y, row * width, width, y);
        }
    }
    return IJ_OK;
}
