/* Between float32 and bfloat16, round to nearest even. */
#include "gpu/ops/cuda/cuda_view.h"

#include "gpu/ops/cuda/cuda_backend.h"

#define CONVERT_THREADS 256

template <int PACK>
static __global__ void convert_kernel(int64_t packs, struct tensor x, struct tensor y)
{
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < packs; i += step) {
        float v[PACK];
        cuda_load<PACK>(x, i * PACK, v);
        cuda_store<PACK>(y, i * PACK, v);
    }
}

enum ij_status cuda_convert(struct backend *backend, const struct op_convert *args,
                            struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "convert", args->count, 1, 1);
    IJ_TRY(cuda_check_shape(cuda, args->count, 1, reterr_err));
    IJ_TRY(cuda_check(cuda, "x", args->x, reterr_err));
    IJ_TRY(cuda_check(cuda, "y", args->y, reterr_err));
    if (cuda_packs(args->count, args->x.data, args->y.data, NULL, NULL, NULL))
        CUDA_LAUNCH((convert_kernel<8>), dim3(cuda_blocks(cuda, args->count / 8, CONVERT_THREADS)),
                    dim3(CONVERT_THREADS), 0, cuda->stream, args->count / 8, args->x, args->y);
    else
        CUDA_LAUNCH((convert_kernel<1>), dim3(cuda_blocks(cuda, args->count, CONVERT_THREADS)),
                    dim3(CONVERT_THREADS), 0, cuda->stream, args->count, args->x, args->y);
    return cuda_done(cuda, reterr_err);
}
