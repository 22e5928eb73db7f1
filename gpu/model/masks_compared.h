/*
 * The three maskings that I-JEPA was compared with: rasterized, block and random.
 *
 *   rasterized  the grid's four quadrants: one, drawn per image, is the context, each of the others
 *               is a target. On an odd grid the middle row and column are in no quadrant.
 *   block       one target block of the area masked_share; the context is all else. Its size is
 *               drawn per batch from target_aspect, its place per image; with the published sampler
 *               it does not reach the last row and column.
 *   random      a set of int(grid^2 masked_share) patches drawn per image is the one target; the
 *               context is all else.
 *
 * Source: Assran et al., "Self-supervised learning from images with a joint-embedding predictive
 * architecture", CVPR 2023, table 6, which has quadrants, and a share of 0.6 for the other two. The
 * paper names neither the context's quadrant nor the block's aspect; both are choices made here.
 * Randomness as in masks.h. Every image of a batch has as many context patches.
 */
#ifndef GPU_MODEL_MASKS_COMPARED_H
#define GPU_MODEL_MASKS_COMPARED_H

#include "gpu/model/masks.h"

/* Draws the masks of masks->images images; part of masks_draw. `block`: the target's size, block
 * masking only. */
void masks_compared_draw(struct masks *masks, struct mask_sizes_block block, uint64_t epoch,
                         uint64_t batch);

#endif
