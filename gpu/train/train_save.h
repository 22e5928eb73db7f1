/*
 * A trainer's arenas as a checkpoint, and back.
 *
 * The tensors of a checkpoint are views into the arenas, made once; saving hands them to the
 * checkpoint writer, which copies them and writes in its own thread.
 */
#ifndef GPU_TRAIN_TRAIN_SAVE_H
#define GPU_TRAIN_TRAIN_SAVE_H

#include "gpu/checkpoint/checkpoint_writer.h"
#include "gpu/train/trainer.h"

struct train_save {
    struct trainer *trainer;                                      /* borrowed */
    struct safetensors_tensor *tensors[CHECKPOINT_SECTION_COUNT]; /* owned */
    size_t counts[CHECKPOINT_SECTION_COUNT];
    char *names; /* owned; every tensor's name */
};

IJ_MUST_USE enum ij_status train_save_init(struct train_save *save, struct trainer *trainer,
                                           struct ij_err *reterr_err);
void train_save_done(struct train_save *save); /* a zeroed struct is fine */

/* Copies all tensors and returns; the writing goes on behind. */
IJ_MUST_USE enum ij_status train_save_submit(const struct train_save *save,
                                             struct checkpoint_writer *writer,
                                             const struct checkpoint_state *state,
                                             struct ij_err *reterr_err);

/* Fills parameters, target encoder and moments. IJ_CORRUPT names what is missing. */
IJ_MUST_USE enum ij_status train_save_load(struct trainer *trainer,
                                           const struct checkpoint *checkpoint,
                                           struct ij_err *reterr_err);

#endif
