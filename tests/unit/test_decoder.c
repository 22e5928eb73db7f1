/* The light decoder, and the linear systems under it. */
#include <criterion/criterion.h>
#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/eval/cholesky.h"
#include "gpu/eval/decoder.h"

enum { ROWS = 200, WIDTH = 7, VALUES = 3 };
static float x[ROWS * WIDTH], y[ROWS * VALUES];

/* y = A x + b + noise, x with a mean far from 0. */
static void make(double noise)
{
    struct rng rng;
    rng_init(&rng, 9, RNG_TEST, 0, 0);
    for (int i = 0; i < ROWS * WIDTH; i++)
        x[i] = (float)(3 + rng_normal(&rng));
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < VALUES; v++) {
            double sum = 0.5 * v + noise * rng_normal(&rng);
            for (int i = 0; i < WIDTH; i++)
                sum += sin(1.0 + v * WIDTH + i) * (double)x[r * WIDTH + i];
            y[r * VALUES + v] = (float)sum;
        }
}

static struct decoder fit(size_t rows)
{
    struct decoder d = {0};
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(decoder_fit(x, y, rows, WIDTH, VALUES, &d, &err), IJ_OK, "%s", err.text);
    return d;
}

Test(decoder, finds_a_linear_map)
{
    float out[VALUES];
    make(0);
    struct decoder d = fit(ROWS);
    cr_expect_gt(d.fit, 0.999999);
    cr_expect_float_eq(d.lambda, 1e-5, 1e-12, "no noise: the least damping");
    for (int v = 0; v < VALUES; v++)
        for (int i = 0; i < WIDTH; i++)
            cr_expect_float_eq(d.weight[v * WIDTH + i], sin(1.0 + v * WIDTH + i), 1e-4);
    decoder_apply(&d, x + 5 * WIDTH, out);
    for (int v = 0; v < VALUES; v++)
        cr_expect_float_eq(out[v], y[5 * VALUES + v], 1e-3);
    decoder_done(&d);
}

/* What cannot be predicted is damped, and told as not explained. */
Test(decoder, noise_is_not_explained)
{
    struct rng rng;
    make(0);
    rng_init(&rng, 10, RNG_TEST, 0, 0);
    for (int i = 0; i < ROWS * VALUES; i++)
        y[i] = (float)rng_normal(&rng);
    struct decoder d = fit(ROWS);
    cr_expect_lt(d.fit, 0.1);
    cr_expect_gt(d.lambda, 0.05);
    decoder_done(&d);
}

Test(decoder, refuses_too_few_rows_and_features_that_do_not_vary)
{
    struct decoder d = {0};
    struct ij_err err = IJ_ERR_INIT;
    make(0.1);
    cr_assert_eq(decoder_fit(x, y, 19, WIDTH, VALUES, &d, &err), IJ_INVALID);
    d = fit(20);
    decoder_done(&d);
    for (int i = 0; i < ROWS * WIDTH; i++)
        x[i] = 2;
    cr_assert_eq(decoder_fit(x, y, ROWS, WIDTH, VALUES, &d, &err), IJ_DATA);
    cr_expect(d.weight == NULL);
}

/* L = [2 0 0; 1 3 0; -1 2 1], A = L L^T. */
Test(cholesky, known_factor_and_solution)
{
    double a[9] = {4, 0, 0, 2, 10, 0, -2, 5, 6}, b[3] = {0, 17, 9}, half[3] = {2, 7, 2};
    const double factor[9] = {2, 0, 0, 1, 3, 0, -1, 2, 1};
    cr_assert(cholesky_factor(a, 3));
    for (int i = 0; i < 9; i++)
        cr_expect_float_eq(a[i], factor[i], 1e-14);
    cholesky_solve(a, 3, b, true);
    double back[3] = {4 * b[0] + 2 * b[1] - 2 * b[2], 2 * b[0] + 10 * b[1] + 5 * b[2],
                      -2 * b[0] + 5 * b[1] + 6 * b[2]};
    cr_expect_float_eq(back[0], 0, 1e-12);
    cr_expect_float_eq(back[1], 17, 1e-12);
    cr_expect_float_eq(back[2], 9, 1e-12);
    cholesky_solve(a, 3, half, false); /* L (1, 2, -1) = (2, 7, 2) */
    cr_expect_float_eq(half[0], 1, 1e-14);
    cr_expect_float_eq(half[1], 2, 1e-14);
    cr_expect_float_eq(half[2], -1, 1e-14);
}

Test(cholesky, refuses_what_is_not_positive)
{
    double singular[4] = {1, 0, 1, 1}, wrong[4] = {1, 0, 2, 1}, nan[1] = {NAN};
    cr_expect_not(cholesky_factor(singular, 2));
    cr_expect_not(cholesky_factor(wrong, 2));
    cr_expect_not(cholesky_factor(nan, 1));
}
