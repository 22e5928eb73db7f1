/*
 * The transformer block: leaving out rows that are not needed changes nothing.
 *
 * Buffers are filled with NaN before use, so that a row that was never written shows.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/model/block.h"
#include "gpu/model/layout.h"
#include "tests/unit/spec_fixture.h"

#define SEQUENCES 3
#define LENGTH    7
#define TAIL      3
#define WIDTH     24
#define ROWS      (SEQUENCES * LENGTH)

static struct backend *backend;
static struct layout layout;
static struct vit_config config;
static float *parameter;

/* One pass over the first block with its own buffers. */
struct trial {
    struct block_saved saved;
    struct block_work work;
    struct block_arena arena;
    void *memory;
    float *x, *y, *gradient; /* (ROWS, WIDTH) */
};

static void fill(float *values, size_t count, uint64_t stream, double deviation)
{
    struct rng rng;
    rng_init(&rng, 1, RNG_TEST, 0, stream);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(deviation * rng_normal(&rng));
}

static void open_block(void)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 32, 8);
    spec.model.width = WIDTH;
    spec.model.depth = spec.model.pred_depth = 1;
    spec.model.heads = 3;
    spec.model.pred_width = WIDTH;
    config = vit_config_from_spec(&spec);
    cr_assert_eq(backend_host_new(1, &backend, NULL), IJ_OK);
    cr_assert_eq(layout_init(&layout, &config, NULL), IJ_OK);
    parameter = mem_array(float, (size_t)layout.floats);
    fill(parameter, (size_t)layout.floats, 0, 0.3);
}

static void close_block(void)
{
    mem_free(parameter);
    layout_done(&layout);
    backend->ops->free(backend);
}

TestSuite(block, .init = open_block, .fini = close_block);

static void carve_trial(struct trial *t, struct carve *carve, int64_t rows_out, enum block_use use)
{
    block_saved_carve(carve, &config.encoder, TENSOR_F32, ROWS, rows_out, use, &t->saved);
    block_work_carve(carve, &config.encoder, TENSOR_F32, ROWS, &t->work);
    t->x = carve_floats(carve, ROWS * WIDTH);
    t->y = carve_floats(carve, ROWS * WIDTH);
    t->gradient = carve_floats(carve, ROWS * WIDTH);
    t->arena.gradient = carve_floats(carve, layout.floats);
}

static struct trial open_trial(int64_t rows_out, enum block_use use)
{
    struct trial t = {.arena.parameter = parameter};
    struct carve carve = {.base = NULL};
    carve_trial(&t, &carve, rows_out, use);
    t.memory = mem_alloc_aligned(64, carve.peak);
    cr_assert(t.memory);
    memset(t.memory, 0xff, carve.peak); /* NaN */
    carve = (struct carve){.base = t.memory};
    carve_trial(&t, &carve, rows_out, use);
    t.arena.parameter = parameter;
    memset(t.arena.gradient, 0, (size_t)layout.floats * sizeof(float));
    fill(t.x, ROWS * WIDTH, 1, 1);
    return t;
}

static void forward(struct trial *t, const struct block_rows *rows)
{
    cr_assert_eq(block_forward(backend, &config.encoder, &layout.encoder_blocks[0], &t->arena, rows,
                               tensor_f32(t->x), &t->saved, tensor_f32(t->y), NULL),
                 IJ_OK);
}

static void backward(struct trial *t, const struct block_rows *rows)
{
    cr_assert_eq(block_backward(backend, &config.encoder, &layout.encoder_blocks[0], &t->arena,
                                rows, tensor_f32(t->x), &t->saved, &t->work,
                                tensor_f32(t->gradient), NULL),
                 IJ_OK);
}

static void expect_near(const char *what, const float *a, const float *b, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        cr_assert(fabs((double)(a[i] - b[i])) <= 2e-5 * (1 + fabs((double)b[i])), "%s %lld: %g, %g",
                  what, (long long)i, (double)a[i], (double)b[i]);
}

/* Only the tail leaves the block: same output, same gradient of x, same weight gradients as with
 * all rows and a zero gradient for the head. */
Test(block, tail_equals_all_rows)
{
    struct block_rows all = {.sequences = SEQUENCES, .length = LENGTH}, tail = all;
    tail.tail = TAIL;
    struct trial a = open_trial(ROWS, BLOCK_TRAIN);
    struct trial b = open_trial(SEQUENCES * TAIL, BLOCK_TRAIN_TAIL);
    forward(&a, &all);
    forward(&b, &tail);
    for (int s = 0; s < SEQUENCES; s++)
        expect_near("y", b.y + s * TAIL * WIDTH, a.y + (s * LENGTH + LENGTH - TAIL) * WIDTH,
                    TAIL * WIDTH);
    fill(b.gradient, SEQUENCES * TAIL * WIDTH, 2, 1);
    memset(a.gradient, 0, ROWS * WIDTH * sizeof(float));
    for (int s = 0; s < SEQUENCES; s++)
        memcpy(a.gradient + (s * LENGTH + LENGTH - TAIL) * WIDTH, b.gradient + s * TAIL * WIDTH,
               TAIL * WIDTH * sizeof(float));
    backward(&a, &all);
    backward(&b, &tail);
    expect_near("gradient of x", b.gradient, a.gradient, ROWS * WIDTH);
    expect_near("weight gradient", b.arena.gradient, a.arena.gradient, layout.encoder_floats);
    mem_free(a.memory);
    mem_free(b.memory);
}

Test(block, gathered_rows_equal_all_rows)
{
    static const int32_t wanted[] = {20, 0, 7, 8};
    struct block_rows all = {.sequences = SEQUENCES, .length = LENGTH}, some = all;
    some.gather = wanted;
    some.gather_count = COUNT_OF(wanted);
    struct trial a = open_trial(ROWS, BLOCK_TRAIN), b = open_trial(ROWS, BLOCK_FORWARD_ONLY);
    forward(&a, &all);
    forward(&b, &some);
    for (size_t i = 0; i < COUNT_OF(wanted); i++)
        expect_near("y", b.y + i * WIDTH, a.y + wanted[i] * WIDTH, WIDTH);
    mem_free(a.memory);
    mem_free(b.memory);
}

/* Scratch shared by blocks, output in place of the input: as the forward-only encoder runs it. */
Test(block, output_in_place_of_input)
{
    struct block_rows all = {.sequences = SEQUENCES, .length = LENGTH};
    struct trial a = open_trial(ROWS, BLOCK_TRAIN), b = open_trial(ROWS, BLOCK_FORWARD_ONLY);
    b.y = b.x;
    forward(&a, &all);
    forward(&b, &all);
    expect_near("y", b.x, a.y, ROWS * WIDTH);
    mem_free(a.memory);
    mem_free(b.memory);
}
