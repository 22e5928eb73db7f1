/* Layer norm, forward and backward, against the double-precision reference. */
#include "tests/ops/ops_reference_norm.h"

#define NORM_EPS 1e-6f

struct norm_shape {
    int64_t rows, width;
    bool affine, alias, residual, residual_is_dx, accumulate;
};

static const struct norm_shape norm_shapes[] = {
    {1, 5, true, false, false, false, false},    {1, 17, false, false, false, false, false},
    {31, 33, true, true, true, false, true},     {33, 192, true, false, true, true, false},
    {257, 96, true, false, false, false, true},  {257, 1, true, false, false, false, false},
    {64, 385, false, true, true, true, false},   {129, 384, true, true, true, true, true},
    {3, 8, true, false, true, false, false},     {70, 264, true, false, true, false, true},
    {5, 6000, true, false, false, false, false}, {2, 12000, true, false, true, false, false},
};

static void norm_forward_case(struct backend *backend, enum tensor_type type, const void *user)
{
    const struct norm_shape *s = user;
    struct ops_case c;
    ops_begin(&c, backend, 21);
    size_t count = (size_t)(s->rows * s->width), width = (size_t)s->width;
    struct ops_buffer *x = ops_random(&c, s->alias ? OPS_UPDATED : OPS_INPUT, type, count, 3);
    struct ops_buffer *gamma = s->affine ? ops_input(&c, TENSOR_F32, width) : NULL;
    struct ops_buffer *beta = s->affine ? ops_input(&c, TENSOR_F32, width) : NULL;
    struct ops_buffer *y = s->alias ? x : ops_output(&c, type, count);
    struct ops_buffer *mean = ops_output(&c, TENSOR_F32, (size_t)s->rows);
    struct ops_buffer *rstd = ops_output(&c, TENSOR_F32, (size_t)s->rows);
    bool keep = !s->accumulate;
    struct op_layer_norm_forward args = {.rows = s->rows,
                                         .width = s->width,
                                         .eps = NORM_EPS,
                                         .x = ops_tensor(x),
                                         .gamma = ops_data(gamma),
                                         .beta = ops_data(beta),
                                         .y = ops_tensor(y),
                                         .mean = keep ? ops_data(mean) : NULL,
                                         .rstd = keep ? ops_data(rstd) : NULL};
    ops_run(&c, layer_norm_forward, &args);
    struct reference_norm r = {s->rows,
                               s->width,
                               NORM_EPS,
                               false,
                               x->value,
                               gamma ? gamma->value : NULL,
                               beta ? beta->value : NULL};
    mem_auto double *want = ops_doubles(count), *emulated = ops_doubles(count);
    mem_auto double *want_mean = ops_doubles((size_t)s->rows);
    mem_auto double *want_rstd = ops_doubles((size_t)s->rows);
    reference_norm_forward(&r, want, want_mean, want_rstd);
    r.bf16 = true;
    reference_norm_forward(&r, emulated, NULL, NULL);
    ops_check(&c, y, want, type == TENSOR_BF16 ? emulated : NULL, OPS_FLOAT32_TOLERANCE);
    if (keep) {
        ops_check(&c, mean, want_mean, NULL, OPS_FLOAT32_TOLERANCE);
        ops_check(&c, rstd, want_rstd, NULL, OPS_FLOAT32_TOLERANCE);
    }
    ops_end(&c);
}

Test(ops_norm, forward)
{
    for (size_t i = 0; i < COUNT_OF(norm_shapes); i++)
        ops_for_each(OP_layer_norm_forward, norm_forward_case, &norm_shapes[i]);
}

/* Rows whose values lie far from zero keep their variance: it is not computed as E[x^2] -
 * E[x]^2. */
Test(ops_norm, large_offset)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int b = 0; b < count; b++) {
        struct ops_case c;
        ops_begin(&c, list[b], 22);
        double *values = ops_doubles(8 * 64);
        for (int i = 0; i < 8 * 64; i++)
            values[i] = (float)(4096 + rng_normal(&c.rng));
        struct ops_buffer *x = ops_take(&c, OPS_INPUT, TENSOR_F32, 8 * 64, values);
        struct ops_buffer *y = ops_output(&c, TENSOR_F32, 8 * 64);
        struct op_layer_norm_forward args = {
            .rows = 8, .width = 64, .eps = NORM_EPS, .x = ops_tensor(x), .y = ops_tensor(y)};
        ops_run(&c, layer_norm_forward, &args);
        struct reference_norm r = {8, 64, NORM_EPS, false, values, NULL, NULL};
        double want[8 * 64];
        reference_norm_forward(&r, want, NULL, NULL);
        ops_check(&c, y, want, NULL, 1e-3);
        ops_end(&c);
    }
    ops_backends_free(list, count);
}

/* ---- Backward -------------------------------------------------------------------------------- */

struct norm_backward {
    struct ops_buffer *dy, *x, *gamma, *mean, *rstd, *residual, *dx, *dgamma, *dbeta;
};

/* Buffers for the shape; statistics as the forward pass would have left them. */
static void norm_backward_buffers(struct ops_case *c, const struct norm_shape *s,
                                  enum tensor_type type, struct norm_backward *n)
{
    size_t count = (size_t)(s->rows * s->width), width = (size_t)s->width;
    n->dy = ops_random(c, s->alias ? OPS_UPDATED : OPS_INPUT, type, count, 1);
    n->x = ops_random(c, OPS_INPUT, type, count, 2);
    n->gamma = s->affine ? ops_input(c, TENSOR_F32, width) : NULL;
    double *mean = ops_doubles((size_t)s->rows), *rstd = ops_doubles((size_t)s->rows);
    struct reference_norm r = {s->rows, s->width, NORM_EPS, false, n->x->value, NULL, NULL};
    for (int64_t row = 0; row < s->rows; row++)
        reference_norm_statistics(&r, row, &mean[row], &rstd[row]);
    n->mean = ops_take(c, OPS_INPUT, TENSOR_F32, (size_t)s->rows, mean);
    n->rstd = ops_take(c, OPS_INPUT, TENSOR_F32, (size_t)s->rows, rstd);
    n->dx = s->alias ? n->dy : NULL;
    if (!n->dx)
        n->dx = s->residual_is_dx ? ops_random(c, OPS_UPDATED, type, count, 1)
                                  : ops_output(c, type, count);
    n->residual = !s->residual                     ? NULL
                  : s->residual_is_dx && !s->alias ? n->dx
                                                   : ops_input(c, type, count);
    n->dgamma = s->affine ? ops_sum(c, TENSOR_F32, width, s->accumulate) : NULL;
    n->dbeta = s->affine ? ops_sum(c, TENSOR_F32, width, s->accumulate) : NULL;
}

static void norm_backward_check(struct ops_case *c, const struct norm_shape *s,
                                enum tensor_type type, struct norm_backward *n)
{
    size_t count = (size_t)(s->rows * s->width), width = (size_t)s->width;
    mem_auto double *want = ops_doubles(count), *emulated = ops_doubles(count);
    mem_auto double *dgamma = ops_doubles(width), *dbeta = ops_doubles(width);
    struct reference_norm r = {
        s->rows, s->width, NORM_EPS, true, n->x->value, n->gamma ? n->gamma->value : NULL, NULL};
    const double *residual = n->residual ? n->residual->value : NULL;
    reference_norm_backward(&r, n->dy->value, residual, emulated, NULL, NULL);
    r.bf16 = false;
    if (s->affine && s->accumulate) {
        memcpy(dgamma, n->dgamma->value, width * sizeof(double));
        memcpy(dbeta, n->dbeta->value, width * sizeof(double));
    }
    reference_norm_backward(&r, n->dy->value, residual, want, dgamma, dbeta);
    ops_check(c, n->dx, want, type == TENSOR_BF16 ? emulated : NULL, OPS_FLOAT32_TOLERANCE);
    if (s->affine) {
        ops_check(c, n->dgamma, dgamma, NULL, OPS_FLOAT32_TOLERANCE);
        ops_check(c, n->dbeta, dbeta, NULL, OPS_FLOAT32_TOLERANCE);
    }
}

static void norm_backward_case(struct backend *backend, enum tensor_type type, const void *user)
{
    const struct norm_shape *s = user;
    struct ops_case c;
    struct norm_backward n;
    ops_begin(&c, backend, 23);
    norm_backward_buffers(&c, s, type, &n);
    struct op_layer_norm_backward args = {.rows = s->rows,
                                          .width = s->width,
                                          .dy = ops_tensor(n.dy),
                                          .x = ops_tensor(n.x),
                                          .gamma = ops_data(n.gamma),
                                          .mean = ops_data(n.mean),
                                          .rstd = ops_data(n.rstd),
                                          .residual = ops_tensor(n.residual),
                                          .dx = ops_tensor(n.dx),
                                          .dgamma = ops_data(n.dgamma),
                                          .dbeta = ops_data(n.dbeta),
                                          .accumulate = s->accumulate};
    ops_run(&c, layer_norm_backward, &args);
    norm_backward_check(&c, s, type, &n);
    ops_end(&c);
}

Test(ops_norm, backward)
{
    for (size_t i = 0; i < COUNT_OF(norm_shapes); i++)
        if (norm_shapes[i].width > 1) /* of width 1 the gradient is zero up to rounding */
            ops_for_each(OP_layer_norm_backward, norm_backward_case, &norm_shapes[i]);
}

struct norm_objective {
    struct reference_norm forward;
    double *y;
    const double *dy;
};

static double norm_objective(void *user)
{
    struct norm_objective *o = user;
    reference_norm_forward(&o->forward, o->y, NULL, NULL);
    double sum = 0;
    for (int64_t i = 0; i < o->forward.rows * o->forward.width; i++)
        sum += o->y[i] * o->dy[i];
    return sum;
}

Test(ops_norm, reference_gradients_by_finite_differences)
{
    enum { ROWS = 3, WIDTH = 7 };
    double x[ROWS * WIDTH], dy[ROWS * WIDTH], y[ROWS * WIDTH], dx[ROWS * WIDTH];
    double gamma[WIDTH], beta[WIDTH], dgamma[WIDTH] = {0}, dbeta[WIDTH] = {0};
    struct rng rng;
    rng_init(&rng, 24, RNG_TEST, 0, 0);
    for (int i = 0; i < ROWS * WIDTH; i++) {
        x[i] = rng_normal(&rng);
        dy[i] = rng_normal(&rng);
    }
    for (int i = 0; i < WIDTH; i++) {
        gamma[i] = rng_normal(&rng);
        beta[i] = rng_normal(&rng);
    }
    struct norm_objective o = {{ROWS, WIDTH, NORM_EPS, false, x, gamma, beta}, y, dy};
    reference_norm_backward(&o.forward, dy, NULL, dx, dgamma, dbeta);
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        cr_assert_float_eq(ops_slope(norm_objective, &o, x, i), dx[i], 1e-7);
    for (size_t i = 0; i < WIDTH; i++) {
        cr_assert_float_eq(ops_slope(norm_objective, &o, gamma, i), dgamma[i], 1e-7);
        cr_assert_float_eq(ops_slope(norm_objective, &o, beta, i), dbeta[i], 1e-7);
    }
}
