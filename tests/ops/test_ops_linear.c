/* Linear layers and general products against the double-precision reference. */
#include "tests/ops/ops_reference_linear.h"

struct linear_shape {
    int64_t rows, in, out;
    bool bias;
    enum activation gelu;
    bool keep_pre, residual, residual_is_y;
};

static const struct linear_shape linear_shapes[] = {
    {1, 1, 1, true, ACTIVATION_NONE, false, false, false},
    {1, 17, 5, false, ACTIVATION_NONE, false, false, false},
    {31, 33, 65, true, ACTIVATION_GELU, true, false, false},
    {33, 24, 96, true, ACTIVATION_GELU, false, false, false},
    {257, 96, 40, true, ACTIVATION_NONE, false, true, false},
    {257, 40, 96, true, ACTIVATION_NONE, false, true, true},
    {130, 48, 31, true, ACTIVATION_GELU, true, true, true},
    {129, 31, 48, true, ACTIVATION_GELU, false, true, true},
    {300, 64, 17, true, ACTIVATION_NONE, true, true, true},
    {33, 24, 96, true, ACTIVATION_GELU_TANH, true, false, false},
    {31, 40, 64, true, ACTIVATION_GELU_TANH, false, false, false},
    {31, 33, 65, true, ACTIVATION_GELU_TANH, true, true, false},
    {70, 24, 32, false, ACTIVATION_GELU_TANH, false, true, true},
    /* sums of several parts, groups of columns; results larger than a cache */
    {5, 1100, 640, true, ACTIVATION_NONE, false, true, false},
    {1030, 8, 1056, true, ACTIVATION_GELU, true, false, false},
};

static void linear_forward_case(struct backend *backend, enum tensor_type type, const void *user)
{
    const struct linear_shape *s = user;
    struct ops_case c;
    ops_begin(&c, backend, 11);
    size_t xs = (size_t)(s->rows * s->in), ys = (size_t)(s->rows * s->out);
    struct ops_buffer *x = ops_input(&c, type, xs);
    struct ops_buffer *weight = ops_random(&c, OPS_INPUT, type, (size_t)(s->in * s->out), 0.3);
    struct ops_buffer *bias = s->bias ? ops_input(&c, TENSOR_F32, (size_t)s->out) : NULL;
    struct ops_buffer *pre = s->keep_pre ? ops_output(&c, type, ys) : NULL;
    struct ops_buffer *y =
        s->residual_is_y ? ops_random(&c, OPS_UPDATED, type, ys, 1) : ops_output(&c, type, ys);
    struct ops_buffer *residual = s->residual_is_y ? y
                                  : s->residual    ? ops_input(&c, type, ys)
                                                   : NULL;
    struct op_linear_forward args = {.rows = s->rows,
                                     .in = s->in,
                                     .out = s->out,
                                     .x = ops_tensor(x),
                                     .weight = ops_tensor(weight),
                                     .bias = ops_data(bias),
                                     .activation = s->gelu,
                                     .pre = ops_tensor(pre),
                                     .residual = ops_tensor(residual),
                                     .y = ops_tensor(y)};
    ops_run(&c, linear_forward, &args);
    struct reference_linear r = {s->rows,
                                 s->in,
                                 s->out,
                                 s->gelu,
                                 false,
                                 x->value,
                                 weight->value,
                                 bias ? bias->value : NULL,
                                 residual ? residual->value : NULL};
    mem_auto double *want = ops_doubles(ys), *want_pre = ops_doubles(ys);
    mem_auto double *emulated = ops_doubles(ys), *emulated_pre = ops_doubles(ys);
    reference_linear(&r, want_pre, want);
    r.bf16 = true;
    reference_linear(&r, emulated_pre, emulated);
    ops_check(&c, y, want, type == TENSOR_BF16 ? emulated : NULL, OPS_FLOAT32_TOLERANCE);
    if (pre)
        ops_check(&c, pre, want_pre, type == TENSOR_BF16 ? emulated_pre : NULL,
                  OPS_FLOAT32_TOLERANCE);
    ops_end(&c);
}

Test(ops_linear, forward)
{
    for (size_t i = 0; i < COUNT_OF(linear_shapes); i++)
        ops_for_each(OP_linear_forward, linear_forward_case, &linear_shapes[i]);
}

/* ---- Gradients ------------------------------------------------------------------------------- */

struct linear_backward_shape {
    int64_t rows, in, out;
    enum activation gelu;
    bool accumulate;
};

static const struct linear_backward_shape backward_shapes[] = {
    {1, 1, 1, ACTIVATION_NONE, false},         {1, 7, 33, ACTIVATION_GELU, false},
    {31, 65, 24, ACTIVATION_NONE, true},       {257, 33, 48, ACTIVATION_GELU, true},
    {200, 96, 31, ACTIVATION_GELU, false},     {333, 40, 72, ACTIVATION_NONE, false},
    {70, 48, 24, ACTIVATION_GELU_TANH, false}, {33, 31, 24, ACTIVATION_GELU_TANH, false},
    {65, 40, 16, ACTIVATION_GELU_TANH, true},  {5, 640, 1100, ACTIVATION_GELU, true},
    {1030, 1056, 8, ACTIVATION_GELU, false},
};

static void linear_input_case(struct backend *backend, enum tensor_type type, const void *user)
{
    const struct linear_backward_shape *s = user;
    struct ops_case c;
    ops_begin(&c, backend, 12);
    size_t xs = (size_t)(s->rows * s->in);
    struct ops_buffer *dy = ops_input(&c, type, (size_t)(s->rows * s->out));
    struct ops_buffer *weight = ops_random(&c, OPS_INPUT, type, (size_t)(s->in * s->out), 0.3);
    struct ops_buffer *pre = s->gelu ? ops_input(&c, type, xs) : NULL;
    struct ops_buffer *dx = ops_sum(&c, type, xs, s->accumulate);
    struct op_linear_backward_input args = {.rows = s->rows,
                                            .in = s->in,
                                            .out = s->out,
                                            .dy = ops_tensor(dy),
                                            .weight = ops_tensor(weight),
                                            .gelu_pre = ops_tensor(pre),
                                            .gelu_tanh = s->gelu == ACTIVATION_GELU_TANH,
                                            .dx = ops_tensor(dx),
                                            .accumulate = s->accumulate};
    ops_run(&c, linear_backward_input, &args);
    mem_auto double *want = ops_doubles(xs), *emulated = ops_doubles(xs);
    const double *pre_value = pre ? pre->value : NULL, *old = s->accumulate ? dx->value : NULL;
    reference_linear_input(s->rows, s->in, s->out, dy->value, weight->value, pre_value, old,
                           s->gelu, false, want);
    reference_linear_input(s->rows, s->in, s->out, dy->value, weight->value, pre_value, old,
                           s->gelu, true, emulated);
    ops_check(&c, dx, want, type == TENSOR_BF16 ? emulated : NULL, OPS_FLOAT32_TOLERANCE);
    ops_end(&c);
}

Test(ops_linear, backward_input)
{
    for (size_t i = 0; i < COUNT_OF(backward_shapes); i++)
        ops_for_each(OP_linear_backward_input, linear_input_case, &backward_shapes[i]);
}

static void linear_weight_case(struct backend *backend, enum tensor_type type, const void *user)
{
    const struct linear_backward_shape *s = user;
    struct ops_case c;
    ops_begin(&c, backend, 13);
    size_t ws = (size_t)(s->in * s->out), bs = (size_t)s->out;
    struct ops_buffer *dy = ops_input(&c, type, (size_t)(s->rows * s->out));
    struct ops_buffer *x = ops_input(&c, type, (size_t)(s->rows * s->in));
    struct ops_buffer *dweight = ops_sum(&c, TENSOR_F32, ws, s->accumulate);
    struct ops_buffer *dbias = ops_sum(&c, TENSOR_F32, bs, s->accumulate);
    struct op_linear_backward_weight args = {.rows = s->rows,
                                             .in = s->in,
                                             .out = s->out,
                                             .dy = ops_tensor(dy),
                                             .x = ops_tensor(x),
                                             .dweight = ops_data(dweight),
                                             .dbias = s->gelu ? NULL : ops_data(dbias),
                                             .accumulate = s->accumulate};
    ops_run(&c, linear_backward_weight, &args);
    mem_auto double *want = ops_doubles(ws), *want_bias = ops_doubles(bs);
    reference_linear_weight(s->rows, s->in, s->out, dy->value, x->value,
                            s->accumulate ? dweight->value : NULL,
                            s->accumulate ? dbias->value : NULL, want, want_bias);
    ops_check(&c, dweight, want, NULL, OPS_FLOAT32_TOLERANCE);
    if (args.dbias)
        ops_check(&c, dbias, want_bias, NULL, OPS_FLOAT32_TOLERANCE);
    ops_end(&c);
}

/* Several blocks and parts of blocks of the batch's rows; either side the longer one. */
static const struct linear_backward_shape long_shapes[] = {
    {1100, 194, 200, ACTIVATION_NONE, true},
    {600, 200, 194, ACTIVATION_NONE, false},
};

Test(ops_linear, backward_weight)
{
    for (size_t i = 0; i < COUNT_OF(backward_shapes); i++)
        ops_for_each(OP_linear_backward_weight, linear_weight_case, &backward_shapes[i]);
    for (size_t i = 0; i < COUNT_OF(long_shapes); i++)
        ops_for_each(OP_linear_backward_weight, linear_weight_case, &long_shapes[i]);
}

/* No rows is a sum over nothing: zero, or what was there. */
Test(ops_linear, backward_weight_of_no_rows)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int i = 0; i < 2 * count; i++) {
        struct ops_case c;
        ops_begin(&c, list[i / 2], 14);
        bool accumulate = i % 2;
        struct ops_buffer *none = ops_input(&c, TENSOR_F32, 1);
        struct ops_buffer *dweight = ops_sum(&c, TENSOR_F32, 12, accumulate);
        struct op_linear_backward_weight args = {.rows = 0,
                                                 .in = 3,
                                                 .out = 4,
                                                 .dy = ops_tensor(none),
                                                 .x = ops_tensor(none),
                                                 .dweight = ops_data(dweight),
                                                 .accumulate = accumulate};
        ops_run(&c, linear_backward_weight, &args);
        double *got = ops_result(&c, dweight);
        for (int k = 0; k < 12; k++)
            cr_assert_eq(got[k], accumulate ? dweight->value[k] : 0);
        ops_end(&c);
    }
    ops_backends_free(list, count);
}

/* The reference's own gradients, by central differences of its forward pass. */
struct linear_objective {
    struct reference_linear forward;
    double *y;
    const double *dy;
};

static double linear_objective(void *user)
{
    struct linear_objective *o = user;
    reference_linear(&o->forward, NULL, o->y);
    double sum = 0;
    for (int64_t i = 0; i < o->forward.rows * o->forward.out; i++)
        sum += o->y[i] * o->dy[i];
    return sum;
}

Test(ops_linear, reference_gradients_by_finite_differences)
{
    enum { ROWS = 3, IN = 4, OUT = 5 };
    double x[ROWS * IN], weight[IN * OUT], bias[OUT], dy[ROWS * OUT], y[ROWS * OUT];
    double pre[ROWS * IN], dx[ROWS * IN], dweight[IN * OUT], dbias[OUT], activated[ROWS * IN];
    struct rng rng;
    rng_init(&rng, 15, RNG_TEST, 0, 0);
    for (int i = 0; i < ROWS * IN; i++)
        activated[i] = reference_gelu(pre[i] = rng_normal(&rng));
    for (int i = 0; i < IN * OUT; i++)
        weight[i] = rng_normal(&rng);
    for (int i = 0; i < OUT; i++)
        bias[i] = rng_normal(&rng);
    for (int i = 0; i < ROWS * OUT; i++)
        dy[i] = rng_normal(&rng);
    memcpy(x, activated, sizeof(x));
    reference_linear_input(ROWS, IN, OUT, dy, weight, pre, NULL, ACTIVATION_GELU, false, dx);
    reference_linear_weight(ROWS, IN, OUT, dy, x, NULL, NULL, dweight, dbias);
    struct linear_objective o = {{ROWS, IN, OUT, false, false, x, weight, bias, NULL}, y, dy};
    for (size_t i = 0; i < IN * OUT; i++)
        cr_assert_float_eq(ops_slope(linear_objective, &o, weight, i), dweight[i], 1e-8);
    for (size_t i = 0; i < OUT; i++)
        cr_assert_float_eq(ops_slope(linear_objective, &o, bias, i), dbias[i], 1e-8);
    for (size_t i = 0; i < ROWS * IN; i++) {
        double gelu = (reference_gelu(pre[i] + 1e-5) - reference_gelu(pre[i] - 1e-5)) / 2e-5;
        cr_assert_float_eq(ops_slope(linear_objective, &o, x, i) * gelu, dx[i], 1e-8);
    }
}

/* ---- GELU's accuracy and NaN ----------------------------------------------------------------- */

/* A 1 x 1 layer of weight 1 is GELU itself, its gradient the slope. */
static void gelu_accuracy(enum activation gelu)
{
    enum { COUNT = 40001 };
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int b = 0; b < count; b++) {
        struct ops_case c;
        ops_begin(&c, list[b], 16);
        double *values = ops_doubles(COUNT);
        for (int i = 0; i < COUNT; i++)
            values[i] = (float)(-20 + i * 1e-3);
        struct ops_buffer *x = ops_take(&c, OPS_INPUT, TENSOR_F32, COUNT, values);
        struct ops_buffer *one = ops_filled(&c, OPS_INPUT, TENSOR_F32, COUNT, 1);
        struct ops_buffer *y = ops_output(&c, TENSOR_F32, COUNT);
        struct ops_buffer *slope = ops_output(&c, TENSOR_F32, COUNT);
        struct op_linear_forward forward = {.rows = COUNT,
                                            .in = 1,
                                            .out = 1,
                                            .x = ops_tensor(x),
                                            .weight = ops_tensor(one),
                                            .activation = gelu,
                                            .y = ops_tensor(y)};
        ops_run(&c, linear_forward, &forward);
        struct op_linear_backward_input backward = {.rows = COUNT,
                                                    .in = 1,
                                                    .out = 1,
                                                    .dy = ops_tensor(one),
                                                    .weight = ops_tensor(one),
                                                    .gelu_pre = ops_tensor(x),
                                                    .gelu_tanh = gelu == ACTIVATION_GELU_TANH,
                                                    .dx = ops_tensor(slope)};
        ops_run(&c, linear_backward_input, &backward);
        double *got = ops_result(&c, y), *got_slope = ops_result(&c, slope);
        for (int i = 0; i < COUNT; i++) {
            double size = fmax(1, fabs(values[i]));
            cr_assert_float_eq(got[i], reference_activation(gelu, values[i]), 1.5e-7 * size);
            cr_assert_float_eq(got_slope[i], reference_slope(gelu, values[i]),
                               gelu == ACTIVATION_GELU ? 2.5e-7 : 2e-6);
        }
        ops_end(&c);
    }
    ops_backends_free(list, count);
}

Test(ops_linear, gelu_is_exact_erf)
{
    gelu_accuracy(ACTIVATION_GELU);
}

Test(ops_linear, gelu_tanh_is_the_tanh_form)
{
    gelu_accuracy(ACTIVATION_GELU_TANH);
}

Test(ops_linear, nan_stays_in_its_row)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int b = 0; b < count; b++) {
        struct ops_case c;
        ops_begin(&c, list[b], 17);
        double *values = ops_doubles(40 * 8);
        values[17 * 8 + 3] = (double)NAN;
        struct ops_buffer *x = ops_take(&c, OPS_INPUT, TENSOR_F32, 40 * 8, values);
        struct ops_buffer *weight = ops_input(&c, TENSOR_F32, 8 * 16);
        struct ops_buffer *y = ops_output(&c, TENSOR_F32, 40 * 16);
        struct op_linear_forward args = {.rows = 40,
                                         .in = 8,
                                         .out = 16,
                                         .x = ops_tensor(x),
                                         .weight = ops_tensor(weight),
                                         .activation = ACTIVATION_GELU,
                                         .y = ops_tensor(y)};
        ops_run(&c, linear_forward, &args);
        double *got = ops_result(&c, y);
        for (int i = 0; i < 40 * 16; i++)
            cr_assert_eq(isnan(got[i]) != 0, i / 16 == 17, "element %d", i);
        ops_end(&c);
    }
    ops_backends_free(list, count);
}

/* ---- General products ------------------------------------------------------------------------ */

struct matmul_shape {
    int64_t m, n, k;
    float alpha, beta;
};

static const struct matmul_shape matmul_shapes[] = {
    {1, 1, 1, 1, 0},      {33, 17, 65, 1, 0}, {70, 31, 12, 0.5f, 2},
    {5, 130, 257, -1, 1}, {4, 3, 0, 1, 2},
};

static void matmul_case(struct backend *backend, const struct matmul_shape *s, bool ta, bool tb)
{
    struct ops_case c;
    ops_begin(&c, backend, 18);
    int64_t m = s->m, n = s->n, k = s->k;
    struct ops_buffer *a = ops_input(&c, TENSOR_F32, (size_t)(m * k));
    struct ops_buffer *b = ops_input(&c, TENSOR_F32, (size_t)(k * n));
    struct ops_buffer *product = ops_sum(&c, TENSOR_F32, (size_t)(m * n), s->beta != 0);
    struct op_matmul args = {.m = m,
                             .n = n,
                             .k = k,
                             .transpose_a = ta,
                             .transpose_b = tb,
                             .a = ops_data(a),
                             .b = ops_data(b),
                             .c = ops_data(product),
                             .alpha = s->alpha,
                             .beta = s->beta};
    ops_run(&c, matmul, &args);
    mem_auto double *want = ops_doubles((size_t)(m * n));
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t p = 0; p < k; p++)
                sum += a->value[ta ? p * m + i : i * k + p] * b->value[tb ? j * k + p : p * n + j];
            double old = s->beta != 0 ? s->beta * product->value[i * n + j] : 0;
            want[i * n + j] = s->alpha * sum + old;
        }
    ops_check(&c, product, want, NULL, OPS_FLOAT32_TOLERANCE);
    ops_end(&c);
}

Test(ops_linear, matmul)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int b = 0; b < count; b++)
        for (size_t i = 0; i < COUNT_OF(matmul_shapes); i++)
            for (int t = 0; t < 4; t++)
                matmul_case(list[b], &matmul_shapes[i], t & 1, t & 2);
    ops_backends_free(list, count);
}
