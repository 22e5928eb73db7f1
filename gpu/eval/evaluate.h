/*
 * The run kinds linear_probe and knn: a frozen encoder judged by simple classifiers.
 *
 * A checkpoint's encoder (and, with `eval.random_baseline`, the same model at the random weights of
 * `spec->seed`) turns both splits into pooled features, once, kept in memory; the classifiers are
 * then trained and scored on those. The result, with everything needed to repeat it, goes to the
 * sink as "linear_probe" or "knn" and to <directory>/result.json.
 *
 * The model's shape, crop and normalisation are the checkpoint's own; without a checkpoint they are
 * the spec's. Deterministic on one backend and thread count.
 */
#ifndef GPU_EVAL_EVALUATE_H
#define GPU_EVAL_EVALUATE_H

#include "gpu/engine.h"
#include "gpu/ops/ops.h"

/* `spec` has passed engine_check. The backend is borrowed. IJ_INVALID, field "data.labels": the
 * data has no labels; IJ_STOPPED: the host asked for it. */
IJ_MUST_USE enum ij_status evaluate_run(struct backend *backend, const struct engine_spec *spec,
                                        const struct engine_sink *sink, struct ij_err *reterr_err);

#endif
