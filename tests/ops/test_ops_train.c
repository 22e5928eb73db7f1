/* Loss, optimiser, sums of squares, type conversion. */
#include "tests/ops/ops_reference_train.h"

struct loss_shape {
    int64_t rows, width;
    enum loss_kind kind;
    bool alias, value_only;
    float scale;
};

static const struct loss_shape loss_shapes[] = {
    {1, 1, LOSS_SMOOTH_L1, false, false, 1},  {31, 33, LOSS_SMOOTH_L1, true, false, 0.25f},
    {257, 192, LOSS_L2, false, false, 1},     {33, 384, LOSS_L2, true, false, 0.5f},
    {64, 17, LOSS_SMOOTH_L1, false, true, 1}, {100, 96, LOSS_SMOOTH_L1, false, false, 1},
};

static void loss_case(struct backend *backend, enum tensor_type type, const void *user)
{
    const struct loss_shape *s = user;
    struct ops_case c;
    ops_begin(&c, backend, 51);
    size_t count = (size_t)(s->rows * s->width);
    struct ops_buffer *p = ops_random(&c, s->alias ? OPS_UPDATED : OPS_INPUT, type, count, 1.5);
    struct ops_buffer *t = ops_input(&c, TENSOR_F32, count);
    struct ops_buffer *d = s->value_only ? NULL : s->alias ? p : ops_output(&c, type, count);
    struct ops_buffer *sums = ops_output(&c, TENSOR_F32, 3);
    struct op_loss args = {.rows = s->rows,
                           .width = s->width,
                           .kind = s->kind,
                           .prediction = ops_tensor(p),
                           .target = ops_data(t),
                           .gradient_scale = s->scale,
                           .dprediction = ops_tensor(d),
                           .sums = ops_data(sums)};
    ops_run(&c, loss, &args);
    struct reference_loss r = {s->rows, s->width, s->kind, p->value, t->value};
    double *got = ops_result(&c, sums), value = reference_loss_value(&r);
    cr_assert_float_eq(got[0], value, 3e-7 * value);
    cr_assert_float_eq(got[1], reference_loss_cosine(&r), 3e-7);
    cr_assert_eq(got[2], 0);
    if (d) {
        mem_auto double *want = ops_doubles(count), *rounded = ops_doubles(count);
        reference_loss_gradient(&r, s->scale, want);
        for (size_t i = 0; i < count; i++)
            rounded[i] = ops_round(want[i], type);
        ops_check(&c, d, want, type == TENSOR_BF16 ? rounded : NULL, 3e-7);
    }
    ops_end(&c);
}

Test(ops_loss, value_and_gradient)
{
    for (size_t i = 0; i < COUNT_OF(loss_shapes); i++)
        ops_for_each(OP_loss, loss_case, &loss_shapes[i]);
}

Test(ops_loss, share_of_nonfinite_predictions)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int b = 0; b < count; b++) {
        struct ops_case c;
        ops_begin(&c, list[b], 52);
        double *values = ops_doubles(40 * 10);
        values[7] = (double)NAN;
        values[123] = (double)INFINITY;
        values[399] = (double)-INFINITY;
        values[398] = 3e38; /* large, but a number */
        struct ops_buffer *p = ops_take(&c, OPS_INPUT, TENSOR_F32, 40 * 10, values);
        struct ops_buffer *t = ops_input(&c, TENSOR_F32, 40 * 10);
        struct ops_buffer *sums = ops_output(&c, TENSOR_F32, 3);
        struct op_loss args = {.rows = 40,
                               .width = 10,
                               .prediction = ops_tensor(p),
                               .target = ops_data(t),
                               .gradient_scale = 1,
                               .sums = ops_data(sums)};
        ops_run(&c, loss, &args);
        double *got = ops_result(&c, sums);
        cr_assert(isnan(got[0]), "the loss must not hide a NaN");
        cr_assert_float_eq(got[2], 3.0 / 400, 1e-8);
        ops_end(&c);
    }
    ops_backends_free(list, count);
}

static double loss_objective(void *user)
{
    return reference_loss_value(user);
}

Test(ops_loss, reference_gradient_by_finite_differences)
{
    enum { ROWS = 4, WIDTH = 5 };
    double p[ROWS * WIDTH], t[ROWS * WIDTH], d[ROWS * WIDTH];
    struct rng rng;
    rng_init(&rng, 53, RNG_TEST, 0, 0);
    for (int i = 0; i < ROWS * WIDTH; i++) {
        p[i] = rng_normal(&rng);
        t[i] = rng_normal(&rng);
    }
    for (int kind = LOSS_SMOOTH_L1; kind <= LOSS_L2; kind++) {
        struct reference_loss r = {ROWS, WIDTH, (enum loss_kind)kind, p, t};
        reference_loss_gradient(&r, 1, d);
        for (size_t i = 0; i < ROWS * WIDTH; i++)
            cr_assert_float_eq(ops_slope(loss_objective, &r, p, i), d[i], 1e-9);
    }
}

/* ---- Optimiser ------------------------------------------------------------------------------- */

#define ADAMW_COUNT 5000

/* A gap of 10 before the first segment, 29 between, the rest after; one segment has no average. */
static const struct parameter_segment adamw_segments[] = {
    {10, 1, true, 3}, {40, 2111, true, 4}, {2151, 33, false, -1}, {2200, 1777, false, 2200}};

struct adamw_buffers {
    struct ops_buffer *p, *g, *m, *v, *ema, *p_bf16, *ema_bf16;
    double *want_p, *want_m, *want_v, *want_ema;
};

static double *adamw_copy(const struct ops_buffer *b)
{
    double *copy = ops_doubles(b->count);
    memcpy(copy, b->value, b->count * sizeof(double));
    return copy;
}

static void adamw_begin(struct ops_case *c, struct adamw_buffers *a)
{
    double *squares = ops_doubles(ADAMW_COUNT);
    for (int i = 0; i < ADAMW_COUNT; i++)
        squares[i] = (float)(rng_uniform(&c->rng) * 1e-2);
    a->p = ops_random(c, OPS_UPDATED, TENSOR_F32, ADAMW_COUNT, 0.5);
    a->g = ops_random(c, OPS_INPUT, TENSOR_F32, ADAMW_COUNT, 0.1);
    a->m = ops_random(c, OPS_UPDATED, TENSOR_F32, ADAMW_COUNT, 0.05);
    a->v = ops_take(c, OPS_UPDATED, TENSOR_F32, ADAMW_COUNT, squares);
    a->ema = ops_random(c, OPS_UPDATED, TENSOR_F32, ADAMW_COUNT, 0.5);
    a->p_bf16 = ops_filled(c, OPS_UPDATED, TENSOR_BF16, ADAMW_COUNT, 7);
    a->ema_bf16 = ops_filled(c, OPS_UPDATED, TENSOR_BF16, ADAMW_COUNT, 7);
    a->want_p = adamw_copy(a->p);
    a->want_m = adamw_copy(a->m);
    a->want_v = adamw_copy(a->v);
    a->want_ema = adamw_copy(a->ema);
}

static void adamw_want(const struct reference_adamw *r, int64_t step, struct adamw_buffers *a)
{
    for (size_t s = 0; s < COUNT_OF(adamw_segments); s++)
        for (int64_t i = 0; i < adamw_segments[s].count; i++) {
            int64_t at = adamw_segments[s].offset + i, to = adamw_segments[s].ema_offset + i;
            reference_adamw(r, step, adamw_segments[s].decay, a->g->value[at], &a->want_p[at],
                            &a->want_m[at], &a->want_v[at]);
            if (adamw_segments[s].ema_offset >= 0)
                a->want_ema[to] = r->momentum * a->want_ema[to] + (1 - r->momentum) * a->want_p[at];
        }
}

/* The bfloat16 copy is the float32 result rounded, inside the segments only. */
static void adamw_check_copy(struct ops_case *c, struct ops_buffer *copy, struct ops_buffer *source,
                             bool ema)
{
    double *got = ops_result(c, copy), *wide = ops_result(c, source);
    mem_auto double *want = ops_doubles(ADAMW_COUNT);
    for (int i = 0; i < ADAMW_COUNT; i++)
        want[i] = 7;
    for (size_t s = 0; s < COUNT_OF(adamw_segments); s++) {
        const struct parameter_segment *segment = &adamw_segments[s];
        int64_t from = ema ? segment->ema_offset : segment->offset;
        for (int64_t i = 0; from >= 0 && i < segment->count; i++)
            want[from + i] = ops_round_bf16(wide[from + i]);
    }
    for (int i = 0; i < ADAMW_COUNT; i++)
        cr_assert_eq(got[i], want[i], "element %d", i);
}

static void adamw_check(struct ops_case *c, struct adamw_buffers *a, bool copies)
{
    ops_check(c, a->p, a->want_p, NULL, 2e-7);
    ops_check(c, a->m, a->want_m, NULL, 2e-7);
    ops_check(c, a->v, a->want_v, NULL, 2e-7);
    ops_check(c, a->ema, a->want_ema, NULL, 2e-7);
    if (copies) {
        adamw_check_copy(c, a->p_bf16, a->p, false);
        adamw_check_copy(c, a->ema_bf16, a->ema, true);
    }
    double *got = ops_result(c, a->p);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(got[i], a->p->value[i], "outside all segments");
    mem_free(a->want_p);
    mem_free(a->want_m);
    mem_free(a->want_v);
    mem_free(a->want_ema);
}

Test(ops_optimizer, adamw_and_average)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    static const int64_t steps[] = {1, 2, 1000};
    struct reference_adamw r = {1e-3, 0.05, 0.9, 0.999, 1e-8, 0.996, 0.5};
    for (int b = 0; b < count; b++)
        for (size_t i = 0; i < COUNT_OF(steps); i++) {
            struct ops_case c;
            struct adamw_buffers a;
            ops_begin(&c, list[b], 54);
            adamw_begin(&c, &a);
            bool copies = i > 0;
            struct op_adamw_ema args = {.step = steps[i],
                                        .lr = r.lr,
                                        .weight_decay = r.weight_decay,
                                        .beta1 = r.beta1,
                                        .beta2 = r.beta2,
                                        .eps = r.eps,
                                        .ema_momentum = r.momentum,
                                        .gradient_scale = r.gradient_scale,
                                        .segments = adamw_segments,
                                        .segment_count = COUNT_OF(adamw_segments),
                                        .parameter = ops_data(a.p),
                                        .gradient = ops_data(a.g),
                                        .moment1 = ops_data(a.m),
                                        .moment2 = ops_data(a.v),
                                        .ema = ops_data(a.ema),
                                        .parameter_bf16 = copies ? ops_data(a.p_bf16) : NULL,
                                        .ema_bf16 = copies ? ops_data(a.ema_bf16) : NULL};
            ops_run(&c, adamw_ema, &args);
            adamw_want(&r, steps[i], &a);
            adamw_check(&c, &a, copies);
            ops_end(&c);
        }
    ops_backends_free(list, count);
}

Test(ops_optimizer, step_zero_is_an_error)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    struct ij_err err = IJ_ERR_INIT;
    struct op_adamw_ema args = {.step = 0};
    for (int b = 0; b < count; b++) {
        cr_assert_eq(list[b]->ops->adamw_ema(list[b], &args, &err), IJ_INVALID);
        cr_assert_str_eq(err.field, "step");
    }
    ops_backends_free(list, count);
}

Test(ops_optimizer, square_sums)
{
    enum { COUNT = 100000 };
    static const struct parameter_segment segments[] = {
        {0, 1, true, -1}, {5, 16384, true, -1}, {20000, 0, true, -1}, {30000, 70000, true, -1}};
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int b = 0; b < count; b++) {
        struct ops_case c;
        ops_begin(&c, list[b], 55);
        struct ops_buffer *x = ops_input(&c, TENSOR_F32, COUNT);
        struct ops_buffer *sums = ops_output(&c, TENSOR_F32, 2 * COUNT_OF(segments)); /* doubles */
        struct op_square_sums args = {.x = ops_data(x),
                                      .segments = segments,
                                      .segment_count = COUNT_OF(segments),
                                      .sums = ops_data(sums)};
        ops_run(&c, square_sums, &args);
        struct ij_err err = IJ_ERR_INIT;
        double got[COUNT_OF(segments)];
        cr_assert_eq(list[b]->ops->download(list[b], got, ops_data(sums), sizeof(got), &err),
                     IJ_OK);
        for (size_t s = 0; s < COUNT_OF(segments); s++) {
            double want = 0;
            for (int64_t i = 0; i < segments[s].count; i++)
                want += pow(x->value[segments[s].offset + i], 2);
            cr_assert_float_eq(got[s], want, 1e-12 * want + 1e-300, "segment %zu", s);
        }
        ops_end(&c);
    }
    ops_backends_free(list, count);
}

/* ---- Conversion ------------------------------------------------------------------------------ */

Test(ops_convert, both_ways)
{
    static const size_t counts[] = {1, 31, 1024, 4097};
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int b = 0; b < count; b++)
        for (size_t i = 0; i < COUNT_OF(counts); i++) {
            struct ops_case c;
            ops_begin(&c, list[b], 56);
            struct ops_buffer *x = ops_random(&c, OPS_INPUT, TENSOR_F32, counts[i], 1e3);
            struct ops_buffer *half = ops_output(&c, TENSOR_BF16, counts[i]);
            struct ops_buffer *wide = ops_output(&c, TENSOR_F32, counts[i]);
            struct op_convert narrow = {(int64_t)counts[i], ops_tensor(x), ops_tensor(half)};
            ops_run(&c, convert, &narrow);
            struct op_convert widen = {(int64_t)counts[i], ops_tensor(half), ops_tensor(wide)};
            ops_run(&c, convert, &widen);
            double *got = ops_result(&c, half), *back = ops_result(&c, wide);
            for (size_t k = 0; k < counts[i]; k++) {
                cr_assert_eq(got[k], ops_round_bf16(x->value[k]));
                cr_assert_eq(back[k], got[k]);
            }
            ops_end(&c);
        }
    ops_backends_free(list, count);
}

/* Ties go to even, overflow to infinity, and a NaN stays one. */
Test(ops_convert, special_values)
{
    static const float from[] = {1.00390625f, 1.01171875f, 3.4e38f, -0.0f, NAN, INFINITY, -NAN};
    static const double to[] = {1.0, 1.015625, INFINITY, -0.0, NAN, INFINITY, NAN};
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int b = 0; b < count; b++) {
        struct ops_case c;
        ops_begin(&c, list[b], 57);
        double *values = ops_doubles(COUNT_OF(from));
        for (size_t i = 0; i < COUNT_OF(from); i++)
            values[i] = (double)from[i];
        struct ops_buffer *x = ops_take(&c, OPS_INPUT, TENSOR_F32, COUNT_OF(from), values);
        struct ops_buffer *y = ops_output(&c, TENSOR_BF16, COUNT_OF(from));
        struct op_convert args = {COUNT_OF(from), ops_tensor(x), ops_tensor(y)};
        ops_run(&c, convert, &args);
        double *got = ops_result(&c, y);
        for (size_t i = 0; i < COUNT_OF(from); i++)
            cr_assert(isnan(to[i]) ? isnan(got[i]) != 0 : got[i] == to[i], "value %zu: %g", i,
                      got[i]);
        ops_end(&c);
    }
    ops_backends_free(list, count);
}
