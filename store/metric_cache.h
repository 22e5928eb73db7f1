/*
 * The writer's open summary buckets: per stream the bucket of each level that the newest frames
 * fall into. They are written when another bucket begins and before each commit, so that on disk
 * frames and summaries always agree. Internal to store/.
 */
#ifndef STORE_METRIC_CACHE_H
#define STORE_METRIC_CACHE_H

#include <stdint.h>

#include "store/metric_lod.h"
#include "store/store.h"

struct metric_cache;

struct metric_cache_bucket {
    bool loaded, dirty;
    uint64_t index; /* step >> shift */
    uint64_t frames;
    struct metric_lod_key *keys;
};

struct metric_cache_stream {
    int64_t id; /* 0: a free place */
    size_t keys;
    bool any; /* it has frames; the newest is last_step */
    uint64_t last_step, used;
    struct metric_cache_bucket levels[METRIC_LOD_LEVELS];
};

void metric_cache_free(struct metric_cache *cache); /* NULL is fine; writes nothing */
/* Forgets everything: after a rollback or a delete. */
void metric_cache_drop(struct store *store);
/* The stream's entry, loaded if need be. IJ_NOT_FOUND: no such stream. */
IJ_MUST_USE enum ij_status metric_cache_get(struct store *store, int64_t stream,
                                            struct metric_cache_stream **ret_stream,
                                            struct ij_err *reterr_err);
/* Adds a frame of a step that the stream does not have yet. */
IJ_MUST_USE enum ij_status metric_cache_add(struct store *store, struct metric_cache_stream *stream,
                                            uint64_t step, const float *values,
                                            struct ij_err *reterr_err);
/* Makes the buckets of `step` anew from the frames: one of them was replaced. */
IJ_MUST_USE enum ij_status metric_cache_rebuild(struct store *store,
                                                struct metric_cache_stream *stream, uint64_t step,
                                                struct ij_err *reterr_err);
/* Writes every dirty bucket. */
IJ_MUST_USE enum ij_status metric_cache_flush(struct store *store, struct ij_err *reterr_err);

#endif
