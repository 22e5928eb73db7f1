/* Eigenvalues, RankMe, pair cosine and spread against known values and against NumPy's. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/eval/eigen.h"
#include "gpu/eval/rankme.h"

static void expect_eigenvalues(double *a, int64_t n, const double *expected)
{
    double *got = mem_array(double, (size_t)n);
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(eigen_symmetric(a, n, got, &err), IJ_OK, "%s", err.text);
    double scale = fmax(fabs(expected[0]), fabs(expected[n - 1]));
    for (int64_t i = 0; i < n; i++)
        cr_assert_float_eq(got[i], expected[i], 1e-12 * scale + 1e-300, "value %d: %.17g not %.17g",
                           (int)i, got[i], expected[i]);
    mem_free(got);
}

Test(eigen, small_matrices)
{
    double one[] = {-3}, one_values[] = {-3};
    expect_eigenvalues(one, 1, one_values);
    double two[] = {2, 1, 1, 2}, two_values[] = {3, 1};
    expect_eigenvalues(two, 2, two_values);
    double zero[9] = {0}, zero_values[3] = {0};
    expect_eigenvalues(zero, 3, zero_values);
    double diagonal[] = {1, 0, 0, 0, 5, 0, 0, 0, -2}, diagonal_values[] = {5, 1, -2};
    expect_eigenvalues(diagonal, 3, diagonal_values);
    /* Characteristic polynomial (1 - x)(x^2 - 8 x + 13): 4 + sqrt(3), 4 - sqrt(3), 1. */
    double three[] = {4, 1, -2, 1, 2, 0, -2, 0, 3};
    double three_values[] = {4 + sqrt(3), 4 - sqrt(3), 1};
    expect_eigenvalues(three, 3, three_values);
}

/* The path graph's second-difference matrix has eigenvalues 2 - 2 cos(k pi / (n + 1)). */
Test(eigen, second_difference)
{
    enum { N = 257 };
    double *a = mem_array(double, N *N), expected[N];
    for (int i = 0; i < N; i++) {
        a[i * N + i] = 2;
        if (i > 0)
            a[i * N + i - 1] = a[(i - 1) * N + i] = -1;
        expected[i] = 2 - 2 * cos((N - i) * M_PI / (N + 1));
    }
    expect_eigenvalues(a, N, expected);
    mem_free(a);
}

/* Q diag(values) Q' with a random orthogonal Q, made of reflections. */
static void hide_spectrum(double *a, int n, const double *values)
{
    struct rng rng;
    double *v = mem_array(double, (size_t)n);
    rng_init(&rng, 1, RNG_TEST, 0, (uint64_t)n);
    memset(a, 0, sizeof *a * (size_t)(n * n));
    for (int i = 0; i < n; i++)
        a[i * n + i] = values[i];
    for (int round = 0; round < n; round++) {
        double square = 0;
        for (int i = 0; i < n; i++) {
            v[i] = rng_normal(&rng);
            square += v[i] * v[i];
        }
        for (int side = 0; side < 2; side++)
            for (int i = 0; i < n; i++) {
                double dot = 0;
                for (int j = 0; j < n; j++)
                    dot += (side ? a[j * n + i] : a[i * n + j]) * v[j];
                for (int j = 0; j < n; j++)
                    *(side ? &a[j * n + i] : &a[i * n + j]) -= 2 * dot / square * v[j];
            }
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            a[i * n + j] = a[j * n + i] = (a[i * n + j] + a[j * n + i]) / 2;
    mem_free(v);
}

Test(eigen, hidden_spectra_with_repeated_and_tiny_values)
{
    enum { N = 65 };
    double *a = mem_array(double, N *N), values[N];
    for (int i = 0; i < N; i++)
        values[i] = i < 3 ? 1e6 : i < 40 ? 7 : i < 60 ? 1e-9 : -2;
    hide_spectrum(a, N, values);
    double got[N];
    cr_assert_eq(eigen_symmetric(a, N, got, NULL), IJ_OK);
    for (int i = 0; i < N; i++)
        cr_assert_float_eq(got[i], values[i], 1e6 * 1e-13, "value %d: %.17g", i, got[i]);
    mem_free(a);
}

/* 200 vectors in 8 dimensions: 192 eigenvalues are rounding errors. */
Test(eigen, a_matrix_far_from_full_rank)
{
    enum { N = 200, RANK = 8 };
    double *x = mem_array(double, N *RANK), *a = mem_array(double, N *N), got[N], trace = 0;
    struct rng rng;
    rng_init(&rng, 2, RNG_TEST, 0, 0);
    for (int i = 0; i < N * RANK; i++)
        x[i] = rng_normal(&rng) * (1 + i % RANK * 100);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            for (int k = 0; k < RANK; k++)
                a[i * N + j] += x[i * RANK + k] * x[j * RANK + k];
    for (int i = 0; i < N; i++)
        trace += a[i * N + i];
    cr_assert_eq(eigen_symmetric(a, N, got, NULL), IJ_OK);
    double sum = 0;
    for (int i = 0; i < N; i++)
        sum += i < RANK ? got[i] : 0;
    cr_assert_float_eq(sum, trace, 1e-12 * trace);
    cr_assert_float_eq(got[RANK], 0, 1e-12 * trace);
    mem_free(x);
    mem_free(a);
}

Test(eigen, refuses_what_is_not_finite)
{
    double a[] = {1, NAN, NAN, 1}, b[] = {1, 2, INFINITY, 2, 3, 4, INFINITY, 4, 5}, got[3];
    cr_assert_eq(eigen_symmetric(a, 2, got, NULL), IJ_NONFINITE);
    cr_assert_eq(eigen_symmetric(b, 3, got, NULL), IJ_NONFINITE);
}

static double rank_of(const float *z, size_t rows, int64_t width)
{
    double rank = -1;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(rankme_compute(z, rows, width, &rank, NULL, &err), IJ_OK, "%s", err.text);
    return rank;
}

Test(rankme, known_spectra)
{
    float zero[6] = {0}, line[] = {1, 2, 2, 4, -3, -6}, both[] = {2, 0, 0, -2, 0, 0};
    cr_assert_eq(rank_of(zero, 3, 2), 0);
    cr_assert_float_eq(rank_of(line, 3, 2), 1, 1e-4);
    cr_assert_float_eq(rank_of(both, 3, 2), 2, 1e-5);
    /* Singular values 3 and 1: p = 3/4 and 1/4, exp of entropy 0.5623351446. */
    float uneven[] = {3, 0, 0, 1}, wide[] = {3, 0, 0, 0, 0, 1, 0, 0};
    cr_assert_float_eq(rank_of(uneven, 2, 2), exp(0.56233514461880829), 1e-6);
    cr_assert_float_eq(rank_of(wide, 2, 4), rank_of(uneven, 2, 2), 1e-12);
}

/* Singular values 100, 10, 10, 1 and 0, of which places 1, 2 and 4 are told. */
Test(rankme, the_spectrum_by_doubling_places)
{
    float z[6 * 5] = {0}, zero[4] = {0};
    static const float diagonal[] = {10, 100, 1, 0, 10};
    struct rankme_spectrum s;
    double rank;
    for (int i = 0; i < 5; i++)
        z[i * 5 + i] = diagonal[i];
    cr_assert_eq(rankme_compute(z, 6, 5, &rank, &s, NULL), IJ_OK);
    cr_assert_eq(s.places, 3);
    cr_assert_float_eq(s.level[0], 0, 1e-12);
    cr_assert_float_eq(s.level[1], -1, 1e-9);
    cr_assert_float_eq(s.level[2], -2, 1e-9);
    cr_assert_eq(rankme_compute(z, 6, 4, &rank, &s, NULL), IJ_OK);
    cr_assert_eq(s.places, 3, "6 rows of 4 read from the same numbers");
    cr_assert_eq(rankme_compute(zero, 2, 2, &rank, &s, NULL), IJ_OK);
    cr_assert(s.places == 2 && s.level[0] == RANKME_LEVEL_MIN && s.level[1] == RANKME_LEVEL_MIN);
}

/* numpy: z = sin(0.7 i + 0.1 i^2) for i = 0..59, (12, 5) and (5, 12):
 * s = svd(z); p = s / s.sum() + 1e-7; exp(-(p * log(p)).sum()) */
Test(rankme, agrees_with_numpy)
{
    float z[60];
    for (int i = 0; i < 60; i++)
        z[i] = (float)sin(0.7 * i + 0.1 * i * i);
    cr_assert_float_eq(rank_of(z, 12, 5), 4.7774838133023145, 1e-5);
    cr_assert_float_eq(rank_of(z, 5, 12), 4.821972929708438, 1e-5);
}

Test(rankme, pair_cosine)
{
    float same[] = {1, 2, 2, 4, 10, 20}, opposite[] = {1, 0, -5, 0}, square[] = {1, 0, 0, 3};
    float mixed[] = {1, 0, 1, 1, 0, 0};
    cr_assert_float_eq(rankme_pair_cosine(same, 3, 2), 1, 1e-12);
    cr_assert_float_eq(rankme_pair_cosine(opposite, 2, 2), -1, 1e-12);
    cr_assert_float_eq(rankme_pair_cosine(square, 2, 2), 0, 1e-12);
    cr_assert_float_eq(rankme_pair_cosine(mixed, 3, 2), 1 / sqrt(2) / 3, 1e-7);
    cr_assert(isnan(rankme_pair_cosine(same, 1, 2)));
}

Test(rankme, spread_is_the_standard_deviation)
{
    struct rankme_spread spread;
    const float rows[] = {1, 10, 3, 10, 5, 10, 7, 13}; /* std sqrt(5), 1.299038106 */
    cr_assert_eq(rankme_spread_init(&spread, 2, NULL), IJ_OK);
    rankme_spread_add(&spread, rows, 1, -1);
    rankme_spread_add(&spread, rows + 2, 3, -1);
    struct rankme_spread_summary s = rankme_spread_summary(&spread);
    cr_assert_float_eq(s.least, 1.299038105676658, 1e-12);
    cr_assert_float_eq(s.mean, (1.299038105676658 + sqrt(5)) / 2, 1e-12);
    cr_assert_float_eq(s.p5, 1.299038105676658 + 0.05 * (sqrt(5) - 1.299038105676658), 1e-12);
    cr_assert_float_eq(rankme_spread_squares(&spread), 20 + 6.75, 1e-12);
    rankme_spread_clear(&spread);
    rankme_spread_add(&spread, rows, 4, 0); /* each row becomes (-1, 1) */
    s = rankme_spread_summary(&spread);
    cr_assert_float_eq(s.mean, 0, 1e-12);
    rankme_spread_done(&spread);
}

Test(rankme, dead_dimensions_are_far_below_the_median)
{
    struct rankme_spread spread;
    const float rows[] = {0, 0, 0, 0, 1, 1, 0.011f, 0.009f};
    cr_assert_eq(rankme_spread_init(&spread, 4, NULL), IJ_OK);
    rankme_spread_add(&spread, rows, 2, -1);
    cr_assert_float_eq(rankme_spread_summary(&spread).dead, 0, 1e-12);
    rankme_spread_clear(&spread);
    const float more[] = {0, 0, 0, 0, 1, 1, 1, 0.009f};
    rankme_spread_add(&spread, more, 2, -1);
    cr_assert_float_eq(rankme_spread_summary(&spread).dead, 0.25, 1e-12);
    rankme_spread_done(&spread);
}
