/*
 * What a model in training makes of masked images: how well it predicts, how much its outputs vary,
 * how well they tell images apart.
 *
 * The images and their masks are the same at every check: masks follow the run's rules and seed at
 * places in the sequence that training never reaches. Uses the trainer's activation buffers
 * between steps and changes no weight. One thread.
 */
#ifndef GPU_EVAL_MASKED_VIEW_H
#define GPU_EVAL_MASKED_VIEW_H

#include "gpu/eval/rankme.h"
#include "gpu/train/trainer.h"

#define MASKED_VIEW_IMAGES 256 /* at most */
#define MASKED_VIEW_DRAWS  8   /* masks per image, for LiDAR */

struct masked_view_result {
    double explained; /* explained.h, over the target tokens of the first draw */
    /* Standard deviations over the context encoder's tokens (layer-normed without weights, as the
     * targets are) and over the predictions. */
    struct rankme_spread_summary context, prediction;
    /* LiDAR of the context encoder's mean-pooled tokens, each image under MASKED_VIEW_DRAWS masks;
     * NaN for fewer than two images. */
    double lidar;
};

struct masked_view;

/* Borrows the trainer, and the pixels (images, crop, crop, 3). At most spec->optimizer.batch images
 * are looked at at once: what the trainer was planned for. */
IJ_MUST_USE enum ij_status masked_view_new(struct trainer *trainer, const struct engine_spec *spec,
                                           const uint8_t *pixels, size_t images,
                                           struct masked_view **ret_view,
                                           struct ij_err *reterr_err);
void masked_view_free(struct masked_view *view); /* NULL is fine */

IJ_MUST_USE enum ij_status masked_view_measure(struct masked_view *view,
                                               struct masked_view_result *ret_result,
                                               struct ij_err *reterr_err);

#endif
