/* Features brought to one scale before a logistic regression. In place, statistics in double. */
#ifndef GPU_EVAL_FEATURE_SCALE_H
#define GPU_EVAL_FEATURE_SCALE_H

#include <stddef.h>
#include <stdint.h>

#include "gpu/engine.h"

/* train (train_count, width), eval (eval_count, width). Deviations divide by the count; a dimension
 * that does not vary is only centred. */
IJ_MUST_USE enum ij_status feature_scale(enum engine_scaling scaling, int64_t width, float *train,
                                         size_t train_count, float *eval, size_t eval_count,
                                         struct ij_err *reterr_err);

#endif
