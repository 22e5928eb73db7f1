/*
 * Gradient of a linear layer's weight and bias.
 *
 * Every thread owns a part of the weight's rows (the layer's outputs) and sums over all rows of the
 * batch, so no partial results have to be joined. Bfloat16 inputs are widened in blocks of batch
 * rows.
 */
#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_gemm.h"
#include "gpu/ops/host/host_linear.h"
#include "gpu/ops/host/host_product_weight.h"
#include "gpu/ops/host/host_tensor.h"

#define HOST_WEIGHT_BLOCK 128 /* batch rows widened at a time; host_linear_local_floats allows it */
#define HOST_WEIGHT_GRAIN 16

HOST_CLONES static void host_weight_add_row(float *restrict sum, const float *restrict dy,
                                            int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        sum[i] += dy[i];
}

/* Outputs [span) of dweight and dbias, from batch rows [begin, end). */
static bool host_weight_block(const struct op_linear_backward_weight *args, struct host_span span,
                              int64_t begin, int64_t end, bool add, float *local)
{
    int64_t in = args->in, out = args->out;
    const float *dy = host_tensor_read(args->dy, begin * out, (end - begin) * out, local);
    const float *x =
        host_tensor_read(args->x, begin * in, (end - begin) * in, local + HOST_WEIGHT_BLOCK * out);
    if (args->dbias) {
        float *dbias = args->dbias + span.begin;
        if (!add)
            memset(dbias, 0, (size_t)(span.end - span.begin) * sizeof(float));
        for (int64_t row = 0; row < end - begin; row++)
            host_weight_add_row(dbias, dy + row * out + span.begin, span.end - span.begin);
    }
    struct host_gemm_args gemm = {.m = span.end - span.begin,
                                  .n = in,
                                  .k = end - begin,
                                  .transpose_a = true,
                                  .a = dy + span.begin,
                                  .b = x,
                                  .c = args->dweight + span.begin * in,
                                  .lda = out,
                                  .ldb = in,
                                  .ldc = in,
                                  .alpha = 1,
                                  .beta = add ? 1 : 0};
    return host_gemm_f32(&gemm);
}

/* No rows: the sums are zero. */
static void host_weight_empty(const struct op_linear_backward_weight *args)
{
    if (args->accumulate)
        return;
    memset(args->dweight, 0, (size_t)(args->in * args->out) * sizeof(float));
    if (args->dbias)
        memset(args->dbias, 0, (size_t)args->out * sizeof(float));
}

enum ij_status host_linear_backward_weight(struct backend *backend,
                                           const struct op_linear_backward_weight *args,
                                           struct ij_err *reterr_err)
{
    const char *op = "linear_backward_weight";
    struct host_backend *host = host_backend_of(backend);
    IJ_TRY(host_tensor_check_shape(op, args->rows, args->in, reterr_err));
    IJ_TRY(host_tensor_check_shape(op, args->rows, args->out, reterr_err));
    IJ_TRY(host_tensor_check(op, "dy", args->dy, reterr_err));
    IJ_TRY(host_tensor_check(op, "x", args->x, reterr_err));
    IJ_TRY(host_backend_need(host, 0, host_linear_local_floats(args->in, args->out), reterr_err));
    if (args->rows == 0)
        host_weight_empty(args);
    if (host_product_weight_fits(host, args))
        return host_product_weight_run(host, args, reterr_err);
    bool wide = args->dy.type == TENSOR_F32 && args->x.type == TENSOR_F32;
    int64_t step = wide ? args->rows : HOST_WEIGHT_BLOCK;
    bool failed = false;
#pragma omp parallel num_threads(backend->threads) reduction(|| : failed)
    {
        struct host_span span = host_my_part(args->out, HOST_WEIGHT_GRAIN);
        for (int64_t row = 0; row < args->rows && span.begin < span.end && !failed; row += step) {
            int64_t end = row + step < args->rows ? row + step : args->rows;
            failed = !host_weight_block(args, span, row, end, args->accumulate || row > 0,
                                        host_backend_local(host));
        }
    }
    if (failed)
        return IJ_ERR(reterr_err, IJ_DEVICE, "%s: oneDNN refused the product %lld x %lld x %lld",
                      op, (long long)args->out, (long long)args->in, (long long)args->rows);
    return IJ_OK;
}
