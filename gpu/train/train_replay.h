/*
 * Silent corruption: every so many steps one is made twice from the same state, and both must end
 * with the same bits.
 *
 * A device that computes wrongly without an error, or memory in which a bit has turned, leaves
 * finite numbers behind that no other check finds. Before such a step the state (parameters,
 * moments, target encoder) is copied to host memory with a sum over it, and the step's batches are
 * kept; before the update the state must still have that sum; afterwards the copy is checked
 * against it and loaded, and the step is made again. What is found: a wrong result of either of the
 * two steps, a bit that turned in the state or in the copy of it. Takes host memory for one state
 * and one arena. With several ranks all replay the same steps. One thread.
 */
#ifndef GPU_TRAIN_TRAIN_REPLAY_H
#define GPU_TRAIN_TRAIN_REPLAY_H

#include "gpu/engine.h"
#include "gpu/train/trainer.h"

struct train_replay;

/* Borrows trainer. *ret_replay is NULL, which every function takes, where spec says never. */
IJ_MUST_USE enum ij_status train_replay_new(struct trainer *trainer, const struct engine_spec *spec,
                                            struct train_replay **ret_replay,
                                            struct ij_err *reterr_err);
void train_replay_free(struct train_replay *replay); /* NULL is fine */

/* Is `step` (from 1) one that is made twice? */
bool train_replay_is_due(const struct train_replay *replay, uint64_t step);

/* In this order, in a step that is due: before its first micro-batch; with each micro-batch; before
 * and after its update. IJ_DEVICE: the bits differ; what the trainer holds must not be saved. */
IJ_MUST_USE enum ij_status train_replay_begin(struct train_replay *replay,
                                              struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status train_replay_keep(struct train_replay *replay,
                                             const struct ijepa_batch *batch, uint32_t index,
                                             struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status train_replay_confirm(struct train_replay *replay, uint64_t step,
                                                struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status train_replay_check(struct train_replay *replay,
                                              const struct trainer_update *update,
                                              struct ij_err *reterr_err);

#endif
