/*
 * Which block sizes a mask sampler can draw, and what follows from that before a run starts: that
 * sampling ends, and how many patches a context or a target block can have at most.
 */
#ifndef GPU_MODEL_MASK_SIZES_H
#define GPU_MODEL_MASK_SIZES_H

#include "gpu/engine.h"

#define MASK_SIZES_GRID_MAX 64 /* patches per side */

/* How blocks are drawn on one grid. Plain data. */
struct mask_sizes_rules {
    enum engine_masking masking;
    enum engine_sampler sampler;
    uint32_t grid, targets, min_keep;
    double target_scale[2], target_aspect[2]; /* block: target_scale is the masked share */
    double context_scale[2];                  /* multi-block */
    double masked_share;                      /* random */
};
struct mask_sizes_block {
    uint32_t height, width; /* patches */
};
struct mask_sizes_bounds {
    struct mask_sizes_block target_smallest, context_smallest; /* by area */
    uint32_t target_max, context_max; /* most patches that a target, a context can keep */
};

/* `targets` becomes what the masking has: rasterized 3, block and random 1. */
struct mask_sizes_rules mask_sizes_from_spec(const struct engine_spec *spec);

/* Random masking: the number of target patches. */
uint32_t mask_sizes_random(const struct mask_sizes_rules *rules);

/* The side that blocks are placed in: the published sampler leaves out the last row and column. */
uint32_t mask_sizes_extent(const struct mask_sizes_rules *rules);

/* The block for uniforms in [0, 1): area from `u_scale`, height / width from `u_aspect`. */
struct mask_sizes_block mask_sizes_draw(const struct mask_sizes_rules *rules, const double scale[2],
                                        const double aspect[2], double u_scale, double u_aspect);

/* Bounds over all that can be drawn; exact for the targets, and for the context of any masking but
 * multi-block, where it is an upper bound. A set of patches that is no block has height 1. */
struct mask_sizes_bounds mask_sizes_bounds(const struct mask_sizes_rules *rules);

/* IJ_INVALID with the field and a value that would work, where a target or context that can be
 * drawn would not keep more than min_keep patches; multi-block sampling would then never end. */
IJ_MUST_USE enum ij_status mask_sizes_check(const struct mask_sizes_rules *rules,
                                            struct ij_err *reterr_err);

#endif
