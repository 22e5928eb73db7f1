/* Mean over the rows of each sequence: one block per sequence and 64 columns. */
#include "gpu/ops/cuda/cuda_view.h"

#include "gpu/ops/cuda/cuda_backend.h"

#define POOL_COLUMNS 64

static __global__ void mean_pool_kernel(struct op_mean_pool args)
{
    int64_t column = (int64_t)blockIdx.y * POOL_COLUMNS + threadIdx.x;
    if (column >= args.width)
        return;
    for (int64_t s = blockIdx.x; s < args.sequences; s += gridDim.x) {
        float sum = 0;
        for (int64_t r = 0; r < args.length; r++) {
            float v[1];
            cuda_load<1>(args.x, (s * args.length + r) * args.width + column, v);
            sum += v[0];
        }
        args.y[s * args.width + column] = sum / (float)args.length;
    }
}

enum ij_status cuda_mean_pool(struct backend *backend, const struct op_mean_pool *args,
                              struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "mean_pool", args->sequences, args->length, args->width);
    IJ_TRY(cuda_check_shape(cuda, args->sequences, args->width, reterr_err));
    IJ_TRY(cuda_check_shape(cuda, args->sequences, args->length, reterr_err));
    IJ_TRY(cuda_check(cuda, "x", args->x, reterr_err));
    unsigned columns = (unsigned)((args->width + POOL_COLUMNS - 1) / POOL_COLUMNS);
    CUDA_LAUNCH(mean_pool_kernel, dim3(cuda_blocks(cuda, args->sequences, 1), columns),
                dim3(POOL_COLUMNS), 0, cuda->stream, *args);
    return cuda_done(cuda, reterr_err);
}
