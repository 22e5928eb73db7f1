/* Principal components on data whose axes are known. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/eval/pca.h"

enum { ROWS = 4000, WIDTH = 7 };

/* Independent normal values of deviation 5, 3, 2 along the axes 4, 1, 6 and 0.1 along the others,
 * round a mean that is not zero. */
static void fill(float *values)
{
    static const double deviation[WIDTH] = {0.1, 3, 0.1, 0.1, 5, 0.1, 2};
    struct rng rng;
    rng_init(&rng, 11, RNG_TEST, 0, 0);
    for (int i = 0; i < ROWS * WIDTH; i++)
        values[i] = (float)(10.0 * (i % WIDTH) + deviation[i % WIDTH] * rng_normal(&rng));
}

Test(pca, finds_the_axes_in_order_of_their_variance)
{
    static const int axes[PCA_COMPONENTS] = {4, 1, 6};
    static float values[ROWS * WIDTH];
    struct pca pca;
    struct ij_err err = IJ_ERR_INIT;
    fill(values);
    cr_assert_eq(pca_fit(values, ROWS, WIDTH, &pca, &err), IJ_OK, "%s", err.text);
    for (int k = 0; k < PCA_COMPONENTS; k++)
        for (int i = 0; i < WIDTH; i++)
            cr_assert_float_eq(pca.basis[k * WIDTH + i], i == axes[k] ? 1.0 : 0.0, 0.08, "%d %d", k,
                               i);
    double total = 25 + 9 + 4 + 4 * 0.01;
    cr_assert_float_eq(pca.share[0], 25 / total, 0.02);
    cr_assert_float_eq(pca.share[1], 9 / total, 0.02);
    cr_assert_float_eq(pca.share[2], 4 / total, 0.02);
    pca_done(&pca);
}

Test(pca, scores_are_centred_and_uncorrelated)
{
    static float values[ROWS * WIDTH], scores[ROWS * PCA_COMPONENTS];
    struct pca pca;
    struct ij_err err = IJ_ERR_INIT;
    double sum[3] = {0}, cross = 0;
    fill(values);
    cr_assert_eq(pca_fit(values, ROWS, WIDTH, &pca, &err), IJ_OK);
    pca_scores(&pca, values, ROWS, scores);
    for (int r = 0; r < ROWS; r++) {
        for (int k = 0; k < 3; k++)
            sum[k] += (double)scores[r * 3 + k] / ROWS;
        cross += (double)scores[r * 3] * (double)scores[r * 3 + 1] / ROWS;
    }
    for (int k = 0; k < 3; k++)
        cr_assert_float_eq(sum[k], 0, 1e-4);
    cr_assert_float_eq(cross, 0, 1e-3);
    pca_done(&pca);
}

/* Whatever order and signs the reference has, the aligned scores take them. */
Test(pca, alignment_undoes_order_and_signs)
{
    static float values[ROWS * WIDTH], scores[ROWS * 3], reference[ROWS * 3], again[ROWS * 3];
    static const int from[3] = {2, 0, 1};
    static const float sign[3] = {-1, 1, -1};
    struct pca pca;
    struct ij_err err = IJ_ERR_INIT;
    fill(values);
    cr_assert_eq(pca_fit(values, ROWS, WIDTH, &pca, &err), IJ_OK);
    pca_scores(&pca, values, ROWS, scores);
    for (int r = 0; r < ROWS; r++)
        for (int k = 0; k < 3; k++)
            reference[r * 3 + k] = 3 * sign[k] * scores[r * 3 + from[k]] + 7;
    pca_align(&pca, scores, reference, ROWS);
    pca_scores(&pca, values, ROWS, again); /* the basis was changed with the scores */
    for (int i = 0; i < ROWS * 3; i++) {
        cr_assert_float_eq(scores[i] * 3 + 7, reference[i], 1e-3);
        cr_assert_float_eq(scores[i], again[i], 1e-3);
    }
    pca_done(&pca);
}

Test(pca, constant_data_has_no_variance)
{
    float values[10 * WIDTH], scores[10 * 3];
    struct pca pca;
    struct ij_err err = IJ_ERR_INIT;
    for (int i = 0; i < 10 * WIDTH; i++)
        values[i] = 4;
    cr_assert_eq(pca_fit(values, 10, WIDTH, &pca, &err), IJ_OK);
    pca_scores(&pca, values, 10, scores);
    for (int k = 0; k < 3; k++)
        cr_assert_eq(pca.share[k], 0);
    for (int i = 0; i < 30; i++)
        cr_assert_eq(scores[i], 0);
    pca_done(&pca);
}
