/*
 * The run kinds linear_probe, clevr and knn: a frozen encoder judged by simple classifiers.
 *
 * A checkpoint's encoder (and, with `eval.random_baseline`, the same model at the random weights of
 * `spec->seed`) turns images into pooled features; classifiers are trained and scored on those.
 * linear_probe and knn take the dataset's labels; clevr has two tasks on the same images, counting
 * objects and telling how near the nearest one is, in the published classes (scene_labels.h).
 *
 * The result, with everything needed to repeat it, goes to the sink under the kind's name and to
 * <directory>/result.json; <directory>/confusion[.<task>].npy is the best head's matrix.
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
