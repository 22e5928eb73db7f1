/*
 * Multinomial logistic regression on fixed features, to its optimum.
 *
 *   f(W, b) = mean over images of -log softmax(W x + b)[label] + penalty / 2 * |W|^2
 *
 * The bias, where there is one, is not penalised. Minimised by L-BFGS (Nocedal and Wright,
 * Numerical Optimization, algorithm 7.4; ten corrections, Armijo backtracking) from zero; f is
 * convex, so the answer does not depend on the path. Products run on the backend in float32,
 * everything else in double. Deterministic.
 */
#ifndef GPU_EVAL_LOGISTIC_H
#define GPU_EVAL_LOGISTIC_H

#include <stddef.h>
#include <stdint.h>

#include "gpu/ops/ops.h"

struct logistic_options {
    int64_t width, classes;
    double penalty;
    bool intercept;
    uint32_t iterations; /* at most */
    double tolerance;    /* done when no entry of the gradient is larger */
    /* Asked between iterations; non-OK ends the fit with it. NULL: nobody. */
    enum ij_status (*tick)(void *user, struct ij_err *reterr_err);
    void *user;
};

struct logistic_fit {
    float *weight;              /* owned; (classes, width) */
    float *bias;                /* owned; (classes); zero without an intercept */
    double objective, gradient; /* f and the gradient's largest entry at the end */
    uint32_t iterations;
    bool converged; /* within tolerance, or as near as float32 products allow */
};

/* x (count, width), labels 0..classes-1, host memory. */
IJ_MUST_USE enum ij_status logistic_train(struct backend *backend,
                                          const struct logistic_options *options, const float *x,
                                          const int32_t *labels, size_t count,
                                          struct logistic_fit *ret_fit, struct ij_err *reterr_err);
void logistic_done(struct logistic_fit *fit); /* a zeroed struct is fine */

/* Device memory that training takes meanwhile. */
uint64_t logistic_device_bytes(int64_t width, int64_t classes);

/* The class with the largest logit of each row. */
IJ_MUST_USE enum ij_status logistic_predict(struct backend *backend, const struct logistic_fit *fit,
                                            int64_t width, int64_t classes, const float *x,
                                            size_t count, int32_t *ret_classes,
                                            struct ij_err *reterr_err);

#endif
