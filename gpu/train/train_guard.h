/*
 * Whether a step's loss is one to go on with: finite, and, where the run asks for it, no jump above
 * what it was of late. Pure; the state is part of a checkpoint, so a resume judges alike.
 */
#ifndef GPU_TRAIN_TRAIN_GUARD_H
#define GPU_TRAIN_TRAIN_GUARD_H

#include "gpu/engine.h"

#define TRAIN_GUARD_STEPS 100 /* that the mean is over, and before which no jump is seen */

struct train_guard {
    double mean; /* running mean of the loss */
    uint64_t steps;
};

/* "nonfinite" or "spike", static; NULL: go on. */
const char *train_guard_fault(const struct train_guard *guard, const struct engine_guard *rules,
                              double loss);
void train_guard_note(struct train_guard *guard, double loss);

/* For checkpoint_state.trainer; caller frees with mem_free. NULL: nothing to keep, or no memory. */
char *train_guard_write(const struct train_guard *guard, const struct engine_guard *rules);
/* What the text does not hold is as at a start. NULL is fine. */
void train_guard_read(const char *text, struct train_guard *ret_guard);

#endif
