/*
 * Linear layers: forward, gradient of the input, gradient of the weight.
 *
 * Forward and input gradient: every thread owns a contiguous part of the rows and walks it in blocks;
 * a block's product is followed at once by its epilogue (bias, GELU, residual) while it is in the
 * cache. Weight gradient: every thread owns a part of the weight's rows and sums over all rows of the
 * batch. Bfloat16 weights are widened once per call into shared scratch, rows block by block into the
 * thread's own.
 */
#include "gpu/ops/host/host_linear.h"

#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_gemm.h"
#include "gpu/ops/host/host_tensor.h"

#define HOST_LINEAR_BLOCK 128 /* rows per product and epilogue */
#define HOST_LINEAR_GRAIN 16

size_t host_linear_local_floats(int64_t in, int64_t out)
{
    return HOST_LINEAR_BLOCK * 3 * (size_t)(in > out ? in : out);
}

static enum ij_status host_linear_shape(const char *op, int64_t rows, int64_t in, int64_t out,
                                        struct ij_err *reterr_err)
{
    IJ_TRY(host_tensor_check_shape(op, rows, in, reterr_err));
    return host_tensor_check_shape(op, rows, out, reterr_err);
}

static enum ij_status host_linear_failed(const char *op, int64_t rows, int64_t in, int64_t out,
                                         struct ij_err *reterr_err)
{
    return IJ_ERR(reterr_err, IJ_DEVICE, "%s: oneDNN refused the product %lld x %lld x %lld", op,
                  (long long)rows, (long long)in, (long long)out);
}

/* Widens a bfloat16 matrix into `buffer`, all threads together; float32 is used in place. To be
 * followed by a barrier. */
static const float *host_linear_widen(struct tensor t, int64_t rows, int64_t width, float *buffer)
{
    if (t.type == TENSOR_F32)
        return t.data;
    struct host_span span = host_my_part(rows, 1);
    host_tensor_widen((const uint16_t *)t.data + span.begin * width, buffer + span.begin * width,
                      (span.end - span.begin) * width);
    return buffer;
}

/* ---- Forward --------------------------------------------------------------------------------- */

HOST_CLONES static void host_linear_add_bias(float *restrict y, const float *restrict bias,
                                             int64_t width)
{
#pragma omp simd
    for (int64_t i = 0; i < width; i++)
        y[i] += bias[i];
}

HOST_CLONES static void host_linear_gelu(const float *x, float *y, int64_t width)
{
#pragma omp simd
    for (int64_t i = 0; i < width; i++)
        y[i] = host_simd_gelu(x[i]);
}

HOST_CLONES static void host_linear_add(float *y, const float *x, const float *z, int64_t width)
{
#pragma omp simd
    for (int64_t i = 0; i < width; i++)
        y[i] = x[i] + z[i];
}

/* One row after its product `sum`: bias, pre, activation, residual. `buffer`: one row. */
static void host_linear_finish(const struct op_linear_forward *args, int64_t row, float *sum,
                               bool residual_done, float *buffer)
{
    int64_t width = args->out, at = row * width;
    if (args->bias)
        host_linear_add_bias(sum, args->bias, width);
    if (args->pre.data) {
        float *pre = host_tensor_target(args->pre, at, sum);
        if (pre != sum)
            memcpy(pre, sum, (size_t)width * sizeof(float));
        host_tensor_write(args->pre, at, width, sum);
    }
    float *y = host_tensor_target(args->y, at, sum);
    const float *value = sum;
    if (args->activation == ACTIVATION_GELU) {
        bool in_y = args->y.type == TENSOR_F32 && args->residual.data != args->y.data;
        float *gelu = in_y ? y : buffer;
        host_linear_gelu(sum, gelu, width);
        value = gelu;
    }
    if (args->residual.data && !residual_done) {
        float *wide = buffer + width;
        const float *residual = host_tensor_read(args->residual, at, width, wide);
        float *target = args->y.type == TENSOR_F32 ? y : wide;
        host_linear_add(target, value, residual, width);
        value = target;
    }
    if (args->y.type == TENSOR_F32 && value != y)
        memcpy(y, value, (size_t)width * sizeof(float));
    host_tensor_write(args->y, at, width, value);
}

/* Rows [begin, end) of the output; `local` holds a block of in, a block of out and two rows. */
static bool host_linear_rows(const struct op_linear_forward *args, const float *weight,
                             int64_t begin, int64_t end, float *local)
{
    int64_t in = args->in, out = args->out;
    bool residual_in_place = args->residual.data && args->residual.data == args->y.data;
    bool direct = args->y.type == TENSOR_F32 && !residual_in_place;
    bool add = args->y.type == TENSOR_F32 && residual_in_place &&
               args->activation == ACTIVATION_NONE && !args->pre.data;
    float *wide_out = local + HOST_LINEAR_BLOCK * in;
    float *row_buffer = wide_out + HOST_LINEAR_BLOCK * out;
    float *sum = wide_out;
    if (args->pre.data && args->pre.type == TENSOR_F32)
        sum = (float *)args->pre.data + begin * out;
    else if (direct || add)
        sum = (float *)args->y.data + begin * out;
    struct host_gemm_args gemm = {.m = end - begin,
                                  .n = out,
                                  .k = in,
                                  .transpose_b = true,
                                  .b = weight,
                                  .lda = in,
                                  .ldb = in,
                                  .ldc = out,
                                  .c = sum,
                                  .alpha = 1,
                                  .beta = add ? 1 : 0};
    gemm.a = host_tensor_read(args->x, begin * in, (end - begin) * in, local);
    if (!host_gemm_f32(&gemm))
        return false;
    for (int64_t row = begin; row < end; row++)
        host_linear_finish(args, row, sum + (row - begin) * out, add, row_buffer);
    return true;
}

static enum ij_status host_linear_check(const struct op_linear_forward *args,
                                        struct ij_err *reterr_err)
{
    const char *op = "linear_forward";
    IJ_TRY(host_linear_shape(op, args->rows, args->in, args->out, reterr_err));
    IJ_TRY(host_tensor_check(op, "x", args->x, reterr_err));
    IJ_TRY(host_tensor_check(op, "weight", args->weight, reterr_err));
    IJ_TRY(host_tensor_check(op, "y", args->y, reterr_err));
    IJ_TRY(host_tensor_check_optional(op, "pre", args->pre, reterr_err));
    return host_tensor_check_optional(op, "residual", args->residual, reterr_err);
}

enum ij_status host_linear_forward(struct backend *backend, const struct op_linear_forward *args,
                                   struct ij_err *reterr_err)
{
    struct host_backend *host = host_backend_of(backend);
    IJ_TRY(host_linear_check(args, reterr_err));
    size_t widened = args->weight.type == TENSOR_F32 ? 0 : (size_t)(args->in * args->out);
    IJ_TRY(host_backend_need(host, widened, host_linear_local_floats(args->in, args->out),
                             reterr_err));
    bool failed = false;
#pragma omp parallel num_threads(backend->threads) reduction(|| : failed)
    {
        const float *weight = host_linear_widen(args->weight, args->out, args->in, host->shared);
#pragma omp barrier
        struct host_span span = host_my_part(args->rows, HOST_LINEAR_GRAIN);
        for (int64_t row = span.begin; row < span.end && !failed; row += HOST_LINEAR_BLOCK) {
            int64_t end = row + HOST_LINEAR_BLOCK < span.end ? row + HOST_LINEAR_BLOCK : span.end;
            failed = !host_linear_rows(args, weight, row, end, host_backend_local(host));
        }
    }
    return failed
               ? host_linear_failed("linear_forward", args->rows, args->in, args->out, reterr_err)
               : IJ_OK;
}

/* ---- Gradient of the input -------------------------------------------------------------------- */

HOST_CLONES static void host_linear_gelu_backward(float *restrict dx, const float *restrict pre,
                                                  int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        dx[i] *= host_simd_gelu_slope(pre[i]);
}

static bool host_linear_input_rows(const struct op_linear_backward_input *args, const float *weight,
                                   int64_t begin, int64_t end, float *local)
{
    int64_t in = args->in, out = args->out, rows = end - begin, at = begin * in;
    float *wide_in = local + HOST_LINEAR_BLOCK * out;
    float *wide_more = wide_in + HOST_LINEAR_BLOCK * in;
    bool direct = args->dx.type == TENSOR_F32 && (!args->gelu_pre.data || !args->accumulate);
    float *sum = direct ? (float *)args->dx.data + at : wide_in;
    struct host_gemm_args gemm = {.m = rows,
                                  .n = in,
                                  .k = out,
                                  .b = weight,
                                  .lda = out,
                                  .ldb = in,
                                  .ldc = in,
                                  .c = sum,
                                  .alpha = 1,
                                  .beta = direct && args->accumulate ? 1 : 0};
    gemm.a = host_tensor_read(args->dy, begin * out, rows * out, local);
    if (!host_gemm_f32(&gemm))
        return false;
    if (args->gelu_pre.data)
        host_linear_gelu_backward(sum, host_tensor_read(args->gelu_pre, at, rows * in, wide_more),
                                  rows * in);
    if (!direct && args->accumulate) {
        const float *old = host_tensor_read(args->dx, at, rows * in, wide_more);
        float *dx = host_tensor_target(args->dx, at, sum);
        host_linear_add(dx, sum, old, rows * in);
    } else if (!direct && args->dx.type == TENSOR_F32) {
        memcpy((float *)args->dx.data + at, sum, (size_t)(rows * in) * sizeof(float));
    }
    host_tensor_write(args->dx, at, rows * in, sum);
    return true;
}

enum ij_status host_linear_backward_input(struct backend *backend,
                                          const struct op_linear_backward_input *args,
                                          struct ij_err *reterr_err)
{
    const char *op = "linear_backward_input";
    struct host_backend *host = host_backend_of(backend);
    IJ_TRY(host_linear_shape(op, args->rows, args->in, args->out, reterr_err));
    IJ_TRY(host_tensor_check(op, "dy", args->dy, reterr_err));
    IJ_TRY(host_tensor_check(op, "weight", args->weight, reterr_err));
    IJ_TRY(host_tensor_check(op, "dx", args->dx, reterr_err));
    IJ_TRY(host_tensor_check_optional(op, "gelu_pre", args->gelu_pre, reterr_err));
    size_t widened = args->weight.type == TENSOR_F32 ? 0 : (size_t)(args->in * args->out);
    IJ_TRY(host_backend_need(host, widened, host_linear_local_floats(args->in, args->out),
                             reterr_err));
    bool failed = false;
#pragma omp parallel num_threads(backend->threads) reduction(|| : failed)
    {
        const float *weight = host_linear_widen(args->weight, args->out, args->in, host->shared);
#pragma omp barrier
        struct host_span span = host_my_part(args->rows, HOST_LINEAR_GRAIN);
        for (int64_t row = span.begin; row < span.end && !failed; row += HOST_LINEAR_BLOCK) {
            int64_t end = row + HOST_LINEAR_BLOCK < span.end ? row + HOST_LINEAR_BLOCK : span.end;
            failed = !host_linear_input_rows(args, weight, row, end, host_backend_local(host));
        }
    }
    return failed ? host_linear_failed(op, args->rows, args->in, args->out, reterr_err) : IJ_OK;
}
