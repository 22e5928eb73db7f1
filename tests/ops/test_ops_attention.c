/* Attention, forward and backward: equal and packed sequences, late query start, all head sizes. */
#include "tests/ops/ops_reference_attention.h"

#define ATTENTION_TOLERANCE 5e-6

struct attention_shape {
    int64_t sequences, length, heads, dim, query_start;
    int lengths[5]; /* of packed sequences; 0 first: all of `length` */
};

static const struct attention_shape attention_shapes[] = {
    {1, 1, 1, 16, 0, {0}},
    {2, 17, 3, 24, 0, {0}},
    {1, 196, 1, 64, 0, {0}},
    {1, 257, 2, 80, 0, {0}},
    {2, 31, 1, 88, 0, {0}},
    {1, 65, 2, 128, 0, {0}},
    {3, 64, 2, 32, 0, {0}},
    {2, 33, 2, 1, 0, {0}},
    {2, 20, 1, 48, 7, {0}},
    {1, 70, 2, 24, 69, {0}},
    {2, 9, 1, 16, 9, {0}},
    {4, 50, 2, 32, 0, {50, 1, 33, 17}},
    {3, 40, 1, 24, 5, {40, 6, 21}},
    {3, 20, 2, 8, 10, {20, 4, 0}},
    {2, 69, 1, 64, 0, {69, 50}},
    {2, 40, 2, 80, 0, {17, 40}},
    {2, 35, 1, 88, 4, {35, 33}},
    {3, 34, 1, 128, 0, {34, 1, 18}},
    {1, 100, 2, 80, 33, {0}},
    {1, 256, 1, 24, 0, {0}},
    {1, 784, 1, 24, 0, {0}},
    {1, 320, 1, 88, 300, {0}},
    {3, 270, 1, 40, 0, {270, 64, 65}},
    {1, 257, 1, 72, 240, {0}},
};

struct attention_buffers {
    struct reference_attention r;
    struct ops_buffer *qkv, *offsets, *out, *lse, *dout, *dqkv;
    double *want_out, *want_lse, *rounded_out;
    size_t outs, lses;
};

static struct ops_buffer *attention_offsets(struct ops_case *c, const struct attention_shape *s)
{
    if (!s->lengths[0])
        return NULL;
    double *value = ops_doubles((size_t)s->sequences + 1);
    for (int64_t i = 0; i < s->sequences; i++)
        value[i + 1] = value[i] + s->lengths[i];
    return ops_take(c, OPS_INPUT, TENSOR_I32, (size_t)s->sequences + 1, value);
}

/* Inputs, and what the forward pass ought to give. Rows below query_start stay as they were. */
static void attention_begin(struct ops_case *c, const struct attention_shape *s,
                            struct backend *backend, enum tensor_type type,
                            struct attention_buffers *a)
{
    ops_begin(c, backend, 31);
    a->offsets = attention_offsets(c, s);
    a->r = (struct reference_attention){s->sequences,   s->length,
                                        s->heads,       s->dim,
                                        s->query_start, a->offsets ? a->offsets->value : NULL,
                                        false,          NULL};
    int64_t tokens = reference_tokens(&a->r);
    a->lses = (size_t)(tokens * s->heads);
    a->outs = a->lses * (size_t)s->dim;
    a->qkv = ops_random(c, OPS_INPUT, type, 3 * a->outs, 1.5);
    a->r.qkv = a->qkv->value;
    a->want_out = ops_doubles(a->outs);
    a->rounded_out = ops_doubles(a->outs);
    a->want_lse = ops_doubles(a->lses);
    for (size_t i = 0; i < a->outs; i++)
        a->want_out[i] = a->rounded_out[i] = 2;
    for (size_t i = 0; i < a->lses; i++)
        a->want_lse[i] = 2;
    a->r.bf16 = true;
    reference_attention_forward(&a->r, a->rounded_out, a->want_lse);
    a->r.bf16 = false;
    reference_attention_forward(&a->r, a->want_out, a->want_lse);
}

static void attention_end(struct ops_case *c, struct attention_buffers *a)
{
    ops_end(c);
    mem_free(a->want_out);
    mem_free(a->rounded_out);
    mem_free(a->want_lse);
}

static void attention_forward_case(struct backend *backend, enum tensor_type type, const void *user)
{
    const struct attention_shape *s = user;
    struct ops_case c;
    struct attention_buffers a;
    attention_begin(&c, s, backend, type, &a);
    a.out = ops_filled(&c, OPS_UPDATED, type, a.outs, 2);
    a.lse = ops_filled(&c, OPS_UPDATED, TENSOR_F32, a.lses, 2);
    struct op_attention_forward args = {.sequences = s->sequences,
                                        .length = s->length,
                                        .heads = s->heads,
                                        .head_dim = s->dim,
                                        .query_start = s->query_start,
                                        .offsets = ops_data(a.offsets),
                                        .qkv = ops_tensor(a.qkv),
                                        .out = ops_tensor(a.out),
                                        .lse = ops_data(a.lse)};
    ops_run(&c, attention_forward, &args);
    ops_check(&c, a.out, a.want_out, type == TENSOR_BF16 ? a.rounded_out : NULL,
              ATTENTION_TOLERANCE);
    ops_check(&c, a.lse, a.want_lse, NULL, ATTENTION_TOLERANCE);
    args.lse = NULL;
    ops_run(&c, attention_forward, &args);
    ops_check(&c, a.out, a.want_out, type == TENSOR_BF16 ? a.rounded_out : NULL,
              ATTENTION_TOLERANCE);
    attention_end(&c, &a);
}

Test(ops_attention, forward)
{
    for (size_t i = 0; i < COUNT_OF(attention_shapes); i++)
        ops_for_each(OP_attention_forward, attention_forward_case, &attention_shapes[i]);
}

/* A copy of `values` rounded to the type, as an input of the backward pass. */
static struct ops_buffer *attention_input(struct ops_case *c, enum tensor_type type, size_t count,
                                          const double *values)
{
    double *copy = ops_doubles(count);
    for (size_t i = 0; i < count; i++)
        copy[i] = ops_round(values[i], type);
    return ops_take(c, OPS_INPUT, type, count, copy);
}

static void attention_backward_case(struct backend *backend, enum tensor_type type,
                                    const void *user)
{
    const struct attention_shape *s = user;
    struct ops_case c;
    struct attention_buffers a;
    attention_begin(&c, s, backend, type, &a);
    a.out = attention_input(&c, type, a.outs, a.want_out);
    a.lse = attention_input(&c, TENSOR_F32, a.lses, a.want_lse);
    a.dout = ops_input(&c, type, a.outs);
    a.dqkv = ops_output(&c, type, 3 * a.outs);
    struct op_attention_backward args = {.sequences = s->sequences,
                                         .length = s->length,
                                         .heads = s->heads,
                                         .head_dim = s->dim,
                                         .query_start = s->query_start,
                                         .offsets = ops_data(a.offsets),
                                         .qkv = ops_tensor(a.qkv),
                                         .out = ops_tensor(a.out),
                                         .dout = ops_tensor(a.dout),
                                         .lse = ops_data(a.lse),
                                         .dqkv = ops_tensor(a.dqkv)};
    ops_run(&c, attention_backward, &args);
    mem_auto double *want = ops_doubles(3 * a.outs), *emulated = ops_doubles(3 * a.outs);
    reference_attention_backward(&a.r, a.want_out, a.dout->value, want);
    a.r.bf16 = true;
    reference_attention_backward(&a.r, a.out->value, a.dout->value, emulated);
    ops_check(&c, a.dqkv, want, type == TENSOR_BF16 ? emulated : NULL, ATTENTION_TOLERANCE);
    double *got = ops_result(&c, a.dqkv);
    for (int64_t i = 0; i < s->heads * s->dim && s->query_start > 0; i++)
        cr_assert_eq(got[i], 0, "dq below query_start is written as zero");
    attention_end(&c, &a);
}

Test(ops_attention, backward)
{
    for (size_t i = 0; i < COUNT_OF(attention_shapes); i++)
        ops_for_each(OP_attention_backward, attention_backward_case, &attention_shapes[i]);
}

/* Scores of a few hundred: exponentials are taken of differences from the maximum. */
Test(ops_attention, large_scores)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int b = 0; b < count; b++) {
        struct ops_case c;
        ops_begin(&c, list[b], 32);
        struct ops_buffer *qkv = ops_random(&c, OPS_INPUT, TENSOR_F32, 40 * 3 * 16, 15);
        struct ops_buffer *out = ops_output(&c, TENSOR_F32, 40 * 16);
        struct op_attention_forward args = {.sequences = 1,
                                            .length = 40,
                                            .heads = 1,
                                            .head_dim = 16,
                                            .qkv = ops_tensor(qkv),
                                            .out = ops_tensor(out)};
        ops_run(&c, attention_forward, &args);
        struct reference_attention r = {1, 40, 1, 16, 0, NULL, false, qkv->value};
        double want[40 * 16], lse[40];
        reference_attention_forward(&r, want, lse);
        ops_check(&c, out, want, NULL, 1e-4);
        ops_end(&c);
    }
    ops_backends_free(list, count);
}

Test(ops_attention, nan_reaches_the_output)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int b = 0; b < count; b++)
        for (int part = 0; part < 3; part++) {
            struct ops_case c;
            ops_begin(&c, list[b], 33);
            double *values = ops_doubles(2 * 9 * 3 * 16);
            for (int i = 0; i < 2 * 9 * 3 * 16; i++)
                values[i] = (float)rng_normal(&c.rng);
            values[((9 + 4) * 3 + part) * 16 + 5] = (double)NAN;
            struct ops_buffer *qkv = ops_take(&c, OPS_INPUT, TENSOR_F32, 2 * 9 * 3 * 16, values);
            struct ops_buffer *out = ops_filled(&c, OPS_UPDATED, TENSOR_F32, 2 * 9 * 16, 0);
            struct op_attention_forward args = {.sequences = 2,
                                                .length = 9,
                                                .heads = 1,
                                                .head_dim = 16,
                                                .qkv = ops_tensor(qkv),
                                                .out = ops_tensor(out)};
            ops_run(&c, attention_forward, &args);
            double *got = ops_result(&c, out);
            for (int i = 0; i < 9 * 16; i++)
                cr_assert(isfinite(got[i]), "the other sequence is untouched");
            cr_assert(isnan(got[(9 + 4) * 16 + 5]), "part %d", part);
            ops_end(&c);
        }
    ops_backends_free(list, count);
}

struct attention_objective {
    struct reference_attention forward;
    double *out, *lse;
    const double *dout;
};

static double attention_objective(void *user)
{
    struct attention_objective *o = user;
    reference_attention_forward(&o->forward, o->out, o->lse);
    double sum = 0;
    for (int64_t i = 0; i < reference_tokens(&o->forward) * o->forward.heads * o->forward.dim; i++)
        sum += o->out[i] * o->dout[i];
    return sum;
}

Test(ops_attention, reference_gradients_by_finite_differences)
{
    enum { TOKENS = 9, HEADS = 2, DIM = 3, OUTS = TOKENS * HEADS * DIM };
    double offsets[] = {0, 5, 9}, qkv[3 * OUTS], out[OUTS] = {0}, dout[OUTS], dqkv[3 * OUTS];
    double lse[TOKENS * HEADS];
    struct rng rng;
    rng_init(&rng, 34, RNG_TEST, 0, 0);
    for (int i = 0; i < 3 * OUTS; i++)
        qkv[i] = rng_normal(&rng);
    for (int i = 0; i < OUTS; i++)
        dout[i] = rng_normal(&rng);
    for (int64_t start = 0; start < 3; start += 2) {
        struct attention_objective o = {
            {2, 5, HEADS, DIM, start, offsets, false, qkv}, out, lse, dout};
        memset(out, 0, sizeof(out));
        reference_attention_forward(&o.forward, out, lse);
        reference_attention_backward(&o.forward, out, dout, dqkv);
        for (size_t i = 0; i < 3 * OUTS; i++)
            cr_assert_float_eq(ops_slope(attention_objective, &o, qkv, i), dqkv[i], 1e-8);
    }
}
