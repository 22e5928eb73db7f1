/*
 * Masks: which patches the context encoder sees and which it must predict.
 *
 * Multi-block, I-JEPA's own; the three maskings that it was compared with are in masks_compared.h.
 * Per batch one target size and one context size are drawn; per image the places of M targets, then
 * of the context block, from which the targets are cut out. A context that keeps too little is
 * placed again; after every 20 failures one more target, the last first, may be overlapped. All
 * contexts of the batch are then cut to the shortest.
 *
 *   published  what public checkpoints were trained with: one uniform sets scale and aspect
 *              together, the last row and column of the grid are never reached, and the cut keeps
 *              the first patches, so that it always removes the bottom of the image.
 *   unbiased   scale and aspect are independent, every place in the grid can be drawn, and the cut
 *              removes patches at random, the same number from each place's share.
 *
 * Randomness: (seed, RNG_MASK_SIZE, epoch, batch) and (seed, RNG_MASK_PLACE, epoch, position of the
 * image in the epoch). Source: Assran et al., "Self-supervised learning from images with a
 * joint-embedding predictive architecture", CVPR 2023, section 3.
 */
#ifndef GPU_MODEL_MASKS_H
#define GPU_MODEL_MASKS_H

#include "base/rng.h"
#include "gpu/model/mask_sizes.h"

/* A sampler and the masks it drew last. Read the fields after masks_draw. */
struct masks {
    struct mask_sizes_rules rules;
    struct mask_sizes_bounds bounds;
    uint64_t seed;
    uint32_t images_max;
    uint32_t images, context_count, target_count; /* of the last draw */
    int32_t *context;  /* (images, context_count) ascending patch indices; owned */
    int32_t *targets;  /* (M, images, target_count) ascending; owned */
    uint32_t *lengths; /* (images) context lengths before the cut; owned */
    struct rng *rngs;  /* (images) streams of the images; owned */
};

/* The rules must have passed mask_sizes_check. */
IJ_MUST_USE enum ij_status masks_init(struct masks *masks, const struct mask_sizes_rules *rules,
                                      uint64_t seed, uint32_t images_max,
                                      struct ij_err *reterr_err);
void masks_done(struct masks *masks); /* a zeroed struct is fine */

/* Draws the masks of micro-batch `batch` of `epoch`: its images are the `images` ones from place
 * batch * images on. Allocates nothing. */
void masks_draw(struct masks *masks, uint64_t epoch, uint64_t batch, uint32_t images);

/* Multi-block: draws with the sizes that keep the most patches, those of the largest context block
 * and the smallest target blocks; read `lengths`. */
void masks_draw_longest(struct masks *masks, uint64_t batch, uint32_t images);

/* Leaves only the `count` images from `first` on of the last draw: a rank's share of a batch that
 * all ranks draw. */
void masks_keep(struct masks *masks, uint32_t first, uint32_t count);

#endif
