/*
 * Pretraining: the run kind ENGINE_PRETRAIN from the first image to the last checkpoint.
 *
 * The state of a run is (step, parameters, both moments, target encoder). All else, the order of
 * images, crops, masks and rates, is a function of seed and step, so a run that stops and resumes
 * at any step ends with the same bits as one that does not (same build, device and thread count).
 * A checkpoint is only taken between steps.
 */
#ifndef GPU_TRAIN_TRAIN_H
#define GPU_TRAIN_TRAIN_H

#include "gpu/engine.h"
#include "gpu/ops/ops.h"

/*
 * `spec` has passed engine_check; the backend is borrowed. As engine_run. Continues from the newest
 * valid checkpoint of the run directory, else from spec->resume, else from initial weights; a
 * spec->resume inside the run directory goes before its newest one.
 * Errors: IJ_DATA, "data.path": fewer images than one step needs; IJ_CONFLICT: the checkpoint does
 * not fit the spec; IJ_CORRUPT: there are checkpoints but none is valid; IJ_NONFINITE names the
 * step.
 */
IJ_MUST_USE enum ij_status train_run(struct backend *backend, const struct engine_spec *spec,
                                     const struct engine_sink *sink, struct ij_err *reterr_err);

#endif
