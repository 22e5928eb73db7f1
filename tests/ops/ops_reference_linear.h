/* Linear layers in double precision, by the definition. `bf16`: stored values are rounded to it. */
#ifndef TESTS_OPS_REFERENCE_LINEAR_H
#define TESTS_OPS_REFERENCE_LINEAR_H

#include "tests/ops/ops_harness.h"

static inline double reference_gelu(double x)
{
    return 0.5 * x * erfc(-x * M_SQRT1_2);
}

static inline double reference_gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static inline double reference_gelu_tanh_slope(double x)
{
    double t = tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}

static inline double reference_gelu_slope(double x)
{
    return 0.5 * erfc(-x * M_SQRT1_2) + x * exp(-0.5 * x * x) / sqrt(2 * M_PI);
}

static inline double reference_activation(enum activation activation, double x)
{
    return activation == ACTIVATION_NONE        ? x
           : activation == ACTIVATION_GELU_TANH ? reference_gelu_tanh(x)
                                                : reference_gelu(x);
}

static inline double reference_slope(enum activation activation, double x)
{
    return activation == ACTIVATION_GELU_TANH ? reference_gelu_tanh_slope(x)
                                              : reference_gelu_slope(x);
}

struct reference_linear {
    int64_t rows, in, out;
    enum activation gelu;
    bool bf16;
    const double *x, *weight, *bias, *residual; /* bias, residual: or NULL */
};

/* pre (rows, out) and y (rows, out); either may be NULL. */
static inline void reference_linear(const struct reference_linear *r, double *pre, double *y)
{
    for (int64_t i = 0; i < r->rows; i++)
        for (int64_t o = 0; o < r->out; o++) {
            double sum = r->bias ? r->bias[o] : 0;
            for (int64_t k = 0; k < r->in; k++)
                sum += r->x[i * r->in + k] * r->weight[o * r->in + k];
            int64_t at = i * r->out + o;
            if (pre)
                pre[at] = r->bf16 ? ops_round_bf16(sum) : sum;
            double value = reference_activation(r->gelu, sum);
            if (r->residual)
                value += r->residual[at];
            if (y)
                y[at] = r->bf16 ? ops_round_bf16(value) : value;
        }
}

/* dx = dy weight [. gelu'(pre)] [+ old] */
static inline void reference_linear_input(int64_t rows, int64_t in, int64_t out, const double *dy,
                                          const double *weight, const double *pre,
                                          const double *old, enum activation gelu, bool bf16,
                                          double *dx)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < in; k++) {
            double sum = 0;
            for (int64_t o = 0; o < out; o++)
                sum += dy[i * out + o] * weight[o * in + k];
            int64_t at = i * in + k;
            sum = (pre ? sum * reference_slope(gelu, pre[at]) : sum) + (old ? old[at] : 0);
            dx[at] = bf16 ? ops_round_bf16(sum) : sum;
        }
}

/* dweight = dy^T x [+ old], dbias = column sums of dy [+ old]. */
static inline void reference_linear_weight(int64_t rows, int64_t in, int64_t out, const double *dy,
                                           const double *x, const double *old_weight,
                                           const double *old_bias, double *dweight, double *dbias)
{
    for (int64_t o = 0; o < out; o++) {
        dbias[o] = old_bias ? old_bias[o] : 0;
        for (int64_t i = 0; i < rows; i++)
            dbias[o] += dy[i * out + o];
        for (int64_t k = 0; k < in; k++) {
            double sum = old_weight ? old_weight[o * in + k] : 0;
            for (int64_t i = 0; i < rows; i++)
                sum += dy[i * out + o] * x[i * in + k];
            dweight[o * in + k] = sum;
        }
    }
}

#endif
