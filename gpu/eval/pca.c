/* See pca.h. */
#include "gpu/eval/pca.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"

#define ITERATIONS 60
#define SEED       20230713u

enum { K = PCA_COMPONENTS };

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Gram-Schmidt; a vector that vanishes stays zero. */
static void orthonormalize(double *basis, int64_t width)
{
    for (int k = 0; k < K; k++) {
        double *v = basis + k * width;
        for (int j = 0; j < k; j++) {
            double share = dot(v, basis + j * width, width);
            for (int64_t i = 0; i < width; i++)
                v[i] -= share * basis[j * width + i];
        }
        double norm = sqrt(dot(v, v, width));
        for (int64_t i = 0; i < width; i++)
            v[i] = norm > 1e-300 ? v[i] / norm : 0;
    }
}

/* next = X^T X basis for the centred rows X; ret_variance: sums of squared scores. */
static void iterate(const struct pca *p, const float *values, int64_t rows, double *next,
                    double *row, double ret_variance[K])
{
    memset(next, 0, (size_t)(K * p->width) * sizeof *next);
    memset(ret_variance, 0, K * sizeof *ret_variance);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t i = 0; i < p->width; i++)
            row[i] = (double)values[r * p->width + i] - p->mean[i];
        for (int k = 0; k < K; k++) {
            double score = dot(row, p->basis + k * p->width, p->width);
            ret_variance[k] += score * score;
            for (int64_t i = 0; i < p->width; i++)
                next[k * p->width + i] += score * row[i];
        }
    }
}

static void fix_signs(struct pca *p)
{
    for (int k = 0; k < K; k++) {
        double *v = p->basis + k * p->width, largest = 0;
        for (int64_t i = 0; i < p->width; i++)
            largest = fabs(v[i]) > fabs(largest) ? v[i] : largest;
        for (int64_t i = 0; i < p->width && largest < 0; i++)
            v[i] = -v[i];
    }
}

static double center(struct pca *p, const float *values, int64_t rows)
{
    double total = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < p->width; i++)
            p->mean[i] += (double)values[r * p->width + i];
    for (int64_t i = 0; i < p->width; i++)
        p->mean[i] /= (double)rows;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < p->width; i++) {
            double d = (double)values[r * p->width + i] - p->mean[i];
            total += d * d;
        }
    return total;
}

enum ij_status pca_fit(const float *values, int64_t rows, int64_t width, struct pca *ret_pca,
                       struct ij_err *reterr_err)
{
    struct pca p = {.width = width};
    struct rng rng;
    double variance[K];
    IJ_ASSERT(rows >= 2 && width >= K);
    p.mean = mem_array(double, (size_t)width);
    p.basis = mem_array(double, (size_t)(K * width));
    mem_auto double *next = mem_array(double, (size_t)(K * width));
    mem_auto double *row = mem_array(double, (size_t)width);
    if (!p.mean || !p.basis || !next || !row) {
        pca_done(&p);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for principal components");
    }
    double total = center(&p, values, rows);
    rng_init(&rng, SEED, RNG_PROBE, 0, 0);
    for (int64_t i = 0; i < K * width; i++)
        p.basis[i] = rng_normal(&rng);
    orthonormalize(p.basis, width);
    for (int i = 0; i <= ITERATIONS; i++) {
        iterate(&p, values, rows, next, row, variance);
        if (i < ITERATIONS) {
            memcpy(p.basis, next, (size_t)(K * width) * sizeof *next);
            orthonormalize(p.basis, width);
        }
    }
    for (int k = 0; k < K; k++)
        p.share[k] = total > 0 ? variance[k] / total : 0;
    fix_signs(&p);
    *ret_pca = p;
    return IJ_OK;
}

void pca_done(struct pca *pca)
{
    mem_free(pca->mean);
    mem_free(pca->basis);
    *pca = (struct pca){.width = 0};
}

void pca_scores(const struct pca *pca, const float *values, int64_t rows, float *ret_scores)
{
    for (int64_t r = 0; r < rows; r++)
        for (int k = 0; k < K; k++) {
            double score = 0;
            for (int64_t i = 0; i < pca->width; i++)
                score += ((double)values[r * pca->width + i] - pca->mean[i]) *
                         pca->basis[k * pca->width + i];
            ret_scores[r * K + k] = (float)score;
        }
}

static double correlation(const float *scores, int a, const float *reference, int b, int64_t rows)
{
    double mean_a = 0, mean_b = 0, ab = 0, aa = 0, bb = 0;
    for (int64_t r = 0; r < rows; r++) {
        mean_a += (double)scores[r * K + a] / (double)rows;
        mean_b += (double)reference[r * K + b] / (double)rows;
    }
    for (int64_t r = 0; r < rows; r++) {
        double x = (double)scores[r * K + a] - mean_a, y = (double)reference[r * K + b] - mean_b;
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* Component from[k] of the old ones becomes the k-th, times sign[k]. */
static void rearrange(struct pca *p, float *scores, int64_t rows, const int from[K],
                      const double sign[K])
{
    double share[K];
    for (int k = 0; k < K; k++)
        share[k] = p->share[from[k]];
    memcpy(p->share, share, sizeof share);
    for (int64_t i = 0; i < p->width; i++) {
        double old[K];
        for (int k = 0; k < K; k++)
            old[k] = p->basis[k * p->width + i];
        for (int k = 0; k < K; k++)
            p->basis[k * p->width + i] = sign[k] * old[from[k]];
    }
    for (int64_t r = 0; r < rows; r++) {
        float old[K];
        memcpy(old, scores + r * K, sizeof old);
        for (int k = 0; k < K; k++)
            scores[r * K + k] = (float)sign[k] * old[from[k]];
    }
}

void pca_align(struct pca *pca, float *scores, const float *reference, int64_t rows)
{
    static const int orders[6][K] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                     {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    double c[K][K], best = -1, sign[K];
    int chosen = 0;
    for (int a = 0; a < K; a++)
        for (int b = 0; b < K; b++)
            c[a][b] = correlation(scores, a, reference, b, rows);
    for (int o = 0; o < 6; o++) {
        double sum = 0;
        for (int k = 0; k < K; k++)
            sum += fabs(c[orders[o][k]][k]);
        if (sum > best) {
            best = sum;
            chosen = o;
        }
    }
    for (int k = 0; k < K; k++)
        sign[k] = c[orders[chosen][k]][k] < 0 ? -1 : 1;
    rearrange(pca, scores, rows, orders[chosen], sign);
}
