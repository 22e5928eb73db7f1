/*
 * Rows as E4M3, and products of such rows. A GPU multiplies the small numbers and scales the sums;
 * here the factors are scaled first, which differs by float32 rounding alone.
 */
#include "gpu/ops/host/host_float8.h"

#include <float.h>
#include <math.h>

#include "base/mem.h"
#include "gpu/ops/host/host_tensor.h"

#define HOST_FLOAT8_MOST  448.0f
#define HOST_FLOAT8_NAN   0x7f
#define HOST_FLOAT8_ROWS  256 /* of x that are widened at a time */
#define HOST_FLOAT8_GRAIN 1

/* Nearest, ties to even, saturating. Numbers below 2^-6 are multiples of 2^-9. */
static uint8_t host_float8_encode(float x)
{
    uint8_t sign = signbit(x) ? 0x80 : 0;
    float size = fabsf(x);
    if (isnan(x))
        return HOST_FLOAT8_NAN;
    if (size >= HOST_FLOAT8_MOST)
        return sign | 0x7e;
    if (size < 0x1p-6f)
        return sign | (uint8_t)nearbyintf(size * 0x1p9f);
    int exponent;
    float mantissa = nearbyintf(frexpf(size, &exponent) * 16); /* 8 to 16 */
    return sign | (uint8_t)((exponent + 6) * 8 + (int)mantissa - 8);
}

static float host_float8_decode(uint8_t code)
{
    int exponent = code >> 3 & 15, mantissa = code & 7;
    if ((code & 0x7f) == HOST_FLOAT8_NAN)
        return NAN;
    float size =
        exponent ? ldexpf((float)(8 + mantissa), exponent - 10) : ldexpf((float)mantissa, -9);
    return code & 0x80 ? -size : size;
}

static void host_float8_row(const float *x, int64_t width, uint8_t *y, float *scale)
{
    float most = 0;
    for (int64_t i = 0; i < width; i++)
        most = fmaxf(most, fabsf(x[i]));
    *scale = most > 0 ? fmaxf(most / HOST_FLOAT8_MOST, FLT_MIN) : 1;
    for (int64_t i = 0; i < width; i++)
        y[i] = host_float8_encode(x[i] / *scale);
}

enum ij_status host_quantize_rows(struct backend *backend, const struct op_quantize_rows *args,
                                  struct ij_err *reterr_err)
{
    struct host_backend *host = host_backend_of(backend);
    IJ_TRY(host_tensor_check_shape("quantize_rows", args->rows, args->width, reterr_err));
    IJ_TRY(host_tensor_check("quantize_rows", "x", args->x, reterr_err));
    if (!args->y.data || args->y.type != TENSOR_E4M3 || !args->scale)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "y",
                            "quantize_rows: y must be E4M3, with a scale");
    IJ_TRY(host_backend_need(host, 0, (size_t)args->width, reterr_err));
#pragma omp parallel num_threads(backend->threads)
    {
        struct host_span span = host_my_part(args->rows, HOST_FLOAT8_GRAIN);
        for (int64_t r = span.begin; r < span.end; r++)
            host_float8_row(
                host_tensor_read(args->x, r * args->width, args->width, host_backend_local(host)),
                args->width, (uint8_t *)args->y.data + r * args->width, &args->scale[r]);
    }
    return IJ_OK;
}

/* y (rows, width) = the rows of x from row `from` on, times their scales. */
static void host_float8_widen(struct backend *backend, struct tensor x, const float *scale,
                              int64_t from, int64_t rows, int64_t width, const float *table,
                              float *y)
{
    const uint8_t *codes = (const uint8_t *)x.data + from * width;
#pragma omp parallel for num_threads(backend->threads) schedule(static)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < width; i++)
            y[r * width + i] = table[codes[r * width + i]] * scale[from + r];
}

static struct tensor host_float8_at(struct tensor t, int64_t element)
{
    if (t.data)
        t.data = (char *)t.data + (size_t)element * tensor_type_size(t.type);
    return t;
}

static enum ij_status host_float8_check(const struct op_linear_forward *args,
                                        struct ij_err *reterr_err)
{
    if (args->x.type != TENSOR_E4M3 || args->weight.type != TENSOR_E4M3 || !args->x.data ||
        !args->weight.data || !args->x_scale || !args->weight_scale)
        return IJ_ERR(reterr_err, IJ_INVALID,
                      "linear_forward: x and weight must both be E4M3, with their scales");
    if (args->in < 16 || args->out < 16 || args->in % 16 != 0 || args->out % 16 != 0)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED,
                      "linear_forward: %lld x %lld in float8, which needs multiples of 16",
                      (long long)args->in, (long long)args->out);
    return IJ_OK;
}

enum ij_status host_float8_linear(struct backend *backend, const struct op_linear_forward *args,
                                  struct ij_err *reterr_err)
{
    float table[256];
    IJ_TRY(host_float8_check(args, reterr_err));
    int64_t most = args->rows < HOST_FLOAT8_ROWS ? args->rows : HOST_FLOAT8_ROWS;
    mem_auto float *weight = mem_array(float, (size_t)(args->out * args->in));
    mem_auto float *x = mem_array(float, (size_t)(most * args->in) + 1);
    if (!weight || !x)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to widen %lld x %lld in float8",
                      (long long)args->out, (long long)args->in);
    for (int i = 0; i < 256; i++)
        table[i] = host_float8_decode((uint8_t)i);
    host_float8_widen(backend, args->weight, args->weight_scale, 0, args->out, args->in, table,
                      weight);
    for (int64_t row = 0; row < args->rows; row += most) {
        struct op_linear_forward part = *args;
        part.rows = args->rows - row < most ? args->rows - row : most;
        host_float8_widen(backend, args->x, args->x_scale, row, part.rows, args->in, table, x);
        part.x = tensor_f32(x);
        part.weight = tensor_f32(weight);
        part.x_scale = part.weight_scale = NULL;
        part.pre = host_float8_at(args->pre, row * args->out);
        part.residual = host_float8_at(args->residual, row * args->out);
        part.y = host_float8_at(args->y, row * args->out);
        IJ_TRY(backend->ops->linear_forward(backend, &part, reterr_err));
    }
    return IJ_OK;
}
