/*
 * See lidar.h. S has the eigenvalues of L^-1 S_b L^-T with S_w + delta I = L L^T; those other than
 * 0 are the eigenvalues of M M^T and of M^T M, whichever is smaller, where a row of M is
 * L^-1 (mean of the image - mean of all) / sqrt(images).
 */
#include "gpu/eval/lidar.h"

#include <math.h>

#include "base/mem.h"
#include "gpu/eval/cholesky.h"
#include "gpu/eval/eigen.h"
#include "gpu/eval/vector.h"

/* Rows of `means` (images, width): each image's mean less the mean of all. */
static void class_means(const float *z, size_t images, size_t draws, size_t width, double *means,
                        double *all)
{
    for (size_t i = 0; i < images * draws; i++)
        for (size_t d = 0; d < width; d++)
            means[i / draws * width + d] += (double)z[i * width + d] / (double)draws;
    for (size_t i = 0; i < images; i++)
        for (size_t d = 0; d < width; d++)
            all[d] += means[i * width + d] / (double)images;
    for (size_t i = 0; i < images; i++)
        for (size_t d = 0; d < width; d++)
            means[i * width + d] -= all[d];
}

/* Lower triangle of S_w + delta I. */
static void within(const float *z, size_t images, size_t draws, size_t width, const double *means,
                   const double *all, double *row, double *covariance)
{
    double share = 1 / ((double)images * (double)draws);
    for (size_t r = 0; r < images * draws; r++) {
        for (size_t d = 0; d < width; d++)
            row[d] = (double)z[r * width + d] - all[d] - means[r / draws * width + d];
        for (size_t i = 0; i < width; i++)
            vector_add(covariance + i * width, row[i] * share, row, i + 1);
    }
    for (size_t i = 0; i < width; i++)
        covariance[i * width + i] += LIDAR_DELTA;
}

/* The smaller of rows rows^T and rows^T rows, / count. Returns its side. */
static size_t gram_of(const double *rows, size_t count, size_t width, double *gram)
{
    bool wide = count < width;
    size_t n = wide ? count : width;
    double share = 1 / (double)count;
    for (size_t i = 0; wide && i < n; i++)
        for (size_t j = 0; j <= i; j++)
            gram[i * n + j] = share * vector_dot(rows + i * width, rows + j * width, width);
    for (size_t k = 0; !wide && k < count; k++)
        for (size_t i = 0; i < n; i++)
            vector_add(gram + i * n, share * rows[k * width + i], rows + k * width, i + 1);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++)
            gram[j * n + i] = gram[i * n + j];
    return n;
}

/* exp of the entropy; eigenvalues that are not listed, and those lost in rounding, are 0. */
static double rank_of(const double *values, size_t count, size_t width)
{
    double sum = 0, entropy = 0;
    for (size_t i = 0; i < count; i++)
        sum += fmax(values[i], 0);
    if (sum <= 0)
        return 0;
    for (size_t i = 0; i < width; i++) {
        double p = (i < count ? fmax(values[i], 0) / sum : 0) + 1e-7;
        entropy -= p * log(p);
    }
    return exp(entropy);
}

enum ij_status lidar_compute(const float *z, size_t images, size_t draws, int64_t width,
                             double *ret_rank, struct ij_err *reterr_err)
{
    size_t columns = (size_t)width;
    if (images < 2 || draws < 2 || width < 1)
        return IJ_ERR(reterr_err, IJ_INVALID, "LiDAR needs two images under two masks each");
    mem_auto double *means = mem_alloc_zero(images * columns, sizeof(double));
    mem_auto double *all = mem_array(double, columns);
    mem_auto double *row = mem_array(double, columns);
    mem_auto double *covariance = mem_alloc_zero(columns * columns, sizeof(double));
    size_t side = images < columns ? images : columns;
    mem_auto double *gram = mem_alloc_zero(side * side, sizeof(double));
    mem_auto double *values = mem_array(double, side);
    if (!means || !all || !row || !covariance || !gram || !values)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for LiDAR of width %zu", columns);
    class_means(z, images, draws, columns, means, all);
    within(z, images, draws, columns, means, all, row, covariance);
    if (!cholesky_factor(covariance, columns)) /* delta on its diagonal: only NaN can cause it */
        return IJ_ERR(reterr_err, IJ_NONFINITE, "features for LiDAR are not finite");
    for (size_t i = 0; i < images; i++)
        cholesky_solve(covariance, columns, means + i * columns, false);
    side = gram_of(means, images, columns, gram);
    IJ_TRY(eigen_symmetric(gram, (int64_t)side, values, reterr_err));
    *ret_rank = rank_of(values, side, columns);
    return IJ_OK;
}
