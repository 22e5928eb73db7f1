/* General float32 products. */
#include "gpu/ops/cuda/cuda_gemm.h"
#include "gpu/ops/cuda/cuda_view.h"

/* c = beta c: what a product over nothing leaves. */
static __global__ void matmul_scale_kernel(int64_t count, float beta, float *c)
{
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step)
        c[i] = beta == 0.0f ? 0.0f : beta * c[i];
}

enum ij_status cuda_matmul(struct backend *backend, const struct op_matmul *args,
                           struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "matmul", args->m, args->n, args->k);
    if (args->m < 0 || args->n < 0 || args->k < 0)
        return IJ_ERR(reterr_err, IJ_INVALID, "matmul: %lld x %lld x %lld", (long long)args->m,
                      (long long)args->n, (long long)args->k);
    int64_t count = args->m * args->n;
    if (count == 0)
        return IJ_OK;
    if (args->k == 0) {
        CUDA_LAUNCH(matmul_scale_kernel, dim3(cuda_blocks(cuda, count, 256)), dim3(256), 0,
                    cuda->stream, count, args->beta, args->c);
        return cuda_done(cuda, reterr_err);
    }
    struct cuda_product p = {};
    p.m = args->m;
    p.n = args->n;
    p.k = args->k;
    p.transpose_a = args->transpose_a;
    p.transpose_b = args->transpose_b;
    p.a = tensor_f32((float *)args->a);
    p.b = tensor_f32((float *)args->b);
    p.c = tensor_f32(args->c);
    p.d = p.c;
    p.alpha = args->alpha;
    p.beta = args->beta;
    IJ_TRY(cuda_gemm_run(cuda, &p, reterr_err));
    return cuda_done(cuda, reterr_err);
}
