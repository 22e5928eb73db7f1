/* Frames of one table as they are, by step. Internal to store/. */
#ifndef STORE_METRIC_RAW_H
#define STORE_METRIC_RAW_H

#include "store/metric_plan.h"

struct metric_raw {
    size_t rows, capacity, columns;
    uint64_t *steps;                           /* (rows), ascending, no two equal */
    const struct metric_plan_stream **present; /* (rows): whose row, before sorting */
    float *values;       /* (rows, columns); NaN where the frame lacks the column */
    uint64_t *counts;    /* (columns): frames that have it */
    uint64_t *nonfinite; /* (columns): of those, with a value that is not finite */
    bool unsorted;       /* while reading: rows need sorting by step */
    bool failed;         /* while reading: out of memory */
};

/* IJ_TOO_LARGE if the plan has more than `max` points (frames times wanted keys). */
IJ_MUST_USE enum ij_status metric_raw_check(struct store *store, const struct metric_plan *plan,
                                            uint64_t max, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status metric_raw_read(struct store *store, const struct metric_plan *plan,
                                           size_t table, struct metric_raw *ret_raw,
                                           struct ij_err *reterr_err);
void metric_raw_done(struct metric_raw *raw);

#endif
