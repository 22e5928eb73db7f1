/*
 * Cuts patches out of images; uint8 is normalised on the way. One block per patch.
 *
 * A thread writes consecutive values of a patch, so that the stores of a warp are whole lines; the
 * reads of three channels out of interleaved bytes share cache lines.
 */
#include "gpu/ops/cuda/cuda_view.h"

#include "gpu/ops/cuda/cuda_backend.h"

#define PATCHIFY_THREADS  256
#define PATCHIFY_SIZE_MAX 16384 /* 3 * size^2 fits 32 bits */

static __device__ inline float patchify_pixel(const struct op_patchify &args, int64_t image,
                                              int channel, int64_t y, int64_t x)
{
    if (args.pixels.type == TENSOR_F32) {
        const float *pixels = (const float *)args.pixels.data;
        return pixels[((image * 3 + channel) * args.size + y) * args.size + x];
    }
    const uint8_t *bytes = (const uint8_t *)args.pixels.data;
    float value = (float)bytes[((image * args.size + y) * args.size + x) * 3 + channel];
    return (value / 255.0f - args.mean[channel]) / args.std[channel];
}

static __global__ void patchify_kernel(struct op_patchify args, int *fault)
{
    /* Numbers inside an image are small: 32-bit divisions are several times cheaper. */
    int side = (int)args.patch, area = side * side, grid = (int)args.size / side;
    int64_t rows = args.images * args.keep_count;
    for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        int64_t patch = args.index ? args.index[row] : row % args.keep_count;
        if (patch < 0 || patch >= (int64_t)grid * grid) {
            *fault = CUDA_FAULT_INDEX;
            continue;
        }
        int64_t image = row / args.keep_count;
        int top = (int)patch / grid * side, left = (int)patch % grid * side;
        for (int i = (int)threadIdx.x; i < 3 * area; i += PATCHIFY_THREADS) {
            int inside = i % area;
            float v[1] = {
                patchify_pixel(args, image, i / area, top + inside / side, left + inside % side)};
            cuda_store<1>(args.y, row * 3 * area + i, v);
        }
    }
}

enum ij_status cuda_patchify(struct backend *backend, const struct op_patchify *args,
                             struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "patchify", args->images, args->size, args->patch);
    if (args->images < 0 || args->patch < 1 || args->size < args->patch ||
        args->size > PATCHIFY_SIZE_MAX || args->size % args->patch != 0 || args->keep_count < 0)
        return IJ_ERR(reterr_err, IJ_INVALID,
                      "patchify: %lld images of size %lld in patches of %lld",
                      (long long)args->images, (long long)args->size, (long long)args->patch);
    int64_t patches = (args->size / args->patch) * (args->size / args->patch);
    if (!args->index && args->keep_count != patches)
        return IJ_ERR(reterr_err, IJ_INVALID, "patchify: %lld of %lld patches without an index",
                      (long long)args->keep_count, (long long)patches);
    if (!args->pixels.data || (args->pixels.type != TENSOR_U8 && args->pixels.type != TENSOR_F32))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "pixels",
                            "patchify: must be uint8 or float32, got type %d",
                            (int)args->pixels.type);
    IJ_TRY(cuda_check(cuda, "y", args->y, reterr_err));
    if (args->images * args->keep_count > 0)
        CUDA_LAUNCH(patchify_kernel, dim3(cuda_blocks(cuda, args->images * args->keep_count, 1)),
                    dim3(PATCHIFY_THREADS), 0, cuda->stream, *args, cuda->fault);
    return cuda_done(cuda, reterr_err);
}
