/*
 * Which training images a low-shot evaluation may use.
 *
 * From a list: a text file with one image name per line, as the published 1 % split of ImageNet has
 * it. A line with a '/' is the image's path below the training folder, one without is its file name
 * alone; blank lines and lines that begin with '#' are left out. Every line must be found, once.
 * Without a list: `shots` images of each class, or `fraction` of each class's images, rounded, at
 * least one; drawn by (seed, RNG_SUBSET, class). A class with fewer gives all it has.
 */
#ifndef GPU_EVAL_LOW_SHOT_SELECT_H
#define GPU_EVAL_LOW_SHOT_SELECT_H

#include "gpu/data/dataset.h"

#define LOW_SHOT_SELECT_BYTES_MAX ((size_t)256 << 20) /* of a list */

/* Rows of the dataset, ascending; *ret_rows is the caller's (mem_free). IJ_DATA, field
 * "low_shot.list" or "data.labels", names what is wrong. */
IJ_MUST_USE enum ij_status low_shot_select(const struct dataset *dataset,
                                           const struct engine_low_shot *options, uint64_t seed,
                                           uint32_t **ret_rows, size_t *ret_count,
                                           struct ij_err *reterr_err);

#endif
