/*
 * Reading metrics: a few keys of a few runs over a range of steps, either as they are or in buckets
 * of min, max, mean and last. Buckets are a power of two wide and begin at multiples of their
 * width, so an old bucket never moves when points arrive. Frames of superseded attempts are
 * seen only when they are asked for.
 */
#ifndef STORE_METRIC_QUERY_H
#define STORE_METRIC_QUERY_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

#define METRIC_QUERY_RUNS_MAX   50
#define METRIC_QUERY_KEYS_MAX   100
#define METRIC_QUERY_POINTS_MAX 10000   /* buckets per series */
#define METRIC_QUERY_CELLS_MAX  1000000 /* buckets of all series together */
#define METRIC_QUERY_SCAN_MAX   65536   /* steps read by frame; beyond, buckets are 64 or wider */
#define METRIC_QUERY_RAW_MAX    100000  /* points of all series together when `raw` */

struct metric_query {
    const int64_t *runs;
    size_t run_count;        /* 1..METRIC_QUERY_RUNS_MAX */
    const char *const *keys; /* as in the stream ("loss") or with its name ("train/loss") */
    size_t key_count;        /* 1..METRIC_QUERY_KEYS_MAX */
    uint64_t from, to;       /* steps, both inclusive; to UINT64_MAX: to the end */
    uint32_t max_points;     /* buckets per series, 1..METRIC_QUERY_POINTS_MAX */
    bool raw;                /* every frame instead of buckets */
    bool superseded;         /* what later attempts replaced, instead of what counts */
};

/* One column. Arrays have the table's `rows` entries, NaN where nothing finite fell into the
 * bucket. Raw: only `last` is there (the value, which may be non-finite), the others are NULL. */
struct metric_series {
    const char *key; /* as stored; owned by the table */
    float *min, *max, *mean, *last;
    uint64_t count, nonfinite; /* frames behind the column; how many of them were not finite */
};

/* What shares one x: one run's stream, all its attempts together. */
struct metric_table {
    int64_t run;
    char stream[65];
    size_t rows, columns;
    uint64_t *step; /* first step of the bucket; raw: the step. Ascending. */
    struct metric_series *series;
    char *names; /* the keys' storage */
};

struct metric_result {
    struct metric_table
        *tables; /* in the order of `runs`, then by stream name; empty ones left out */
    size_t count;
    uint64_t width; /* steps per bucket; 1 when raw */
};
void metric_query_done(struct metric_result *result);

/* IJ_INVALID: counts outside their limits; IJ_TOO_LARGE: raw with more than METRIC_QUERY_RAW_MAX
 * points. A run or key that is not there gives no table or column. */
IJ_MUST_USE enum ij_status metric_query(struct store *store, const struct metric_query *query,
                                        struct metric_result *ret_result,
                                        struct ij_err *reterr_err);

struct metric_catalogue_entry {
    char stream[65], key[97];
    uint64_t count, nonfinite, first_step, last_step;
    float min, max, last; /* NaN when no value was finite */
};

/* Every key of a run, by stream and key; the caller frees *ret_entries with mem_free. */
IJ_MUST_USE enum ij_status metric_query_catalogue(struct store *store, int64_t run,
                                                  struct metric_catalogue_entry **ret_entries,
                                                  size_t *ret_count, struct ij_err *reterr_err);

#endif
