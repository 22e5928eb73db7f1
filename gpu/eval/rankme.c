/* See rankme.h. Singular values come from the smaller Gram matrix; squaring them costs the digits
 * below 1e-8 of the largest, which the 1e-7 in the definition hides. */
#include "gpu/eval/rankme.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/eval/eigen.h"
#include "gpu/eval/vector.h"

/* gram (n, n) = z z' for few rows, z' z for few columns. */
static void gram_of_rows(const float *z, size_t rows, size_t width, double *gram)
{
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j <= i; j++)
            gram[i * rows + j] = gram[j * rows + i] =
                vector_dot_float(z + i * width, z + j * width, width);
}

static void gram_of_columns(const float *z, size_t rows, size_t width, double *gram)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < width; i++)
            vector_add_float(gram + i * width, z[r * width + i], z + r * width, i + 1);
    for (size_t i = 0; i < width; i++)
        for (size_t j = 0; j < i; j++)
            gram[j * width + i] = gram[i * width + j];
}

/* Leaves the singular values, the roots, in place of their squares. */
static double entropy_rank(double *squares, size_t n)
{
    double sum = 0, entropy = 0;
    for (size_t i = 0; i < n; i++) {
        squares[i] = squares[i] > 0 ? sqrt(squares[i]) : 0;
        sum += squares[i];
    }
    if (sum == 0)
        return 0;
    for (size_t i = 0; i < n; i++) {
        double p = squares[i] / sum + 1e-7;
        entropy -= p * log(p);
    }
    return exp(entropy);
}

/* values: n singular values, descending. */
static struct rankme_spectrum spectrum_of(const double *values, size_t n)
{
    struct rankme_spectrum s = {0};
    for (size_t place = 1; place <= n && s.places < RANKME_PLACES_MAX; place *= 2) {
        double share = values[0] > 0 ? values[place - 1] / values[0] : 0;
        s.level[s.places++] = share > 0 ? fmax(RANKME_LEVEL_MIN, log10(share)) : RANKME_LEVEL_MIN;
    }
    return s;
}

enum ij_status rankme_compute(const float *z, size_t rows, int64_t width, double *ret_rank,
                              struct rankme_spectrum *ret_spectrum, struct ij_err *reterr_err)
{
    size_t columns = (size_t)width, n = rows < columns ? rows : columns;
    if (n == 0)
        return IJ_ERR(reterr_err, IJ_INVALID, "RankMe needs at least one feature");
    mem_auto double *gram = mem_alloc_zero(n * n, sizeof(double));
    mem_auto double *values = mem_array(double, n);
    if (!gram || !values)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for RankMe of width %zu", columns);
    if (rows < columns)
        gram_of_rows(z, rows, columns, gram);
    else
        gram_of_columns(z, rows, columns, gram);
    IJ_TRY(eigen_symmetric(gram, (int64_t)n, values, reterr_err));
    *ret_rank = entropy_rank(values, n);
    if (ret_spectrum)
        *ret_spectrum = spectrum_of(values, n); /* roots by now */
    return IJ_OK;
}

/* sum over i != j of u_i . u_j = |sum of u|^2 - sum of |u_i|^2 for unit rows u. */
double rankme_pair_cosine(const float *z, size_t rows, int64_t width)
{
    size_t columns = (size_t)width;
    mem_auto double *total = mem_array(double, columns);
    double own = 0, all = 0;
    if (rows < 2 || !total)
        return (double)NAN;
    for (size_t r = 0; r < rows; r++) {
        double square = 0;
        for (size_t d = 0; d < columns; d++)
            square += (double)z[r * columns + d] * z[r * columns + d];
        if (square == 0)
            continue;
        own += 1;
        for (size_t d = 0; d < columns; d++)
            total[d] += z[r * columns + d] / sqrt(square);
    }
    for (size_t d = 0; d < columns; d++)
        all += total[d] * total[d];
    return (all - own) / ((double)rows * (double)(rows - 1));
}

/* ---- Spread ---------------------------------------------------------------------------------- */

enum ij_status rankme_spread_init(struct rankme_spread *spread, int64_t width,
                                  struct ij_err *reterr_err)
{
    *spread = (struct rankme_spread){.width = width};
    spread->mean = mem_array(double, (size_t)width);
    spread->square = mem_array(double, (size_t)width);
    spread->sorted = mem_array(double, (size_t)width);
    if (spread->mean && spread->square && spread->sorted)
        return IJ_OK;
    rankme_spread_done(spread);
    return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %lld dimensions", (long long)width);
}

void rankme_spread_done(struct rankme_spread *spread)
{
    mem_free(spread->mean);
    mem_free(spread->square);
    mem_free(spread->sorted);
    *spread = (struct rankme_spread){.width = 0};
}

void rankme_spread_clear(struct rankme_spread *spread)
{
    spread->count = 0;
    memset(spread->mean, 0, (size_t)spread->width * sizeof(double));
    memset(spread->square, 0, (size_t)spread->width * sizeof(double));
}

/* Shift and scale that a layer norm without weights gives this row. */
static void row_norm(const float *x, int64_t width, double eps, double *ret_mean, double *ret_scale)
{
    double mean = 0, square = 0;
    for (int64_t d = 0; d < width; d++)
        mean += x[d];
    mean /= (double)width;
    for (int64_t d = 0; d < width; d++)
        square += (x[d] - mean) * (x[d] - mean);
    *ret_mean = mean;
    *ret_scale = 1 / sqrt(square / (double)width + eps);
}

void rankme_spread_add(struct rankme_spread *spread, const float *rows, size_t count, double eps)
{
    for (size_t r = 0; r < count; r++) {
        const float *x = rows + r * (size_t)spread->width;
        double mean = 0, scale = 1;
        if (eps >= 0)
            row_norm(x, spread->width, eps, &mean, &scale);
        double share = 1 / (double)++spread->count;
        for (int64_t d = 0; d < spread->width; d++) {
            double value = (x[d] - mean) * scale, delta = value - spread->mean[d];
            spread->mean[d] += delta * share;
            spread->square[d] += delta * (value - spread->mean[d]);
        }
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Linear between the two nearest of the sorted values. */
static double percentile(const double *sorted, int64_t count, double share)
{
    double place = share * (double)(count - 1);
    int64_t below = (int64_t)place, above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (place - (double)below) * (sorted[above] - sorted[below]);
}

struct rankme_spread_summary rankme_spread_summary(const struct rankme_spread *spread)
{
    struct rankme_spread_summary s = {0};
    double *sorted = spread->sorted, dead = 0;
    for (int64_t d = 0; d < spread->width; d++) {
        sorted[d] = sqrt(spread->square[d] / (double)spread->count);
        s.mean += sorted[d] / (double)spread->width;
    }
    qsort(sorted, (size_t)spread->width, sizeof *sorted, compare_doubles);
    double median = percentile(sorted, spread->width, 0.5);
    for (int64_t d = 0; d < spread->width; d++)
        dead += sorted[d] < 0.01 * median;
    s.p5 = percentile(sorted, spread->width, 0.05);
    s.least = sorted[0];
    s.dead = dead / (double)spread->width;
    return s;
}

double rankme_spread_squares(const struct rankme_spread *spread)
{
    double sum = 0;
    for (int64_t d = 0; d < spread->width; d++)
        sum += spread->square[d];
    return sum;
}
