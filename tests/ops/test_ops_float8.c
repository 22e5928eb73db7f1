/* Rows as float8 (E4M3) with a scale each, and products of such rows. */
#include "tests/ops/ops_reference_linear.h"
#include "tests/simt/simt_control.h"

#define MOST 448.0

/* The value of a code by the definition: sign, 4 exponent bits (bias 7), 3 mantissa bits. */
static double value_of(double code)
{
    int bits = (int)code, exponent = bits >> 3 & 15, mantissa = bits & 7;
    if ((bits & 0x7f) == 0x7f)
        return (double)NAN;
    double size = exponent ? ldexp(8 + mantissa, exponent - 10) : ldexp(mantissa, -9);
    return bits & 0x80 ? -size : size;
}

/* The distance to the nearest code. */
static double nearest(double x)
{
    double best = INFINITY;
    for (int code = 0; code < 256; code++)
        if ((code & 0x7f) != 0x7f)
            best = fmin(best, fabs(value_of(code) - x));
    return best;
}

static float scale_of(const double *row, size_t width)
{
    float most = 0;
    for (size_t i = 0; i < width; i++)
        most = fmaxf(most, fabsf((float)row[i]));
    return most > 0 ? most / (float)MOST : 1;
}

/* ---- Rows ------------------------------------------------------------------------------------ */

/* Widths that are and are not packed; the first row is zero, the second has every magnitude. */
static void rows_are_quantized(struct backend *backend, size_t width, enum tensor_type type)
{
    enum { ROWS = 5 };
    struct ops_case c;
    ops_begin(&c, backend, 81);
    double *values = ops_doubles(ROWS * width);
    for (size_t i = 0; i < ROWS * width; i++)
        values[i] = i < width       ? 0
                    : i < 2 * width ? ops_round(ldexp(rng_normal(&c.rng), -(int)(i % 20)), type)
                                    : ops_round(rng_normal(&c.rng), type);
    struct ops_buffer *x = ops_take(&c, OPS_INPUT, type, ROWS * width, values);
    struct ops_buffer *y = ops_output(&c, TENSOR_E4M3, ROWS * width);
    struct ops_buffer *scale = ops_output(&c, TENSOR_F32, ROWS);
    struct op_quantize_rows args = {.rows = ROWS,
                                    .width = (int64_t)width,
                                    .x = ops_tensor(x),
                                    .y = ops_tensor(y),
                                    .scale = ops_data(scale)};
    ops_run(&c, quantize_rows, &args);
    const double *scales = ops_result(&c, scale), *codes = ops_result(&c, y);
    for (size_t i = 0; i < ROWS * width; i++) {
        double s = (double)scale_of(values + i / width * width, width);
        cr_assert_eq(scales[i / width], s, "%s: row %zu", backend->name, i / width);
        double wanted = fmax(-MOST, fmin(MOST, (double)((float)values[i] / (float)s)));
        cr_assert_eq(fabs(value_of(codes[i]) - wanted), nearest(wanted), "%s: %zu: %g became %g",
                     backend->name, i, wanted, value_of(codes[i]));
    }
    ops_end(&c);
}

static void every_backend(void (*body)(struct backend *backend))
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int i = 0; i < count; i++)
        if (list[i]->ops->supports(list[i], OP_quantize_rows, TENSOR_E4M3))
            body(list[i]);
    ops_backends_free(list, count);
}

static void widths(struct backend *backend)
{
    static const size_t all[] = {1, 13, 64, 384, 1280};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        rows_are_quantized(backend, all[i], TENSOR_F32);
        rows_are_quantized(backend, all[i], TENSOR_BF16);
    }
}

Test(ops_float8, rows_have_a_scale_and_the_nearest_codes)
{
    every_backend(widths);
}

/* Half way between two codes the one with an even mantissa; too small numbers become zero. */
static void ties(struct backend *backend)
{
    struct ops_case c;
    ops_begin(&c, backend, 82);
    static const double x[8] = {448, 17, 19, -17, 0x3p-10, 0x1p-10, -0x1.8p-9, (double)NAN};
    static const double wanted[8] = {448, 16, 20, -16, 0x1p-8, 0, -0x1p-8, (double)NAN};
    double *values = ops_doubles(8);
    memcpy(values, x, sizeof(x));
    struct ops_buffer *in = ops_take(&c, OPS_INPUT, TENSOR_F32, 8, values);
    struct ops_buffer *y = ops_output(&c, TENSOR_E4M3, 8);
    struct ops_buffer *scale = ops_output(&c, TENSOR_F32, 1);
    struct op_quantize_rows args = {
        .rows = 1, .width = 8, .x = ops_tensor(in), .y = ops_tensor(y), .scale = ops_data(scale)};
    ops_run(&c, quantize_rows, &args);
    const double *codes = ops_result(&c, y);
    for (int i = 0; i < 8; i++)
        cr_assert(value_of(codes[i]) == wanted[i] || (isnan(wanted[i]) && codes[i] == 0x7f),
                  "%s: %g became %g", backend->name, x[i], value_of(codes[i]));
    ops_end(&c);
}

Test(ops_float8, ties_go_to_even_and_nan_stays)
{
    every_backend(ties);
}

/* ---- Products -------------------------------------------------------------------------------- */

struct shape {
    int64_t rows, in, out;
    enum activation activation;
    bool bias, residual, in_place;
    enum tensor_type y;
};

/* Random codes and scales, and in double what they stand for. */
static struct ops_buffer *codes_of(struct ops_case *c, int64_t rows, int64_t width,
                                   struct ops_buffer **ret_scale, double *values)
{
    size_t count = (size_t)(rows * width);
    double *codes = ops_doubles(count), *scales = ops_doubles((size_t)rows);
    for (int64_t r = 0; r < rows; r++)
        scales[r] = (double)(float)(0.001 * (1 + rng_below(&c->rng, 50)));
    for (size_t i = 0; i < count; i++) {
        codes[i] = rng_below(&c->rng, 0x60) | rng_below(&c->rng, 2) << 7;
        values[i] = value_of(codes[i]) * scales[i / (size_t)width];
    }
    *ret_scale = ops_take(c, OPS_INPUT, TENSOR_F32, (size_t)rows, scales);
    return ops_take(c, OPS_INPUT, TENSOR_E4M3, count, codes);
}

/* Of values that bfloat16 holds: the library wants it so. */
static struct ops_buffer *bias_of(struct ops_case *c, int64_t out)
{
    double *values = ops_doubles((size_t)out);
    for (int64_t i = 0; i < out; i++)
        values[i] = ops_round_bf16(rng_normal(&c->rng));
    return ops_take(c, OPS_INPUT, TENSOR_F32, (size_t)out, values);
}

static void product_is_right(struct backend *backend, const struct shape *s)
{
    struct ops_case c;
    ops_begin(&c, backend, 83);
    size_t count = (size_t)(s->rows * s->out);
    mem_auto double *x = ops_doubles((size_t)(s->rows * s->in));
    mem_auto double *w = ops_doubles((size_t)(s->out * s->in));
    mem_auto double *want = ops_doubles(count), *rounded = ops_doubles(count);
    struct ops_buffer *x_scale, *w_scale;
    struct ops_buffer *xb = codes_of(&c, s->rows, s->in, &x_scale, x);
    struct ops_buffer *wb = codes_of(&c, s->out, s->in, &w_scale, w);
    struct ops_buffer *bias = s->bias ? bias_of(&c, s->out) : NULL;
    struct ops_buffer *residual =
        s->residual ? ops_random(&c, s->in_place ? OPS_UPDATED : OPS_INPUT, s->y, count, 1) : NULL;
    struct ops_buffer *y = s->in_place ? residual : ops_output(&c, s->y, count);
    struct reference_linear r = {s->rows,
                                 s->in,
                                 s->out,
                                 s->activation,
                                 false,
                                 x,
                                 w,
                                 bias ? bias->value : NULL,
                                 residual ? residual->value : NULL};
    reference_linear(&r, NULL, want);
    r.bf16 = s->y == TENSOR_BF16;
    reference_linear(&r, NULL, rounded);
    struct op_linear_forward args = {.rows = s->rows,
                                     .in = s->in,
                                     .out = s->out,
                                     .x = ops_tensor(xb),
                                     .weight = ops_tensor(wb),
                                     .x_scale = ops_data(x_scale),
                                     .weight_scale = ops_data(w_scale),
                                     .bias = ops_data(bias),
                                     .activation = s->activation,
                                     .residual = ops_tensor(residual),
                                     .y = ops_tensor(y)};
    ops_run(&c, linear_forward, &args);
    ops_check(&c, y, want, rounded, OPS_FLOAT32_TOLERANCE);
    ops_end(&c);
}

static void products(struct backend *backend)
{
    static const struct shape all[] = {
        {37, 32, 48, ACTIVATION_NONE, true, false, false, TENSOR_BF16},
        {37, 64, 32, ACTIVATION_NONE, true, true, true, TENSOR_F32},
        {300, 16, 16, ACTIVATION_NONE, true, true, false, TENSOR_F32},
        {5, 128, 64, ACTIVATION_GELU, true, false, false, TENSOR_BF16},
        {5, 128, 64, ACTIVATION_GELU_TANH, true, false, false, TENSOR_BF16},
        {1, 384, 16, ACTIVATION_NONE, false, false, false, TENSOR_F32}};
    for (size_t i = 0; i < COUNT_OF(all); i++)
        product_is_right(backend, &all[i]);
}

Test(ops_float8, products_are_those_of_the_values)
{
    every_backend(products);
}

/* Where the library has no scales per row, the sums are scaled by a pass of their own. */
Test(ops_float8, products_are_the_same_without_scales_in_the_library)
{
    if (!simt_blas_refuse_outer)
        cr_skip_test("this program has no host build of the CUDA backend");
    simt_blas_refuse_outer(true);
    every_backend(products);
    simt_blas_refuse_outer(false);
    simt_set_architecture(89); /* is not asked */
    every_backend(products);
    simt_set_architecture(90);
}

static void what_does_not_fit(struct backend *backend)
{
    struct ops_case c;
    struct ij_err err = IJ_ERR_INIT;
    ops_begin(&c, backend, 84);
    mem_auto double *values = ops_doubles(24 * 32);
    struct ops_buffer *x_scale, *w_scale;
    struct ops_buffer *x = codes_of(&c, 2, 24, &x_scale, values);
    struct ops_buffer *w = codes_of(&c, 32, 24, &w_scale, values);
    struct ops_buffer *y = ops_output(&c, TENSOR_F32, 2 * 32);
    struct op_linear_forward args = {.rows = 2,
                                     .in = 24,
                                     .out = 32,
                                     .x = ops_tensor(x),
                                     .weight = ops_tensor(w),
                                     .x_scale = ops_data(x_scale),
                                     .weight_scale = ops_data(w_scale),
                                     .y = ops_tensor(y)};
    cr_assert_eq(backend->ops->linear_forward(backend, &args, &err), IJ_UNSUPPORTED);
    cr_assert(strstr(err.text, "multiples of 16"), "%s", err.text);
    args.x = ops_tensor(y);
    cr_assert_eq(backend->ops->linear_forward(backend, &args, &err), IJ_INVALID, "%s", err.text);
    ops_end(&c);
}

Test(ops_float8, other_sizes_and_mixed_factors_are_refused)
{
    every_backend(what_does_not_fit);
}

Test(ops_float8, an_older_gpu_has_none)
{
    struct backend *backend = NULL;
    struct ij_err err = IJ_ERR_INIT;
    if (!simt_set_architecture)
        cr_skip_test("this program has no host build of the CUDA backend");
    for (int architecture = 80; architecture <= 90; architecture++) {
        simt_set_architecture(architecture);
        cr_assert_eq(backend_cuda_new(0, &backend, &err), IJ_OK, "%s", err.text);
        cr_assert_eq(backend->ops->supports(backend, OP_quantize_rows, TENSOR_E4M3),
                     architecture >= 89);
        cr_assert_not(backend->ops->supports(backend, OP_attention_forward, TENSOR_E4M3));
        backend->ops->free(backend);
    }
    simt_set_architecture(90);
}
