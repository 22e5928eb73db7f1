/*
 * Metrics: streams of frames in metrics.db. A stream is (run, attempt, name, list of keys); a frame
 * is one float32 per key at one step. Summaries over 64 and 4096 steps are kept beside the frames
 * in the same transaction.
 *
 * Group commit: the first metric_store_put opens a transaction, metric_store_commit ends it. Only
 * what a successful commit covered may be acknowledged. Everything is idempotent: after a failed
 * commit, or a crash, send again.
 */
#ifndef STORE_METRIC_STORE_H
#define STORE_METRIC_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

#define METRIC_STORE_MACHINE  0   /* the "run" of what belongs to none: samples of the GPUs */
#define METRIC_STORE_KEYS_MAX 256 /* keys per stream */
#define METRIC_STORE_KEY_MAX                                                                       \
    96 /* bytes of a key: printable ASCII without space, '"', ',' and '\' */
#define METRIC_STORE_STREAM_MAX  64  /* bytes of a stream's name, as text_is_name */
#define METRIC_STORE_STREAMS_MAX 256 /* streams per run and attempt */

/* Finds or creates a stream. A list of keys that changes is another stream. */
IJ_MUST_USE enum ij_status metric_store_stream(struct store *store, int64_t run, int32_t attempt,
                                               const char *name, const char *const *keys,
                                               size_t count, int64_t *ret_stream,
                                               struct ij_err *reterr_err);
/* One frame; `count` must be the stream's number of keys. Replaces the frame of the same step. Any
 * order of steps is right; growing steps are fast. */
IJ_MUST_USE enum ij_status metric_store_put(struct store *store, int64_t stream, uint64_t step,
                                            int64_t ts_ms, const float *values, size_t count,
                                            struct ij_err *reterr_err);
/* A new attempt goes on from `step`: frames of older attempts above it are no longer read. */
IJ_MUST_USE enum ij_status metric_store_supersede(struct store *store, int64_t run, int32_t attempt,
                                                  uint64_t step, struct ij_err *reterr_err);
/* Nothing pending: IJ_OK at once. On failure all that was pending is rolled back. */
IJ_MUST_USE enum ij_status metric_store_commit(struct store *store, struct ij_err *reterr_err);
/* Bytes put since the last commit; not 0 either while a loss waits to be told by the next one. */
size_t metric_store_pending(const struct store *store);
/* Removes every stream of a run, at most 10,000 frames a call; *ret_done when nothing is left. The
 * file shrinks with the next checkpoint. */
IJ_MUST_USE enum ij_status metric_store_delete_run(struct store *store, int64_t run, bool *ret_done,
                                                   struct ij_err *reterr_err);
/* Removes what the streams of a run hold below step `before`, at most 10,000 frames a call, and of
 * summaries what lies wholly below `summaries_before`. Its own transaction. */
IJ_MUST_USE enum ij_status metric_store_trim(struct store *store, int64_t run, uint64_t before,
                                             uint64_t summaries_before, struct ij_err *reterr_err);

#endif
