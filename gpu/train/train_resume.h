/* Which checkpoint a run continues from, and whether it fits the run. */
#ifndef GPU_TRAIN_TRAIN_RESUME_H
#define GPU_TRAIN_TRAIN_RESUME_H

#include "gpu/checkpoint/checkpoint.h"
#include "gpu/engine.h"
#include "gpu/train/train_sink.h"

/*
 * The newest valid checkpoint of the run directory, else spec->resume; a spec->resume inside the
 * run directory goes first. *ret_checkpoint is NULL for a start from initial weights. Invalid ones
 * on the way are warnings; IJ_CORRUPT where the run directory has checkpoints and none is valid.
 */
IJ_MUST_USE enum ij_status train_resume_find(const struct engine_spec *spec,
                                             struct train_sink *sink,
                                             struct checkpoint **ret_checkpoint,
                                             struct ij_err *reterr_err);

/* IJ_CONFLICT naming the parameter in which spec or dataset do not fit the state. A changed dataset
 * with as many steps per epoch is a warning. */
IJ_MUST_USE enum ij_status train_resume_check(const struct engine_spec *spec,
                                              const struct checkpoint_state *state,
                                              uint64_t steps_per_epoch, const char *fingerprint,
                                              struct train_sink *sink, struct ij_err *reterr_err);

/* Whether the checkpoint lies in the run's own directory. */
bool train_resume_is_own(const struct engine_spec *spec, const struct checkpoint *checkpoint);

#endif
