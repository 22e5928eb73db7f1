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
 *   ssl/lidar           rank of what tells images apart under several masks (lidar.h)
 *   ssl/explained       share of the targets' variance that is predicted (masked_view.h)
 *   ssl/target_std      per-dimension standard deviation of the targets (layer-normed tokens) over
 *   ssl/target_std_p5   images x patches: mean, 5th percentile and smallest of the dimensions
 *   ssl/target_std_min
 *   ssl/dead_dims       share of those below a hundredth of the median
 *   ssl/ctx_std, _p5, _min, ssl/pred_std, _p5, _min   the same of context tokens and predictions
 *   ssl/pair_cos        mean cosine between the pooled features of two different images
 *   ssl/ema_gap         |encoder - target encoder| / |encoder|
 *   ssl/spectrum_1, _2, _4, ...   log10 of the singular value at that place over the largest, of
 *                       the features that RankMe is made of
 *   probe/knn_top1      share of held-out images whose label a cosine k-NN vote (k 20, T 0.07) over
 *                       the training half gives; only where the data has labels
 *
 * What needs masks looks at the first images of the held-out half (masked_view.h). A check changes
 * nothing that training can see. One thread.
 */
#ifndef GPU_EVAL_MONITOR_H
#define GPU_EVAL_MONITOR_H

#include "gpu/engine.h"
#include "gpu/eval/masked_view.h"

#define MONITOR_BATCH 32 /* images of a forward pass */

struct monitor;

struct monitor_result {
    double rankme, pair_cos, ema_gap;
    struct rankme_spectrum spectrum;
    struct rankme_spread_summary target;
    struct masked_view_result masked;
    double knn_top1; /* NaN without labels */
    uint32_t images_train, images_eval;
};

/* Borrows the trainer; opens the datasets, decodes the images and allocates everything that a check
 * needs. Where there are fewer images than wanted, all are used. */
IJ_MUST_USE enum ij_status monitor_new(struct trainer *trainer, const struct engine_spec *spec,
                                       struct monitor **ret_monitor, struct ij_err *reterr_err);
void monitor_free(struct monitor *monitor); /* NULL is fine */

/* Checks the trainer's weights as they are, emits the frame of `step` and fills ret_result (may be
 * NULL). The sink may be NULL. Between two steps only: it uses the trainer's activation buffers. */
IJ_MUST_USE enum ij_status monitor_check(struct monitor *monitor, uint64_t step,
                                         const struct engine_sink *sink,
                                         struct monitor_result *ret_result,
                                         struct ij_err *reterr_err);

#endif
