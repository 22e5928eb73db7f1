/*
 * Looks at every image of a dataset: can it be decoded, how large is it, of which format?
 *
 * Threads as in the loader: some that read files, as many that decode, each of these in its jail
 * (decoder_jail.h). One thread owns a survey and waits for it step by step.
 */
#ifndef GPU_DATA_IMAGE_SURVEY_H
#define GPU_DATA_IMAGE_SURVEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "gpu/data/bad_images.h"
#include "gpu/data/dataset.h"

struct image_survey;

/* Pixels per side; 0 for a bad image. */
struct image_survey_size {
    uint32_t width, height;
};

struct image_survey_view {
    const struct image_survey_size *sizes; /* by image of the dataset */
    uint64_t jpeg, png;
};

/* Borrows the dataset and starts. `threads` 0: one per core, at most 16. With `pixels` every image
 * is decoded to its last row, else its header only is. */
IJ_MUST_USE enum ij_status image_survey_new(const struct dataset *dataset, uint32_t threads,
                                            bool pixels, struct image_survey **ret_survey,
                                            struct ij_err *reterr_err);
/* From any state: what is not looked at yet never will be. */
void image_survey_free(struct image_survey *survey);

/* Waits until all is done, but `patience_ms` at most; *ret_done counts the images looked at.
 * IJ_NO_MEMORY. */
IJ_MUST_USE enum ij_status image_survey_wait(struct image_survey *survey, int64_t patience_ms,
                                             uint64_t *ret_done, struct ij_err *reterr_err);
/* After all is done: borrowed from the survey. */
struct image_survey_view image_survey_get(const struct image_survey *survey);
struct bad_images *image_survey_bad(struct image_survey *survey);

#endif
