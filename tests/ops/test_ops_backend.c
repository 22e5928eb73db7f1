/* The backend itself: repeatability, scratch, memory, questions and bad arguments. */
#include "tests/ops/ops_harness.h"

enum { CHAIN_ROWS = 2 * 70, CHAIN_WIDTH = 48, CHAIN_HEADS = 2, CHAIN_OUTPUTS = 9 };

/* One block's worth of operations on fixed inputs; what they wrote, as raw values. */
struct chain {
    struct ops_case c;
    struct ops_buffer *x, *weight, *bias, *gamma, *target;
    struct ops_buffer *outputs[CHAIN_OUTPUTS];
};

static void chain_begin(struct chain *k, struct backend *backend, enum tensor_type type)
{
    ops_begin(&k->c, backend, 61);
    size_t rows = CHAIN_ROWS, width = CHAIN_WIDTH;
    k->x = ops_input(&k->c, type, rows * width);
    k->target = ops_input(&k->c, TENSOR_F32, rows * width);
    k->weight = ops_random(&k->c, OPS_INPUT, type, 3 * width * width, 0.2);
    k->bias = ops_input(&k->c, TENSOR_F32, 3 * width);
    k->gamma = ops_input(&k->c, TENSOR_F32, width);
    const size_t counts[CHAIN_OUTPUTS] = {
        rows * 3 * width, rows * width,         rows * CHAIN_HEADS,
        rows * 3 * width, 3 * width * width,    3 * width,
        rows * width,     2 * width + 2 * rows, 3};
    for (int i = 0; i < CHAIN_OUTPUTS; i++) {
        bool typed = i < 2 || i == 3 || i == 6; /* the others are float32 by contract */
        k->outputs[i] = ops_output(&k->c, typed ? type : TENSOR_F32, counts[i]);
    }
}

static void chain_attention(struct chain *k)
{
    struct ops_buffer **o = k->outputs;
    int64_t length = CHAIN_ROWS / 2, dim = CHAIN_WIDTH / CHAIN_HEADS;
    struct op_linear_forward qkv = {.rows = CHAIN_ROWS,
                                    .in = CHAIN_WIDTH,
                                    .out = 3 * CHAIN_WIDTH,
                                    .x = ops_tensor(k->x),
                                    .weight = ops_tensor(k->weight),
                                    .bias = ops_data(k->bias),
                                    .y = ops_tensor(o[0])};
    ops_run(&k->c, linear_forward, &qkv);
    struct op_attention_forward forward = {.sequences = 2,
                                           .length = length,
                                           .heads = CHAIN_HEADS,
                                           .head_dim = dim,
                                           .qkv = ops_tensor(o[0]),
                                           .out = ops_tensor(o[1]),
                                           .lse = ops_data(o[2])};
    ops_run(&k->c, attention_forward, &forward);
    struct op_attention_backward backward = {.sequences = 2,
                                             .length = length,
                                             .heads = CHAIN_HEADS,
                                             .head_dim = dim,
                                             .qkv = ops_tensor(o[0]),
                                             .out = ops_tensor(o[1]),
                                             .dout = ops_tensor(k->x),
                                             .lse = ops_data(o[2]),
                                             .dqkv = ops_tensor(o[3])};
    ops_run(&k->c, attention_backward, &backward);
}

static void chain_run(struct chain *k)
{
    struct ops_buffer **o = k->outputs;
    chain_attention(k);
    struct op_linear_backward_weight weight = {.rows = CHAIN_ROWS,
                                               .in = CHAIN_WIDTH,
                                               .out = 3 * CHAIN_WIDTH,
                                               .dy = ops_tensor(o[3]),
                                               .x = ops_tensor(k->x),
                                               .dweight = ops_data(o[4]),
                                               .dbias = ops_data(o[5])};
    ops_run(&k->c, linear_backward_weight, &weight);
    float *sums = ops_data(o[7]);
    float *statistics = sums + 2 * CHAIN_WIDTH;
    struct op_layer_norm_forward norm = {.rows = CHAIN_ROWS,
                                         .width = CHAIN_WIDTH,
                                         .eps = 1e-6f,
                                         .x = ops_tensor(k->x),
                                         .y = ops_tensor(o[6]),
                                         .mean = statistics,
                                         .rstd = statistics + CHAIN_ROWS};
    ops_run(&k->c, layer_norm_forward, &norm);
    struct op_layer_norm_backward slope = {.rows = CHAIN_ROWS,
                                           .width = CHAIN_WIDTH,
                                           .dy = ops_tensor(o[1]),
                                           .x = ops_tensor(k->x),
                                           .gamma = ops_data(k->gamma),
                                           .mean = norm.mean,
                                           .rstd = norm.rstd,
                                           .dx = ops_tensor(o[6]),
                                           .dgamma = sums,
                                           .dbeta = sums + CHAIN_WIDTH};
    ops_run(&k->c, layer_norm_backward, &slope);
    struct op_loss loss = {.rows = CHAIN_ROWS,
                           .width = CHAIN_WIDTH,
                           .prediction = ops_tensor(o[1]),
                           .target = ops_data(k->target),
                           .gradient_scale = 1,
                           .sums = ops_data(o[8])};
    ops_run(&k->c, loss, &loss);
}

static struct backend *chain_backend(int threads)
{
    struct backend *backend;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(backend_host_new(threads, &backend, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(backend->threads, threads);
    return backend;
}

/* Fails unless both chains wrote the same bits. */
static void chain_compare(struct chain *a, struct chain *b)
{
    for (int i = 0; i < CHAIN_OUTPUTS; i++) {
        size_t bytes = a->outputs[i]->count * sizeof(double);
        double *first = ops_result(&a->c, a->outputs[i]),
               *second = ops_result(&b->c, b->outputs[i]);
        cr_assert(isfinite(first[0]), "output %d", i);
        cr_assert(memcmp(first, second, bytes) == 0, "output %d differs", i);
    }
}

static void same_bits(int threads, enum tensor_type type)
{
    struct backend *first = chain_backend(threads), *second = chain_backend(threads);
    struct chain a, b;
    chain_begin(&a, first, type);
    chain_begin(&b, second, type);
    chain_run(&a);
    chain_run(&b);
    chain_compare(&a, &b);
    chain_run(&b); /* and again in the same buffers */
    chain_compare(&a, &b);
    ops_end(&a.c);
    ops_end(&b.c);
    first->ops->free(first);
    second->ops->free(second);
}

Test(ops_backend, same_threads_same_bits)
{
    static const char *const levels[] = {"plain", "avx512", "avx512_bf16", "amx"};
    for (size_t i = 0; i < COUNT_OF(levels); i++)
        for (int threads = 1; threads <= 3; threads++) {
            setenv("IJEPAD_HOST_ISA", levels[i], 1); /* or the best of this machine */
            same_bits(threads, TENSOR_F32);
            same_bits(threads, TENSOR_BF16);
        }
}

/* More threads than rows: the idle ones must do no harm. */
Test(ops_backend, more_threads_than_work)
{
    struct backend *backend = chain_backend(7);
    struct ops_case c;
    ops_begin(&c, backend, 62);
    struct ops_buffer *x = ops_input(&c, TENSOR_F32, 3), *w = ops_input(&c, TENSOR_F32, 6);
    struct ops_buffer *y = ops_output(&c, TENSOR_F32, 2);
    struct op_linear_forward args = {.rows = 1,
                                     .in = 3,
                                     .out = 2,
                                     .x = ops_tensor(x),
                                     .weight = ops_tensor(w),
                                     .y = ops_tensor(y)};
    ops_run(&c, linear_forward, &args);
    double *got = ops_result(&c, y);
    for (int o = 0; o < 2; o++) {
        double want = 0;
        for (int i = 0; i < 3; i++)
            want += x->value[i] * w->value[o * 3 + i];
        cr_assert_float_eq(got[o], want, 1e-6);
    }
    ops_end(&c);
    backend->ops->free(backend);
}

/* After `reserve_scratch` no operation allocates: the next allocation would fail and say so. */
Test(ops_backend, nothing_allocates_after_reserve)
{
    struct backend *backend = chain_backend(2);
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(
        backend->ops->reserve_scratch(backend, CHAIN_ROWS, 3 * CHAIN_WIDTH, CHAIN_HEADS, &err),
        IJ_OK);
    struct chain k;
    chain_begin(&k, backend, TENSOR_F32);
    mem_fail_after(0);
    chain_run(&k);
    mem_fail_after(-1);
    ops_end(&k.c);
    backend->ops->free(backend);
}

Test(ops_backend, scratch_that_cannot_be_had_is_an_error)
{
    struct backend *backend = chain_backend(2);
    struct ij_err err = IJ_ERR_INIT;
    mem_fail_after(0);
    enum ij_status status = backend->ops->reserve_scratch(backend, 1000, 512, 8, &err);
    mem_fail_after(-1);
    cr_assert_eq(status, IJ_NO_MEMORY);
    cr_assert_eq(backend->ops->reserve_scratch(backend, 0, 512, 8, &err), IJ_INVALID);
    cr_assert_eq(backend->ops->reserve_scratch(backend, 1000, 512, 8, &err), IJ_OK);
    backend->ops->free(backend);
}

Test(ops_backend, creation_fails_cleanly)
{
    struct ij_err err = IJ_ERR_INIT;
    struct backend *backend = NULL;
    cr_assert_eq(backend_host_new(-1, &backend, &err), IJ_INVALID);
    cr_assert_eq(backend_host_new(1025, &backend, &err), IJ_INVALID);
    cr_assert_str_eq(err.field, "threads");
    mem_fail_after(0);
    cr_assert_eq(backend_host_new(2, &backend, &err), IJ_NO_MEMORY);
    mem_fail_after(-1);
    cr_assert_null(backend);
    cr_assert_eq(backend_host_new(1024, &backend, &err), IJ_OK);
    backend->ops->free(backend);
    cr_assert_eq(backend_host_new(0, &backend, &err), IJ_OK);
    cr_assert_geq(backend->threads, 1);
    backend->ops->free(backend);
}

Test(ops_backend, memory_is_aligned_and_cleared_on_request)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int b = 0; b < count; b++) {
        struct ij_err err = IJ_ERR_INIT;
        void *memory = NULL;
        char bytes[100];
        const struct ops *ops = list[b]->ops;
        memset(bytes, 1, sizeof(bytes));
        cr_assert_eq(ops->allocate(list[b], sizeof(bytes), &memory, &err), IJ_OK);
        cr_assert_eq((uintptr_t)memory % 64, 0);
        cr_assert_eq(ops->upload(list[b], memory, bytes, sizeof(bytes), &err), IJ_OK);
        cr_assert_eq(ops->clear(list[b], (char *)memory + 1, 98, &err), IJ_OK);
        cr_assert_eq(ops->download(list[b], bytes, memory, sizeof(bytes), &err), IJ_OK);
        cr_assert(bytes[0] == 1 && bytes[1] == 0 && bytes[98] == 0 && bytes[99] == 1);
        ops->release(list[b], memory);
        ops->release(list[b], NULL);
    }
    ops_backends_free(list, count);
}

Test(ops_backend, unsupported_types_are_answered_and_refused)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int b = 0; b < count; b++) {
        struct ij_err err = IJ_ERR_INIT;
        int32_t x[4] = {0};
        float y[4];
        const struct ops *ops = list[b]->ops;
        for (int op = 0; op < OP_COUNT; op++)
            cr_assert_not(ops->supports(list[b], (enum op_id)op, TENSOR_I32));
        cr_assert_not(ops->supports(list[b], OP_adamw_ema, TENSOR_BF16));
        struct op_gather_rows args = {
            .rows = 1, .width = 4, .x = {x, TENSOR_I32}, .index = x, .y = tensor_f32(y)};
        cr_assert_eq(ops->gather_rows(list[b], &args, &err), IJ_INVALID);
        cr_assert_str_eq(err.field, "x");
        args.x = (struct tensor){NULL, TENSOR_F32};
        cr_assert_eq(ops->gather_rows(list[b], &args, &err), IJ_INVALID);
    }
    ops_backends_free(list, count);
}
