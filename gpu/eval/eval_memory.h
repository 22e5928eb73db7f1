/*
 * Device memory of an evaluation before it starts. Pure arithmetic, no backend.
 *
 * The encoder is counted to the byte. What classifies its features is counted as for the dataset
 * with EVAL_MEMORY_CLASSES classes, as only a dataset knows how many it has.
 */
#ifndef GPU_EVAL_EVAL_MEMORY_H
#define GPU_EVAL_EVAL_MEMORY_H

#include "gpu/model/vit_config.h"

#define EVAL_MEMORY_CLASSES 1000

struct eval_memory {
    uint64_t parameters, activations, input; /* bytes */
    int64_t images;                          /* of a forward pass */
};

/* Of a kind that only runs the encoder forward, with what comes after it. */
struct eval_memory eval_memory_of(const struct engine_spec *spec, const struct vit_config *config);

/* Of the check of features beside a pretraining run, which lends its weights. */
uint64_t eval_memory_monitor(const struct engine_spec *spec, const struct vit_config *config);

/* Of the images that a visualisation searches, beside its model. */
uint64_t eval_memory_bank(const struct vit_config *config);

#endif
