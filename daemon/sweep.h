/*
 * A sweep's description turned into the submissions of its runs. Pure; any thread.
 *
 * The body is that of a submission (daemon/submit.h) without "after", and besides:
 *   "max_parallel" 1..64, how many of its runs may have a worker at a time; default 1
 *   and one of
 *   "grid"    {"lr": [1e-4, 3e-4], "seed": [1, 2, 3]}: every combination, the last key fastest
 *   "random"  {"count": 20, "seed": 7, "space": {"lr": {"log": [1e-5, 1e-2]}, ...}}; a key's values
 *             are [choice, ...], {"uniform": [low, high]}, {"log": [low, high]} or
 *             {"integer": [low, high]}, both ends included; the same seed gives the same runs
 */
#ifndef DAEMON_SWEEP_H
#define DAEMON_SWEEP_H

#include <jansson.h>
#include <stdint.h>

#include "base/status.h"

#define SWEEP_RUNS_MAX     200
#define SWEEP_KEYS_MAX     16
#define SWEEP_PARALLEL_MAX 64

struct sweep {
    int32_t max_parallel;
    json_t *runs; /* owned: array of submissions, not checked yet; named NAME-1, NAME-2, ... */
};

/* IJ_INVALID names the field by a JSON pointer. */
IJ_MUST_USE enum ij_status sweep_expand(const json_t *body, struct sweep *ret_sweep,
                                        struct ij_err *reterr_err);
void sweep_done(struct sweep *sweep);

#endif
