/*
 * Training features of a linear probe from augmented images, as in the published protocol: in every
 * epoch each image is cropped at random (bicubic; area by `scale`, ratio 3/4..4/3) and mirrored
 * with probability 1/2, then goes through the frozen encoder. Scenes, whose labels speak of the
 * whole image, are stretched and mirrored instead.
 *
 * Order, crop and mirror of an image are keyed by (seed, epoch, image). Loader batches are what the
 * encoder takes at once; a probe's batch is put together from several of them.
 */
#ifndef GPU_EVAL_PROBE_AUGMENTED_H
#define GPU_EVAL_PROBE_AUGMENTED_H

#include "gpu/eval/probe.h"

struct probe_augmented;

struct probe_augmented_options {
    const struct engine_data *data; /* borrowed for the call */
    double scale[2];
    uint64_t seed;
    int64_t images, width; /* per pass of the encoder; of its features */
};

/* Borrows all; `dataset` holds the images to train on and no others. */
IJ_MUST_USE enum ij_status probe_augmented_new(struct frozen *frozen, const struct dataset *dataset,
                                               const struct probe_augmented_options *options,
                                               struct eval_progress *progress,
                                               struct probe_augmented **ret_augmented,
                                               struct ij_err *reterr_err);
void probe_augmented_free(struct probe_augmented *augmented); /* NULL is fine */

/* Valid as long as `augmented` is. */
struct probe_feed probe_augmented_feed(struct probe_augmented *augmented);

#endif
