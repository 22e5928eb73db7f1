/* Layer norm in double precision, by the definition and its derivative. */
#ifndef TESTS_OPS_REFERENCE_NORM_H
#define TESTS_OPS_REFERENCE_NORM_H

#include "tests/ops/ops_harness.h"

struct reference_norm {
    int64_t rows, width;
    double eps;
    bool bf16;
    const double *x, *gamma, *beta; /* gamma, beta: or NULL */
};

static inline void reference_norm_statistics(const struct reference_norm *r, int64_t row,
                                             double *ret_mean, double *ret_rstd)
{
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < r->width; i++)
        mean += r->x[row * r->width + i] / (double)r->width;
    for (int64_t i = 0; i < r->width; i++)
        variance += pow(r->x[row * r->width + i] - mean, 2) / (double)r->width;
    *ret_mean = mean;
    *ret_rstd = 1 / sqrt(variance + r->eps);
}

/* mean, rstd (rows), or NULL. */
static inline void reference_norm_forward(const struct reference_norm *r, double *y, double *mean,
                                          double *rstd)
{
    for (int64_t row = 0; row < r->rows; row++) {
        double m, s;
        reference_norm_statistics(r, row, &m, &s);
        for (int64_t i = 0; i < r->width; i++) {
            double value = (r->x[row * r->width + i] - m) * s;
            value = r->gamma ? value * r->gamma[i] + r->beta[i] : value;
            y[row * r->width + i] = r->bf16 ? ops_round_bf16(value) : value;
        }
        if (mean)
            mean[row] = m, rstd[row] = s;
    }
}

/* dx [+ residual]; dgamma and dbeta are added to (NULL: not wanted). */
static inline void reference_norm_backward(const struct reference_norm *r, const double *dy,
                                           const double *residual, double *dx, double *dgamma,
                                           double *dbeta)
{
    for (int64_t row = 0; row < r->rows; row++) {
        double m, s, sum = 0, product = 0;
        reference_norm_statistics(r, row, &m, &s);
        for (int64_t i = 0; i < r->width; i++) {
            int64_t at = row * r->width + i;
            double xhat = (r->x[at] - m) * s, g = dy[at] * (r->gamma ? r->gamma[i] : 1);
            sum += g / (double)r->width;
            product += g * xhat / (double)r->width;
            if (dgamma)
                dgamma[i] += dy[at] * xhat, dbeta[i] += dy[at];
        }
        for (int64_t i = 0; i < r->width; i++) {
            int64_t at = row * r->width + i;
            double xhat = (r->x[at] - m) * s, g = dy[at] * (r->gamma ? r->gamma[i] : 1);
            double value = s * (g - sum - xhat * product) + (residual ? residual[at] : 0);
            dx[at] = r->bf16 ? ops_round_bf16(value) : value;
        }
    }
}

#endif
