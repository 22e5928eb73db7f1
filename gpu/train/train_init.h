/* Weights of a checkpoint without its optimiser: what a new run begins with, or what is shown. */
#ifndef GPU_TRAIN_TRAIN_INIT_H
#define GPU_TRAIN_TRAIN_INIT_H

#include "gpu/checkpoint/checkpoint.h"
#include "gpu/train/trainer.h"

enum train_init_use {
    TRAIN_INIT_NEW_RUN, /* both encoders become the checkpoint's target encoder */
    TRAIN_INIT_AS_IS,   /* each encoder its own */
};

/* Fills parameters and target; moments stay. Every tensor's name and shape must be the model's:
 * IJ_DATA lists the differences. A checkpoint without a predictor (an imported encoder) leaves the
 * predictor as it is: *ret_predictor is false. */
IJ_MUST_USE enum ij_status train_init_weights(struct trainer *trainer,
                                              const struct checkpoint *checkpoint,
                                              enum train_init_use use, bool *ret_predictor,
                                              struct ij_err *reterr_err);

#endif
