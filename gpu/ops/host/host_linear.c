/*
 * Linear layers: forward, gradient of the input, gradient of the weight.
 *
 * Forward and input gradient: every thread owns a contiguous part of the rows and walks it in
 * blocks; a block's product is followed at once by its epilogue (bias, GELU, residual) while it is
 * in the cache. Weight gradient: every thread owns a part of the weight's rows and sums over all
 * rows of the batch. Bfloat16 weights are widened once per call into shared scratch, rows block by
 * block into the thread's own.
 */
#include "gpu/ops/host/host_linear.h"

#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_float8.h"
#include "gpu/ops/host/host_gemm.h"
#include "gpu/ops/host/host_product.h"
#include "gpu/ops/host/host_tensor.h"

/* A tile of the output fits into the second-level cache beside the rows it is made from. */
#ifndef HOST_LINEAR_BLOCK
#define HOST_LINEAR_BLOCK   128 /* rows */
#define HOST_LINEAR_COLUMNS 256
#endif
#define HOST_LINEAR_TILE_FLOATS ((HOST_LINEAR_BLOCK + 2) * HOST_LINEAR_COLUMNS)
#define HOST_LINEAR_GRAIN       16

size_t host_linear_local_floats(int64_t in, int64_t out)
{
    return HOST_LINEAR_TILE_FLOATS + HOST_LINEAR_BLOCK * 2 * (size_t)(in > out ? in : out);
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

HOST_CLONES static void host_linear_gelu_tanh(const float *x, float *y, int64_t width)
{
#pragma omp simd
    for (int64_t i = 0; i < width; i++)
        y[i] = host_simd_gelu_tanh(x[i]);
}

HOST_CLONES static void host_linear_add(float *y, const float *x, const float *z, int64_t width)
{
#pragma omp simd
    for (int64_t i = 0; i < width; i++)
        y[i] = x[i] + z[i];
}

/* A part of the output: rows [row, row + rows) by columns [column, column + columns). */
struct host_linear_tile {
    int64_t row, rows, column, columns;
};

/* `count` outputs of one row after their product `sum`: bias, pre, activation, residual. `at` is
 * the place of the first in the output; `buffer` holds twice `count`. */
static void host_linear_finish(const struct op_linear_forward *args, int64_t at, int64_t count,
                               float *sum, bool residual_done, float *buffer)
{
    if (args->bias)
        host_linear_add_bias(sum, args->bias + at % args->out, count);
    if (args->pre.data) {
        float *pre = host_tensor_target(args->pre, at, sum);
        if (pre != sum)
            memcpy(pre, sum, (size_t)count * sizeof(float));
        host_tensor_write(args->pre, at, count, sum);
    }
    float *y = host_tensor_target(args->y, at, sum);
    const float *value = sum;
    if (args->activation != ACTIVATION_NONE) {
        bool in_y = args->y.type == TENSOR_F32 && args->residual.data != args->y.data;
        float *gelu = in_y ? y : buffer;
        if (args->activation == ACTIVATION_GELU)
            host_linear_gelu(sum, gelu, count);
        else
            host_linear_gelu_tanh(sum, gelu, count);
        value = gelu;
    }
    if (args->residual.data && !residual_done) {
        float *wide = buffer + count;
        const float *residual = host_tensor_read(args->residual, at, count, wide);
        float *target = args->y.type == TENSOR_F32 ? y : wide;
        host_linear_add(target, value, residual, count);
        value = target;
    }
    if (args->y.type == TENSOR_F32 && value != y)
        memcpy(y, value, (size_t)count * sizeof(float));
    host_tensor_write(args->y, at, count, value);
}

/* Product and epilogue of one tile. `x`: its rows, widened. `local`: room for a tile and two
 * rows of it, used where the product cannot be made in place. */
static bool host_linear_tile(const struct op_linear_forward *args, const float *weight,
                             const float *x, const struct host_linear_tile *tile, float *local)
{
    int64_t in = args->in, out = args->out, at = tile->row * out + tile->column;
    bool onto_residual = args->residual.data && args->residual.data == args->y.data;
    bool add = args->y.type == TENSOR_F32 && onto_residual && args->activation == ACTIVATION_NONE &&
               !args->pre.data;
    float *buffer = local + HOST_LINEAR_BLOCK * HOST_LINEAR_COLUMNS, *sum = local;
    int64_t stride = HOST_LINEAR_COLUMNS;
    if (args->pre.data && args->pre.type == TENSOR_F32) {
        sum = (float *)args->pre.data + at;
        stride = out;
    } else if (add || (args->y.type == TENSOR_F32 && !onto_residual)) {
        sum = (float *)args->y.data + at;
        stride = out;
    }
    struct host_gemm_args gemm = {.m = tile->rows,
                                  .n = tile->columns,
                                  .k = in,
                                  .transpose_b = true,
                                  .a = x,
                                  .b = weight + tile->column * in,
                                  .lda = in,
                                  .ldb = in,
                                  .ldc = stride,
                                  .c = sum,
                                  .alpha = 1,
                                  .beta = add ? 1 : 0};
    if (!host_gemm_f32(&gemm))
        return false;
    for (int64_t i = 0; i < tile->rows; i++)
        host_linear_finish(args, at + i * out, tile->columns, sum + i * stride, add, buffer);
    return true;
}

/* Rows [begin, end) of the output, tile by tile. */
static bool host_linear_rows(const struct op_linear_forward *args, const float *weight,
                             int64_t begin, int64_t end, float *local)
{
    float *wide = local + HOST_LINEAR_TILE_FLOATS;
    const float *x = host_tensor_read(args->x, begin * args->in, (end - begin) * args->in, wide);
    for (int64_t column = 0; column < args->out; column += HOST_LINEAR_COLUMNS) {
        int64_t left = args->out - column;
        struct host_linear_tile tile = {begin, end - begin, column,
                                        left < HOST_LINEAR_COLUMNS ? left : HOST_LINEAR_COLUMNS};
        if (!host_linear_tile(args, weight, x, &tile, local))
            return false;
    }
    return true;
}

static struct host_product host_linear_product(const struct op_linear_forward *args)
{
    struct host_product product = {.rows = args->rows,
                                   .n = args->out,
                                   .k = args->in,
                                   .a = args->x,
                                   .weight = args->weight,
                                   .transposed = true,
                                   .finish = {.stride = args->out,
                                              .bias = args->bias,
                                              .activation = args->activation,
                                              .pre = args->pre,
                                              .residual = args->residual,
                                              .y = args->y}};
    return product;
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
    if (args->x.type == TENSOR_E4M3 || args->weight.type == TENSOR_E4M3)
        return host_float8_linear(backend, args, reterr_err);
    IJ_TRY(host_linear_check(args, reterr_err));
    const struct host_product product = host_linear_product(args);
    if (host_product_fits(host, &product))
        return host_product_run(host, &product, reterr_err);
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

/* ---- Gradient of the input ------------------------------------------------------------------- */

HOST_CLONES static void host_linear_gelu_backward(float *restrict dx, const float *restrict pre,
                                                  int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        dx[i] *= host_simd_gelu_slope(pre[i]);
}

HOST_CLONES static void host_linear_gelu_tanh_backward(float *restrict dx,
                                                       const float *restrict pre, int64_t count)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        dx[i] *= host_simd_gelu_tanh_slope(pre[i]);
}

/* Product and epilogue of one tile of dx; `dy`: its rows, widened; `local`: room for two tiles. */
static bool host_linear_input_tile(const struct op_linear_backward_input *args, const float *weight,
                                   const float *dy, const struct host_linear_tile *tile,
                                   float *local)
{
    int64_t in = args->in, out = args->out, at = tile->row * in + tile->column;
    int64_t count = tile->columns;
    bool direct = args->dx.type == TENSOR_F32 && (!args->gelu_pre.data || !args->accumulate);
    float *sum = direct ? (float *)args->dx.data + at : local;
    int64_t stride = direct ? in : HOST_LINEAR_COLUMNS;
    float *buffer = local + HOST_LINEAR_BLOCK * HOST_LINEAR_COLUMNS;
    struct host_gemm_args gemm = {.m = tile->rows,
                                  .n = count,
                                  .k = out,
                                  .a = dy,
                                  .b = weight + tile->column,
                                  .lda = out,
                                  .ldb = in,
                                  .ldc = stride,
                                  .c = sum,
                                  .alpha = 1,
                                  .beta = direct && args->accumulate ? 1 : 0};
    if (!host_gemm_f32(&gemm))
        return false;
    for (int64_t i = 0; i < tile->rows; i++, at += in, sum += stride) {
        if (args->gelu_pre.data && args->gelu_tanh)
            host_linear_gelu_tanh_backward(sum, host_tensor_read(args->gelu_pre, at, count, buffer),
                                           count);
        else if (args->gelu_pre.data)
            host_linear_gelu_backward(sum, host_tensor_read(args->gelu_pre, at, count, buffer),
                                      count);
        if (direct)
            continue;
        if (args->accumulate)
            host_linear_add(sum, sum, host_tensor_read(args->dx, at, count, buffer), count);
        if (args->dx.type == TENSOR_F32)
            memcpy((float *)args->dx.data + at, sum, (size_t)count * sizeof(float));
        host_tensor_write(args->dx, at, count, sum);
    }
    return true;
}

static bool host_linear_input_rows(const struct op_linear_backward_input *args, const float *weight,
                                   int64_t begin, int64_t end, float *local)
{
    float *wide = local + HOST_LINEAR_TILE_FLOATS;
    const float *dy =
        host_tensor_read(args->dy, begin * args->out, (end - begin) * args->out, wide);
    for (int64_t column = 0; column < args->in; column += HOST_LINEAR_COLUMNS) {
        int64_t left = args->in - column;
        struct host_linear_tile tile = {begin, end - begin, column,
                                        left < HOST_LINEAR_COLUMNS ? left : HOST_LINEAR_COLUMNS};
        if (!host_linear_input_tile(args, weight, dy, &tile, local))
            return false;
    }
    return true;
}

static struct host_product host_linear_input_product(const struct op_linear_backward_input *args)
{
    struct host_product product = {.rows = args->rows,
                                   .n = args->in,
                                   .k = args->out,
                                   .a = args->dy,
                                   .weight = args->weight,
                                   .finish = {.stride = args->in,
                                              .slope_pre = args->gelu_pre,
                                              .slope_tanh = args->gelu_tanh,
                                              .y = args->dx}};
    if (args->accumulate)
        product.finish.residual = args->dx;
    return product;
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
    const struct host_product product = host_linear_input_product(args);
    if (host_product_fits(host, &product))
        return host_product_run(host, &product, reterr_err);
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
