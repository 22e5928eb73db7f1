/* The attention that tokens receive, against the backend's own attention: with it as weights, the
 * values' mean is the mean of what attention gives. */
#include <criterion/criterion.h>
#include <math.h>

#include "base/rng.h"
#include "gpu/model/attention_received.h"

#define LENGTH 10
#define HEADS  3
#define DIM    8

static float qkv[LENGTH * 3 * HEADS * DIM], out[LENGTH * HEADS * DIM], received[HEADS * LENGTH];

static struct tensor fill(float scale)
{
    struct rng rng;
    rng_init(&rng, 7, RNG_TEST, 0, 0);
    for (size_t i = 0; i < sizeof qkv / sizeof *qkv; i++)
        qkv[i] = scale * (float)(2 * rng_uniform(&rng) - 1);
    return (struct tensor){qkv, TENSOR_F32};
}

Test(attention_received, weighs_the_values_as_attention_does)
{
    struct backend *backend;
    struct tensor given = fill(3);
    cr_assert_eq(backend_host_new(1, &backend, NULL), IJ_OK);
    cr_assert_eq(backend->ops->reserve_scratch(backend, LENGTH, 3 * HEADS * DIM, HEADS, NULL),
                 IJ_OK);
    const struct op_attention_forward op = {.sequences = 1,
                                            .length = LENGTH,
                                            .heads = HEADS,
                                            .head_dim = DIM,
                                            .qkv = given,
                                            .out = {out, TENSOR_F32}};
    cr_assert_eq(backend->ops->attention_forward(backend, &op, NULL), IJ_OK);
    cr_assert_eq(attention_received(given, LENGTH, HEADS, DIM, received, NULL), IJ_OK);
    for (int h = 0; h < HEADS; h++)
        for (int d = 0; d < DIM; d++) {
            double mean = 0, weighed = 0;
            for (int t = 0; t < LENGTH; t++) {
                mean += (double)out[(t * HEADS + h) * DIM + d] / LENGTH;
                weighed += (double)received[h * LENGTH + t] *
                           (double)qkv[((t * 3 + 2) * HEADS + h) * DIM + d];
            }
            cr_assert_float_eq(weighed, mean, 1e-5, "head %d, %d: %g, %g", h, d, weighed, mean);
        }
    backend->ops->free(backend);
}

Test(attention_received, is_even_where_nothing_differs)
{
    cr_assert_eq(attention_received(fill(0), LENGTH, HEADS, DIM, received, NULL), IJ_OK);
    for (int i = 0; i < HEADS * LENGTH; i++)
        cr_expect_float_eq(received[i], 1.0 / LENGTH, 1e-7);
}

/* One key that every query points to gets all of it; bfloat16 keeps such numbers. */
Test(attention_received, goes_to_the_key_that_all_look_for)
{
    static uint16_t half[sizeof qkv / sizeof *qkv];
    for (int t = 0; t < LENGTH; t++)
        for (int h = 0; h < HEADS; h++) {
            half[((t * 3 + 0) * HEADS + h) * DIM] = 0x4200;                  /* queries: 32 */
            half[((t * 3 + 1) * HEADS + h) * DIM] = t == 4 ? 0x4200 : 0x0000; /* keys */
        }
    struct tensor given = {half, TENSOR_BF16};
    cr_assert_eq(attention_received(given, LENGTH, HEADS, DIM, received, NULL), IJ_OK);
    for (int h = 0; h < HEADS; h++)
        for (int t = 0; t < LENGTH; t++)
            cr_expect_float_eq(received[h * LENGTH + t], t == 4 ? 1 : 0, 1e-6);
}
