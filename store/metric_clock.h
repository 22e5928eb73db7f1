/*
 * When a run did which step: a few hundred points along its training, enough to draw against time.
 * Frames of superseded attempts are left out. Any thread, with a handle of its own.
 */
#ifndef STORE_METRIC_CLOCK_H
#define STORE_METRIC_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

#define METRIC_CLOCK_MAX 512

struct metric_clock_point {
    uint64_t step;
    int64_t ts_ms; /* wall clock; never less than that of the point before */
};

/* The frames of the stream "train", evenly chosen by step, with the first and the last frame of
 * each attempt while there is room. Ascending steps. A run without figures gives none. */
IJ_MUST_USE enum ij_status metric_clock(struct store *store, int64_t run,
                                        struct metric_clock_point ret_points[METRIC_CLOCK_MAX],
                                        size_t *ret_count, struct ij_err *reterr_err);

#endif
