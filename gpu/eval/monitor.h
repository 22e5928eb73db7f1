/*
 * Watches representation quality during pretraining on a small set of images fixed at start.
 *
 * Half of `monitor.eval_images` are drawn from the training split, half from the held-out one, both
 * keyed by (seed, RNG_SUBSET): the same images at every check and after every resume. Their pixels
 * (evaluation crop) are decoded once and kept. A check runs the target encoder over them and emits
 * one frame on the metrics stream "ssl":
 *
 *   ssl/rankme          exp of the entropy of the normalised singular values (+1e-7) of the pooled
 *                       features, both halves (RankMe, Garrido et al., ICML 2023); 1..width
 *   ssl/target_std      per-dimension standard deviation of the targets (layer-normed tokens) over
 *   ssl/target_std_min  images x patches: mean and smallest of the dimensions
 *   ssl/pair_cos        mean cosine between the pooled features of two different images
 *   probe/knn_top1      share of held-out images whose label a cosine k-NN vote (k 20, T 0.07) over
 *                       the training half gives; only where the data has labels
 *
 * A check changes nothing that training can see. One thread.
 */
#ifndef GPU_EVAL_MONITOR_H
#define GPU_EVAL_MONITOR_H

#include "gpu/engine.h"
#include "gpu/model/vit_config.h"

struct monitor;

struct monitor_result {
    double rankme, target_std, target_std_min, pair_cos;
    double knn_top1; /* NaN without labels */
    uint32_t images_train, images_eval;
};

/* Borrows the backend; opens the datasets, decodes the images and allocates everything that a check
 * needs. Where there are fewer images than wanted, all are used. */
IJ_MUST_USE enum ij_status monitor_new(struct backend *backend, const struct vit_config *config,
                                       const struct engine_spec *spec, struct monitor **ret_monitor,
                                       struct ij_err *reterr_err);
void monitor_free(struct monitor *monitor); /* NULL is fine */

/* Checks the target encoder whose weights are given (device memory, layout of gpu/model/layout.h;
 * the bfloat16 copy is NULL in float32), emits the frame of `step` and fills ret_result (may be
 * NULL). The sink may be NULL. */
IJ_MUST_USE enum ij_status monitor_check(struct monitor *monitor, const float *target_parameter,
                                         const uint16_t *target_parameter_bf16, uint64_t step,
                                         const struct engine_sink *sink,
                                         struct monitor_result *ret_result,
                                         struct ij_err *reterr_err);

#endif
