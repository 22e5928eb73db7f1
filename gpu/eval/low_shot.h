/*
 * The run kind low_shot by logistic regression: a frozen encoder and few labels.
 *
 * A few training images (low_shot_select.h) and the evaluation split go through the encoder, are
 * brought to one scale (feature_scale.h), and a multinomial logistic regression with the penalty
 * l2 / images / 2 * |W|^2 is solved on the former (logistic.h). The protocol of the published 1 %
 * tables (Assran et al., tables 6 to 12): pooled features, each split standardised by itself, l2
 * 0.0025, no intercept. Other seeds draw other images; a list fixes them.
 *
 * The result goes to the sink as "low_shot" and to <directory>/result.json.
 */
#ifndef GPU_EVAL_LOW_SHOT_H
#define GPU_EVAL_LOW_SHOT_H

#include "gpu/engine.h"
#include "gpu/ops/ops.h"

/* `spec` has passed engine_check and asks for ENGINE_LOW_SHOT_LOGISTIC. */
IJ_MUST_USE enum ij_status low_shot_run(struct backend *backend, const struct engine_spec *spec,
                                        const struct engine_sink *sink, struct ij_err *reterr_err);

#endif
