/*
 * Pooled features of a dataset, kept in host memory as float32.
 *
 * Feature i belongs to the i-th image that the loader showed; where a bad image was replaced, label
 * and feature are those of its substitute.
 */
#ifndef GPU_EVAL_FEATURES_H
#define GPU_EVAL_FEATURES_H

#include "gpu/data/dataset.h"
#include "gpu/data/loader.h"
#include "gpu/eval/eval_progress.h"
#include "gpu/model/frozen.h"

struct features {
    size_t count;
    int64_t width;
    float *last;     /* (count, width): mean over tokens of the final norm's output */
    float *concat;   /* (count, 4 * width): the last four blocks, oldest first; NULL: not wanted */
    int32_t *labels; /* (count); -1: none */
    uint32_t *samples; /* (count): index in the dataset of the image that is shown */
    uint64_t bad;      /* images that could not be used and were replaced */
};

/* Runs the encoder over the first `count_max` images (0: all of one epoch). options->batch is at
 * most the encoder's images_max. ret_features is the caller's (features_done). */
IJ_MUST_USE enum ij_status features_extract(struct frozen *frozen, int64_t width,
                                            const struct dataset *dataset,
                                            const struct loader_options *options, size_t count_max,
                                            bool want_concat, struct eval_progress *progress,
                                            struct features *ret_features,
                                            struct ij_err *reterr_err);
void features_done(struct features *features); /* a zeroed struct is fine */

#endif
