/*
 * See metric_store.h. A failure inside the open transaction loses all that was pending, since
 * SQLite may have rolled it back; it is kept in `metrics_failed` until the next commit reports it,
 * so that no lost frame is ever acknowledged. Streams are committed as they are made: their ids
 * stay valid.
 */
#include "store/metric_store.h"

#include <jansson.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "store/handle.h"
#include "store/metric_cache.h"

#define STEP_MAX   (1ULL << 62)
#define DELETE_MAX 10000

static bool is_key(const char *key)
{
    size_t n = strnlen(key, METRIC_STORE_KEY_MAX + 1);
    for (size_t i = 0; i < n; i++)
        if (key[i] <= ' ' || key[i] >= 0x7f || strchr("\",\\", key[i]))
            return false;
    return n >= 1 && n <= METRIC_STORE_KEY_MAX;
}

static enum ij_status check_key(const char *key, struct ij_err *reterr_err)
{
    if (is_key(key))
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "keys",
                        "a metric's key must be 1 to %d printable characters without space, quote, "
                        "comma or backslash, not \"%.100s\"",
                        METRIC_STORE_KEY_MAX, key);
}

static enum ij_status check_stream(int64_t run, int32_t attempt, const char *name,
                                   const char *const *keys, size_t count, struct ij_err *reterr_err)
{
    if (run < METRIC_STORE_MACHINE || attempt < 1)
        return IJ_ERR(reterr_err, IJ_INVALID, "a stream needs a run and an attempt");
    if (!text_is_name(name))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "name",
                            "a stream's name must be 1 to %d of [A-Za-z0-9._-], not \"%.100s\"",
                            METRIC_STORE_STREAM_MAX, name);
    if (count < 1 || count > METRIC_STORE_KEYS_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "keys", "a stream has 1 to %d keys, not %zu",
                            METRIC_STORE_KEYS_MAX, count);
    for (size_t i = 0; i < count; i++) {
        IJ_TRY(check_key(keys[i], reterr_err));
        for (size_t j = 0; j < i; j++)
            if (strcmp(keys[i], keys[j]) == 0)
                return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "keys", "the key \"%s\" is there twice",
                                    keys[i]);
    }
    return IJ_OK;
}

static char *keys_text(const char *const *keys, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < count; i++)
        if (json_array_append_new(array, json_string(keys[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    char *text = array ? json_dumps(array, JSON_COMPACT) : NULL;
    json_decref(array);
    return text;
}

/* All that was pending is gone: remembered, and still counted as pending, until a commit asks. */
static enum ij_status lose(struct store *store, enum ij_status status)
{
    db_rollback(&store->metrics);
    metric_cache_drop(store);
    store->metrics_pending += store->metrics_pending == 0;
    store->metrics_failed = status;
    return status;
}

static enum ij_status commit_pending(struct store *store, struct ij_err *reterr_err)
{
    if (!store->metrics.begun)
        return IJ_OK;
    enum ij_status status = metric_cache_flush(store, reterr_err);
    if (status == IJ_OK)
        status = db_commit(&store->metrics, reterr_err);
    if (status != IJ_OK)
        return lose(store, status);
    store->metrics_pending = 0;
    return IJ_OK;
}

enum ij_status metric_store_commit(struct store *store, struct ij_err *reterr_err)
{
    enum ij_status failed = store->metrics_failed, status = IJ_OK;
    if (failed == IJ_OK)
        status = commit_pending(store, reterr_err);
    else
        status = IJ_ERR_FIELD(reterr_err, failed, store->metrics.path,
                              "frames since the last commit were lost by a failure (%s); send them "
                              "again",
                              ij_status_name(failed));
    store->metrics_failed = IJ_OK; /* told now */
    store->metrics_pending = 0;
    return status;
}

size_t metric_store_pending(const struct store *store)
{
    return store->metrics_pending;
}

/* Before a write of its own transaction. What fails here is told by the next commit too. */
static enum ij_status begin_apart(struct store *store, struct ij_err *reterr_err)
{
    IJ_TRY(commit_pending(store, reterr_err));
    return db_begin(&store->metrics, reterr_err);
}

static enum ij_status finish_apart(struct store *store, enum ij_status status,
                                   struct ij_err *reterr_err)
{
    if (status == IJ_OK)
        return db_commit(&store->metrics, reterr_err);
    db_rollback(&store->metrics);
    return status;
}

static enum ij_status find_stream(struct store *store, int64_t run, int32_t attempt,
                                  const char *name, const char *keys, int64_t *ret_stream,
                                  struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->metrics,
                    "SELECT id FROM stream WHERE run=? AND attempt=? AND name=? AND keys=?", &q,
                    reterr_err));
    db_put_int(&q, run);
    db_put_int(&q, attempt);
    db_put_text(&q, name);
    db_put_text(&q, keys);
    IJ_TRY(db_next(&q, &found, reterr_err));
    *ret_stream = found ? db_int(&q) : 0;
    return IJ_OK;
}

static enum ij_status check_room(struct store *store, int64_t run, int32_t attempt,
                                 struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->metrics, "SELECT count(*) FROM stream WHERE run=? AND attempt=?", &q,
                    reterr_err));
    db_put_int(&q, run);
    db_put_int(&q, attempt);
    IJ_TRY(db_next(&q, &found, reterr_err));
    if (db_int(&q) >= METRIC_STORE_STREAMS_MAX)
        return IJ_ERR(reterr_err, IJ_INVALID, "one attempt of a run has at most %d streams",
                      METRIC_STORE_STREAMS_MAX);
    return IJ_OK;
}

static enum ij_status insert_stream(struct store *store, int64_t run, int32_t attempt,
                                    const char *name, const char *keys, int64_t *ret_stream,
                                    struct ij_err *reterr_err)
{
    IJ_TRY(check_room(store, run, attempt, reterr_err));
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->metrics, "INSERT INTO stream(run,attempt,name,keys)VALUES(?,?,?,?)", &q,
                    reterr_err));
    db_put_int(&q, run);
    db_put_int(&q, attempt);
    db_put_text(&q, name);
    db_put_text(&q, keys);
    IJ_TRY(db_run(&q, NULL, reterr_err));
    *ret_stream = db_last_id(&store->metrics);
    return IJ_OK;
}

enum ij_status metric_store_stream(struct store *store, int64_t run, int32_t attempt,
                                   const char *name, const char *const *keys, size_t count,
                                   int64_t *ret_stream, struct ij_err *reterr_err)
{
    IJ_TRY(check_stream(run, attempt, name, keys, count, reterr_err));
    char *text = keys_text(keys, count);
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a stream's keys");
    enum ij_status status = find_stream(store, run, attempt, name, text, ret_stream, reterr_err);
    if (status == IJ_OK && *ret_stream == 0) {
        status = begin_apart(store, reterr_err);
        if (status == IJ_OK)
            status = finish_apart(
                store, insert_stream(store, run, attempt, name, text, ret_stream, reterr_err),
                reterr_err);
    }
    free(text);
    return status;
}

/* *ret_same: the frame is there with these very bytes. */
static enum ij_status look_at_frame(struct store *store, int64_t stream, uint64_t step,
                                    const void *values, size_t size, bool *ret_found,
                                    bool *ret_same, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    size_t stored = 0;
    IJ_TRY(
        db_start(&store->metrics, "SELECT v FROM frame WHERE stream=? AND step=?", &q, reterr_err));
    db_put_int(&q, stream);
    db_put_int(&q, (int64_t)step);
    IJ_TRY(db_next(&q, ret_found, reterr_err));
    const void *blob = *ret_found ? db_blob(&q, &stored) : NULL;
    *ret_same = stored == size && (size == 0 || memcmp(blob, values, size) == 0);
    return IJ_OK;
}

static enum ij_status write_frame(struct store *store, int64_t stream, uint64_t step, int64_t ts_ms,
                                  const float *values, size_t count, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->metrics,
                    "INSERT INTO frame(stream,step,ts_ms,v)VALUES(?,?,?,?)"
                    " ON CONFLICT(stream,step) DO UPDATE SET ts_ms=excluded.ts_ms,v=excluded.v",
                    &q, reterr_err));
    db_put_int(&q, stream);
    db_put_int(&q, (int64_t)step);
    db_put_int(&q, ts_ms);
    db_put_blob(&q, values, count * sizeof values[0]);
    return db_run(&q, NULL, reterr_err);
}

static enum ij_status put_frame(struct store *store, struct metric_cache_stream *stream,
                                uint64_t step, int64_t ts_ms, const float *values,
                                struct ij_err *reterr_err)
{
    bool found = false, same = false;
    if (stream->any && step <= stream->last_step)
        IJ_TRY(look_at_frame(store, stream->id, step, values, stream->keys * sizeof values[0],
                             &found, &same, reterr_err));
    if (same)
        return IJ_OK;
    IJ_TRY(write_frame(store, stream->id, step, ts_ms, values, stream->keys, reterr_err));
    if (found)
        return metric_cache_rebuild(store, stream, step, reterr_err);
    return metric_cache_add(store, stream, step, values, reterr_err);
}

static enum ij_status check_put(struct store *store, uint64_t step, struct ij_err *reterr_err)
{
    if (store->metrics_failed != IJ_OK)
        return IJ_ERR_FIELD(reterr_err, store->metrics_failed, store->metrics.path,
                            "frames were lost by a failure that no commit has reported yet");
    if (step > STEP_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "step", "a step is at most 2^62");
    return IJ_OK;
}

/* A frame that is wrong in itself spoils nothing, and leaves no empty transaction open. */
static enum ij_status refuse(struct store *store, enum ij_status status)
{
    if (store->metrics_pending == 0)
        db_rollback(&store->metrics);
    return status;
}

enum ij_status metric_store_put(struct store *store, int64_t id, uint64_t step, int64_t ts_ms,
                                const float *values, size_t count, struct ij_err *reterr_err)
{
    struct metric_cache_stream *stream;
    IJ_TRY(check_put(store, step, reterr_err));
    if (!store->metrics.begun)
        IJ_TRY(db_begin(&store->metrics, reterr_err));
    enum ij_status status = metric_cache_get(store, id, &stream, reterr_err);
    if (status == IJ_OK && stream->keys != count)
        status = IJ_ERR_FIELD(reterr_err, IJ_INVALID, "values",
                              "stream %lld has %zu keys, the frame %zu values", (long long)id,
                              stream->keys, count);
    if (status == IJ_NOT_FOUND || status == IJ_INVALID)
        return refuse(store, status);
    if (status == IJ_OK)
        status = put_frame(store, stream, step, ts_ms, values, reterr_err);
    if (status != IJ_OK)
        return lose(store, status);
    store->metrics_pending += count * sizeof values[0] + 24;
    return IJ_OK;
}

/* From scratch (step 0): nothing of the older attempts remains, their step 0 included. */
static enum ij_status mark_dead(struct store *store, int64_t run, int32_t attempt, uint64_t step,
                                struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->metrics,
                    "UPDATE stream SET dead_after=min(coalesce(dead_after,?3),?3)"
                    " WHERE run=?1 AND attempt<?2",
                    &q, reterr_err));
    db_put_int(&q, run);
    db_put_int(&q, attempt);
    db_put_int(&q, step == 0 ? -1 : (int64_t)step);
    return db_run(&q, NULL, reterr_err);
}

enum ij_status metric_store_supersede(struct store *store, int64_t run, int32_t attempt,
                                      uint64_t step, struct ij_err *reterr_err)
{
    if (step > STEP_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "step", "a step is at most 2^62");
    IJ_TRY(begin_apart(store, reterr_err));
    return finish_apart(store, mark_dead(store, run, attempt, step, reterr_err), reterr_err);
}

static enum ij_status delete_by_run(struct store *store, const char *sql, int64_t run,
                                    int64_t *ret_changes, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->metrics, sql, &q, reterr_err));
    db_put_int(&q, run);
    return db_run(&q, ret_changes, reterr_err);
}

/* Frames first, a part at a time; once they are gone, summaries and the streams themselves. */
static enum ij_status delete_part(struct store *store, int64_t run, bool *ret_done,
                                  struct ij_err *reterr_err)
{
    int64_t changes;
    *ret_done = false;
    IJ_TRY(delete_by_run(store,
                         "DELETE FROM frame WHERE (stream,step) IN(SELECT frame.stream,frame.step"
                         " FROM stream JOIN frame ON frame.stream=stream.id WHERE stream.run=?"
                         " LIMIT 10000)",
                         run, &changes, reterr_err));
    if (changes >= DELETE_MAX)
        return IJ_OK;
    IJ_TRY(delete_by_run(store,
                         "DELETE FROM frame_lod WHERE stream IN(SELECT id FROM stream WHERE run=?)",
                         run, &changes, reterr_err));
    *ret_done = true;
    return delete_by_run(store, "DELETE FROM stream WHERE run=?", run, &changes, reterr_err);
}

enum ij_status metric_store_delete_run(struct store *store, int64_t run, bool *ret_done,
                                       struct ij_err *reterr_err)
{
    IJ_TRY(begin_apart(store, reterr_err));
    metric_cache_drop(store);
    IJ_TRY(finish_apart(store, delete_part(store, run, ret_done, reterr_err), reterr_err));
    return db_exec(&store->metrics, "PRAGMA incremental_vacuum(2000)", reterr_err);
}

/* ---- Trimming -------------------------------------------------------------------------------- */

static enum ij_status trim_summaries(struct store *store, int64_t run, int level, uint64_t before,
                                     struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->metrics,
                    "DELETE FROM frame_lod WHERE stream IN(SELECT id FROM stream WHERE run=?)"
                    " AND lvl=? AND bucket<?",
                    &q, reterr_err));
    db_put_int(&q, run);
    db_put_int(&q, (int64_t)metric_lod_shift[level]);
    db_put_int(&q, (int64_t)(before >> metric_lod_shift[level]));
    return db_run(&q, NULL, reterr_err);
}

static enum ij_status trim_part(struct store *store, int64_t run, uint64_t before,
                                uint64_t summaries_before, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->metrics,
                    "DELETE FROM frame WHERE (stream,step) IN(SELECT frame.stream,frame.step"
                    " FROM stream JOIN frame ON frame.stream=stream.id WHERE stream.run=?"
                    " AND frame.step<? LIMIT 10000)",
                    &q, reterr_err));
    db_put_int(&q, run);
    db_put_int(&q, (int64_t)before);
    IJ_TRY(db_run(&q, NULL, reterr_err));
    for (int level = 0; level < METRIC_LOD_LEVELS; level++)
        IJ_TRY(trim_summaries(store, run, level, summaries_before, reterr_err));
    return IJ_OK;
}

enum ij_status metric_store_trim(struct store *store, int64_t run, uint64_t before,
                                 uint64_t summaries_before, struct ij_err *reterr_err)
{
    if (before > STEP_MAX || summaries_before > STEP_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "step", "a step is at most 2^62");
    IJ_TRY(begin_apart(store, reterr_err));
    return finish_apart(store, trim_part(store, run, before, summaries_before, reterr_err),
                        reterr_err);
}
