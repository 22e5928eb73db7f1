/*
 * Data that a run leaves out after its loss broke, and where each step reads for that reason.
 *
 * Places count the data of optimiser steps: without anything left out step s (from 0) reads place
 * s. A run that goes back from a broken step to its newest checkpoint leaves out the places read
 * since that checkpoint, and as many beyond as its parameters say; later steps read on behind them.
 * So the order of the data is a function of seed, step and the places left out, whichever
 * checkpoint a run goes on from. The file <run directory>/rewind.json holds them, durable before
 * the run ends.
 */
#ifndef GPU_TRAIN_TRAIN_REWIND_H
#define GPU_TRAIN_TRAIN_REWIND_H

#include <stdint.h>

#include "base/status.h"

#define TRAIN_REWIND_MAX 2 /* times that a run goes back */

struct train_rewind_window {
    uint64_t first, count; /* places left out; count at least 1 */
};

struct train_rewind {
    uint32_t count; /* times that the run has gone back */
    uint32_t window_count;
    struct train_rewind_window windows[TRAIN_REWIND_MAX]; /* ascending, apart from each other */
};

/* The place that the step after `step` reads. */
uint64_t train_rewind_place(const struct train_rewind *rewind, uint64_t step);

/* Leaves out from the place that the step after `back_to` would read to that of the step after
 * `failed`, and `more` beyond; failed >= back_to. What it touches becomes one window with it.
 * IJ_CONFLICT: the run has gone back TRAIN_REWIND_MAX times. *ret_window may be NULL. */
IJ_MUST_USE enum ij_status train_rewind_add(struct train_rewind *rewind, uint64_t back_to,
                                            uint64_t failed, uint64_t more,
                                            struct train_rewind_window *ret_window,
                                            struct ij_err *reterr_err);

/* A missing file is none left out. IJ_CORRUPT names what is wrong. */
IJ_MUST_USE enum ij_status train_rewind_load(const char *run_directory,
                                             struct train_rewind *ret_rewind,
                                             struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status train_rewind_save(const char *run_directory,
                                             const struct train_rewind *rewind,
                                             struct ij_err *reterr_err);

#endif
