/*
 * Initial weights: normal with deviation init_std, zero biases, unit norms.
 *
 * Tensor i of the layout is drawn from the stream (seed, RNG_INIT_WEIGHTS, 0, i), so a change of
 * depth does not move the others. With init_rescale the output weights of block n (from 1) are
 * divided by sqrt(2 n). Public checkpoints started without that.
 */
#ifndef GPU_MODEL_WEIGHTS_INIT_H
#define GPU_MODEL_WEIGHTS_INIT_H

#include "gpu/model/layout.h"

/* Fills the host arena of layout->floats values, gaps with zero. */
void weights_init_fill(const struct layout *layout, const struct vit_config *config, uint64_t seed,
                       float *ret_arena);

#endif
