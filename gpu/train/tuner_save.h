/*
 * A classifier in training as a checkpoint, and back: encoder.*, fc_norm.*, head.* with their
 * moments. There is one encoder, so evaluations of such a checkpoint ask for the context encoder.
 */
#ifndef GPU_TRAIN_TUNER_SAVE_H
#define GPU_TRAIN_TUNER_SAVE_H

#include "gpu/checkpoint/checkpoint_writer.h"
#include "gpu/train/tuner.h"

struct tuner_save {
    struct tuner *tuner;                                          /* borrowed */
    struct safetensors_tensor *tensors[CHECKPOINT_SECTION_COUNT]; /* owned; views into the arenas */
    size_t counts[CHECKPOINT_SECTION_COUNT];
    char *names; /* owned */
};

IJ_MUST_USE enum ij_status tuner_save_init(struct tuner_save *save, struct tuner *tuner,
                                           struct ij_err *reterr_err);
void tuner_save_done(struct tuner_save *save); /* a zeroed struct is fine */

/* Copies all tensors and returns; the writing goes on behind. */
IJ_MUST_USE enum ij_status tuner_save_submit(const struct tuner_save *save,
                                             struct checkpoint_writer *writer,
                                             const struct checkpoint_state *state,
                                             struct ij_err *reterr_err);
/* Fills parameters and moments. IJ_CORRUPT names what is missing. */
IJ_MUST_USE enum ij_status tuner_save_load(struct tuner *tuner, const struct checkpoint *checkpoint,
                                           struct ij_err *reterr_err);

#endif
