/* Every sequence times a factor of its own, plus a residual: one warp per row. */
#include "gpu/ops/cuda/cuda_view.h"

#include "gpu/ops/cuda/cuda_backend.h"

#define SCALE_WARPS 4

static __global__ void scale_rows_kernel(struct op_scale_rows args)
{
    int lane = (int)threadIdx.x % CUDA_WARP;
    int64_t rows = args.sequences * args.length;
    int64_t warp = (int64_t)blockIdx.x * SCALE_WARPS + threadIdx.x / CUDA_WARP;
    for (int64_t row = warp; row < rows; row += (int64_t)gridDim.x * SCALE_WARPS) {
        int64_t s = row / args.length, from = args.broadcast ? s : row;
        float factor = args.scale[s];
        for (int64_t i = lane; i < args.width; i += CUDA_WARP) {
            float v[1], r[1] = {0};
            cuda_load<1>(args.x, from * args.width + i, v);
            if (args.residual.data)
                cuda_load<1>(args.residual, row * args.width + i, r);
            v[0] = factor * v[0] + r[0];
            cuda_store<1>(args.y, row * args.width + i, v);
        }
    }
}

enum ij_status cuda_scale_rows(struct backend *backend, const struct op_scale_rows *args,
                               struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "scale_rows", args->sequences, args->length, args->width);
    IJ_TRY(cuda_check_shape(cuda, args->sequences, args->width, reterr_err));
    IJ_TRY(cuda_check_shape(cuda, args->sequences, args->length, reterr_err));
    IJ_TRY(cuda_check(cuda, "x", args->x, reterr_err));
    IJ_TRY(cuda_check(cuda, "y", args->y, reterr_err));
    if (args->residual.data)
        IJ_TRY(cuda_check(cuda, "residual", args->residual, reterr_err));
    CUDA_LAUNCH(scale_rows_kernel,
                dim3(cuda_blocks(cuda, args->sequences * args->length, SCALE_WARPS)),
                dim3(SCALE_WARPS * CUDA_WARP), 0, cuda->stream, *args);
    return cuda_done(cuda, reterr_err);
}
