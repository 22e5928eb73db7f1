/* Reading the frames of a plan's stream into buckets, through the summaries where they serve.
 * Internal to store/. */
#ifndef STORE_METRIC_SCAN_H
#define STORE_METRIC_SCAN_H

#include "store/metric_lod.h"
#include "store/metric_plan.h"

/* Buckets of 2^shift steps, the first beginning at base << shift. */
struct metric_scan {
    unsigned shift;
    uint64_t base;
    size_t rows, columns;
    struct metric_lod_key *cells; /* (rows, columns) */
    uint64_t *frames;             /* (rows): frames that fell into the row */
    uint64_t *counts;             /* (columns): frames behind the column */
};

void metric_scan_done(struct metric_scan *scan);
IJ_MUST_USE enum ij_status metric_scan_init(struct metric_scan *scan, unsigned shift, uint64_t lo,
                                            uint64_t hi, size_t columns, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status metric_scan_stream(struct store *store, struct metric_scan *scan,
                                              const struct metric_plan_stream *stream,
                                              struct ij_err *reterr_err);

/* Every frame of a stream from `from` to `to`: for summaries, and as it is. */
IJ_MUST_USE enum ij_status
metric_scan_frames(struct store *store, const struct metric_plan_stream *stream, uint64_t from,
                   uint64_t to,
                   void (*each)(void *user, const struct metric_plan_stream *stream, uint64_t step,
                                const float *values),
                   void *user, struct ij_err *reterr_err);

#endif
