/* General float32 products for evaluation; every thread owns a part of c's rows. */
#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_gemm.h"

#define HOST_MATMUL_GRAIN 16

/* An empty sum: c = beta * c. */
static void host_matmul_scale(const struct op_matmul *args)
{
    for (int64_t i = 0; i < args->m * args->n; i++)
        args->c[i] = args->beta == 0 ? 0 : args->beta * args->c[i];
}

static bool host_matmul_span(const struct op_matmul *args, struct host_span span)
{
    int64_t lda = args->transpose_a ? args->m : args->k;
    struct host_gemm_args gemm = {.m = span.end - span.begin,
                                  .n = args->n,
                                  .k = args->k,
                                  .transpose_a = args->transpose_a,
                                  .transpose_b = args->transpose_b,
                                  .a =
                                      args->a + (args->transpose_a ? span.begin : span.begin * lda),
                                  .b = args->b,
                                  .c = args->c + span.begin * args->n,
                                  .lda = lda,
                                  .ldb = args->transpose_b ? args->k : args->n,
                                  .ldc = args->n,
                                  .alpha = args->alpha,
                                  .beta = args->beta};
    return host_gemm_f32(&gemm);
}

enum ij_status host_matmul(struct backend *backend, const struct op_matmul *args,
                           struct ij_err *reterr_err)
{
    if (args->m < 0 || args->n < 0 || args->k < 0)
        return IJ_ERR(reterr_err, IJ_INVALID, "matmul: shape %lld x %lld x %lld",
                      (long long)args->m, (long long)args->n, (long long)args->k);
    if (args->k == 0) {
        host_matmul_scale(args);
        return IJ_OK;
    }
    bool failed = false;
#pragma omp parallel num_threads(backend->threads) reduction(|| : failed)
    failed = !host_matmul_span(args, host_my_part(args->m, HOST_MATMUL_GRAIN));
    if (failed)
        return IJ_ERR(reterr_err, IJ_DEVICE, "matmul: oneDNN refused %lld x %lld x %lld",
                      (long long)args->m, (long long)args->n, (long long)args->k);
    return IJ_OK;
}
