/*
 * What a metric query reads: the streams that hold the wanted keys, the tables they make up, and
 * the spans of steps in which they have frames that count. Internal to store/.
 */
#ifndef STORE_METRIC_PLAN_H
#define STORE_METRIC_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "store/metric_store.h"
#include "store/store.h"

#define METRIC_PLAN_UNUSED UINT16_MAX

/* One run's streams of one name. */
struct metric_plan_table {
    int64_t run;
    char stream[METRIC_STORE_STREAM_MAX + 1];
    size_t columns, capacity;
    char (*keys)[METRIC_STORE_KEY_MAX + 1]; /* one per column */
    bool any;                               /* it has frames in the range, from lo to hi */
    uint64_t lo, hi;
};

struct metric_plan_stream {
    int64_t id;
    size_t table;
    size_t keys, columns;                   /* in a frame; of those, wanted */
    uint16_t column[METRIC_STORE_KEYS_MAX]; /* of each key; METRIC_PLAN_UNUSED */
    bool any; /* it has frames in the range, the first at lo, the last at hi */
    uint64_t lo, hi;
    uint64_t from,
        to; /* what to read: lo and hi, moved out to the bucket where no frame is beyond */
};

struct metric_plan {
    struct metric_plan_table *tables;
    struct metric_plan_stream *streams; /* by table, then attempt */
    size_t table_count, stream_count, table_capacity, stream_capacity;
};

void metric_plan_done(struct metric_plan *plan);
/* Which streams of a run, and which of their frames. */
struct metric_plan_wish {
    int64_t run;
    const char *const *keys; /* NULL: all */
    size_t key_count;
    uint64_t from, to; /* steps, both inclusive */
    bool superseded;   /* the frames that later attempts replaced, instead of those that count */
};
IJ_MUST_USE enum ij_status metric_plan_add(struct store *store, struct metric_plan *plan,
                                           const struct metric_plan_wish *wish,
                                           struct ij_err *reterr_err);

#endif
