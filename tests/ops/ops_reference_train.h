/* Loss and optimiser in double precision, by their formulas. */
#ifndef TESTS_OPS_REFERENCE_TRAIN_H
#define TESTS_OPS_REFERENCE_TRAIN_H

#include "tests/ops/ops_harness.h"

struct reference_loss {
    int64_t rows, width;
    enum loss_kind kind;
    const double *prediction, *target;
};

static inline double reference_loss_value(const struct reference_loss *r)
{
    double sum = 0;
    for (int64_t i = 0; i < r->rows * r->width; i++) {
        double e = r->prediction[i] - r->target[i];
        sum += r->kind == LOSS_L2 ? e * e : fabs(e) < 1 ? 0.5 * e * e : fabs(e) - 0.5;
    }
    return sum / (double)(r->rows * r->width);
}

static inline void reference_loss_gradient(const struct reference_loss *r, double scale, double *d)
{
    for (int64_t i = 0; i < r->rows * r->width; i++) {
        double e = r->prediction[i] - r->target[i];
        double slope = r->kind == LOSS_L2 ? 2 * e : fabs(e) < 1 ? e : e > 0 ? 1 : -1;
        d[i] = slope * scale / (double)(r->rows * r->width);
    }
}

static inline double reference_loss_cosine(const struct reference_loss *r)
{
    double sum = 0;
    for (int64_t row = 0; row < r->rows; row++) {
        const double *p = r->prediction + row * r->width, *t = r->target + row * r->width;
        double pt = 0, pp = 0, tt = 0;
        for (int64_t i = 0; i < r->width; i++) {
            pt += p[i] * t[i];
            pp += p[i] * p[i];
            tt += t[i] * t[i];
        }
        sum += pt / sqrt(pp * tt);
    }
    return sum / (double)r->rows;
}

struct reference_adamw {
    double lr, weight_decay, beta1, beta2, eps, momentum, gradient_scale;
};

/* One element at step `step`. */
static inline void reference_adamw(const struct reference_adamw *r, int64_t step, bool decay,
                                   double gradient, double *p, double *m, double *v)
{
    double g = gradient * r->gradient_scale;
    if (decay)
        *p -= r->lr * r->weight_decay * *p;
    *m = r->beta1 * *m + (1 - r->beta1) * g;
    *v = r->beta2 * *v + (1 - r->beta2) * g * g;
    double mhat = *m / (1 - pow(r->beta1, (double)step));
    double vhat = *v / (1 - pow(r->beta2, (double)step));
    *p -= r->lr * mhat / (sqrt(vhat) + r->eps);
}

#endif
