/*
 * Several linear classifiers trained at once on the same input; they differ in learning rate and
 * weight decay.
 *
 * A group sees (rows, width) features and holds `heads` heads. With batch_norm each head is
 * BatchNorm (affine, eps 1e-5, momentum 0.1) then Linear, else Linear alone; Linear starts as
 * torch.nn.Linear does: weight and bias uniform in +-1/sqrt(width). The batch statistics are the
 * same for all heads and are computed once; gamma and beta are folded into the weights, so that one
 * matrix product serves all heads forward and one backward.
 *
 * Loss: mean cross entropy. Weight decay on weight and bias, none on gamma and beta. Optimisers:
 *   SGD   with Nesterov momentum 0.9, as torch.optim.SGD
 *   LARS  (You et al., arXiv:1708.03888, as linear evaluations use it) g += decay p; of weight
 *         matrices g *= 0.001 |p| / |g|, where both norms are positive; m = 0.9 m + g; p -= rate m
 * One thread; deterministic.
 */
#ifndef GPU_EVAL_PROBE_GROUP_H
#define GPU_EVAL_PROBE_GROUP_H

#include <stddef.h>
#include <stdint.h>

#include "gpu/engine.h"
#include "gpu/ops/ops.h"

#define PROBE_GROUP_EPS         1e-5
#define PROBE_GROUP_BN_MOMENTUM 0.1
#define PROBE_GROUP_MOMENTUM    0.9f
#define PROBE_GROUP_TRUST       0.001 /* of LARS */

struct probe_group;

struct probe_group_options {
    int64_t width, classes, heads, rows_max;
    bool batch_norm;
    enum engine_probe_optimizer optimizer;
    const double *weight_decays; /* (heads), borrowed for the group's life */
    uint64_t seed, stream;       /* initial weights: RNG_PROBE, sample `stream` */
};

IJ_MUST_USE enum ij_status probe_group_new(struct backend *backend,
                                           const struct probe_group_options *options,
                                           struct probe_group **ret_group,
                                           struct ij_err *reterr_err);
void probe_group_free(struct probe_group *group); /* NULL is fine */

/* Device memory of a group; outputs: heads * classes. */
uint64_t probe_group_device_bytes(int64_t width, int64_t outputs, int64_t rows);

/* One update of every head. x (rows, width) host memory, 2 <= rows <= rows_max; labels in
 * 0..classes-1; learning_rates and ret_losses (may be NULL) hold one value per head. */
IJ_MUST_USE enum ij_status probe_group_step(struct probe_group *group, const float *x,
                                            const int32_t *labels, int64_t rows,
                                            const double *learning_rates, double *ret_losses,
                                            struct ij_err *reterr_err);

/* Classes by each head, with the running statistics: ret_classes (heads, rows). rows <=
 * rows_max. */
IJ_MUST_USE enum ij_status probe_group_predict(struct probe_group *group, const float *x,
                                               int64_t rows, int32_t *ret_classes,
                                               struct ij_err *reterr_err);

/* The state of a group, borrowed, for tests. Without batch norm the last four are NULL. */
struct probe_group_view {
    float *weight, *bias;                   /* (heads, classes, width), (heads, classes) */
    float *gamma, *beta;                    /* (heads, width) */
    float *running_mean, *running_variance; /* (width) */
};
struct probe_group_view probe_group_get(struct probe_group *group);

#endif
