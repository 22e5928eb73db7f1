/* What a run tells of images that it could not use. */
#ifndef GPU_TRAIN_TRAIN_BAD_H
#define GPU_TRAIN_TRAIN_BAD_H

#include "gpu/data/loader.h"
#include "gpu/train/train_sink.h"

/* Warns of bad images beyond the *reported ones, and writes all of them by name beside the
 * checkpoints; those of another rank than 0 have a file of their own. */
IJ_MUST_USE enum ij_status train_bad_report(const struct engine_spec *spec, struct loader *loader,
                                            struct train_sink *sink, uint64_t *reported,
                                            struct ij_err *reterr_err);

#endif
