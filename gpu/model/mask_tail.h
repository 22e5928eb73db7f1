/*
 * How many context tokens a batch practically never exceeds.
 *
 * The contexts of a batch are cut to its shortest. For block sizes that are given, images are drawn
 * independently, so a batch of b images has a context longer than c with probability q(c)^b, where
 * q(c) is that of one image. q is estimated, on the safe side, from draws of the sampler itself
 * with the sizes that keep most: the largest context block and the smallest target blocks. The
 * bound is the least c for which less than MASK_TAIL_CHANCE remains. That it holds is not relied
 * on: a batch beyond it is worked on in parts (gpu/model/ijepa.h).
 *
 * For the published masks at 14 x 14 patches and 128 images that is 70 patches an image: half of
 * the longest context possible (139); the mean is 50 and the longest in 470 batches was 67.
 */
#ifndef GPU_MODEL_MASK_TAIL_H
#define GPU_MODEL_MASK_TAIL_H

#include "gpu/model/mask_sizes.h"

#define MASK_TAIL_CHANCE 1e-9 /* of a batch */

/* Rows for batches of up to `images`: at least the longest context, never less for more images, and
 * a function of the rules and the number alone. Maskings other than multi-block have no tail: the
 * longest context of every image. */
IJ_MUST_USE enum ij_status mask_tail_rows(const struct mask_sizes_rules *rules, uint32_t images,
                                          int64_t *ret_rows, struct ij_err *reterr_err);

#endif
