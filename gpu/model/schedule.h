/*
 * Learning rate, weight decay and target momentum by optimiser step.
 *
 * Both `total` and `warmup` are in optimiser steps; `ipe_scale` > 1 stretches `total` beyond the
 * run so that it ends early on the curves. Learning rate and weight decay count steps from 1, the
 * momentum from 0, as public checkpoints were trained. Past `total` all three stay at their last
 * value.
 */
#ifndef GPU_MODEL_SCHEDULE_H
#define GPU_MODEL_SCHEDULE_H

#include "gpu/engine.h"

struct schedule {
    uint64_t steps; /* of the run */
    double total, warmup;
    double start_lr, lr, final_lr, weight_decay, final_weight_decay, ema_start, ema_end;
};

/* Optimiser steps of one epoch over `images` images: whole ones only; 0 if there are too few. */
uint64_t schedule_steps_per_epoch(const struct engine_optimizer *optimizer, uint64_t images);

/* `steps_per_epoch` at least 1. */
struct schedule schedule_new(const struct engine_optimizer *optimizer, uint64_t steps_per_epoch);

double schedule_lr(const struct schedule *schedule, uint64_t step);           /* step from 1 */
double schedule_weight_decay(const struct schedule *schedule, uint64_t step); /* step from 1 */
double schedule_ema(const struct schedule *schedule, uint64_t index);         /* index from 0 */

#endif
