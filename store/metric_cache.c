/* See metric_cache.h. When more streams are live than fit, the one used longest ago is written
 * out. */
#include "store/metric_cache.h"

#include <string.h>

#include "base/mem.h"
#include "store/handle.h"

#define STREAMS_MAX 256

struct metric_cache {
    struct metric_cache_stream streams[STREAMS_MAX];
    uint64_t uses;
};

static const char frames_sql[] = "SELECT step,v FROM frame WHERE stream=? AND step BETWEEN ? AND ?";

static void forget(struct metric_cache_stream *stream)
{
    for (size_t i = 0; i < METRIC_LOD_LEVELS; i++)
        mem_free(stream->levels[i].keys);
    *stream = (struct metric_cache_stream){.id = 0};
}

void metric_cache_free(struct metric_cache *cache)
{
    for (size_t i = 0; cache && i < STREAMS_MAX; i++)
        forget(&cache->streams[i]);
    mem_free(cache);
}

void metric_cache_drop(struct store *store)
{
    metric_cache_free(store->cache);
    store->cache = NULL;
}

static enum ij_status write_bucket(struct store *store, const struct metric_cache_stream *stream,
                                   unsigned level, struct ij_err *reterr_err)
{
    const struct metric_cache_bucket *bucket = &stream->levels[level];
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->metrics,
                    "INSERT INTO frame_lod(stream,lvl,bucket,n,v)VALUES(?,?,?,?,?)"
                    " ON CONFLICT(stream,lvl,bucket) DO UPDATE SET n=excluded.n,v=excluded.v",
                    &q, reterr_err));
    db_put_int(&q, stream->id);
    db_put_int(&q, metric_lod_shift[level]);
    db_put_int(&q, (int64_t)bucket->index);
    db_put_int(&q, (int64_t)bucket->frames);
    db_put_blob(&q, bucket->keys, stream->keys * sizeof bucket->keys[0]);
    return db_run(&q, NULL, reterr_err);
}

static enum ij_status flush_bucket(struct store *store, struct metric_cache_stream *stream,
                                   unsigned level, struct ij_err *reterr_err)
{
    if (!stream->levels[level].dirty)
        return IJ_OK;
    IJ_TRY(write_bucket(store, stream, level, reterr_err));
    stream->levels[level].dirty = false;
    return IJ_OK;
}

static enum ij_status flush_stream(struct store *store, struct metric_cache_stream *stream,
                                   struct ij_err *reterr_err)
{
    for (unsigned level = 0; level < METRIC_LOD_LEVELS; level++)
        IJ_TRY(flush_bucket(store, stream, level, reterr_err));
    return IJ_OK;
}

enum ij_status metric_cache_flush(struct store *store, struct ij_err *reterr_err)
{
    for (size_t i = 0; store->cache && i < STREAMS_MAX; i++)
        if (store->cache->streams[i].id)
            IJ_TRY(flush_stream(store, &store->cache->streams[i], reterr_err));
    return IJ_OK;
}

static enum ij_status load_stream(struct store *store, int64_t id,
                                  struct metric_cache_stream *stream, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->metrics,
                    "SELECT json_array_length(keys),(SELECT step FROM frame WHERE stream=?1"
                    " ORDER BY step DESC LIMIT 1) AS newest,"
                    "EXISTS(SELECT 1 FROM frame WHERE stream=?1) FROM stream WHERE id=?1",
                    &q, reterr_err));
    db_put_int(&q, id);
    IJ_TRY(db_next(&q, &found, reterr_err));
    if (!found)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no stream %lld", (long long)id);
    stream->keys = (size_t)db_int(&q);
    stream->last_step = (uint64_t)db_int(&q);
    stream->any = db_int(&q) != 0;
    for (size_t i = 0; i < METRIC_LOD_LEVELS; i++) {
        stream->levels[i].keys = mem_array(struct metric_lod_key, stream->keys);
        if (!stream->levels[i].keys) {
            forget(stream);
            return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for metric summaries");
        }
    }
    stream->id = id;
    return IJ_OK;
}

/* The entry, or the place where it goes. */
static struct metric_cache_stream *find_place(struct metric_cache *cache, int64_t id)
{
    struct metric_cache_stream *oldest = &cache->streams[0];
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        struct metric_cache_stream *stream = &cache->streams[i];
        if (stream->id == id)
            return stream;
        if (stream->used < oldest->used) /* a free place was never used */
            oldest = stream;
    }
    return oldest;
}

enum ij_status metric_cache_get(struct store *store, int64_t id,
                                struct metric_cache_stream **ret_stream, struct ij_err *reterr_err)
{
    if (!store->cache)
        store->cache = mem_new(struct metric_cache);
    if (!store->cache)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for metric summaries");
    struct metric_cache_stream *stream = find_place(store->cache, id);
    if (stream->id != id || id == 0) {
        if (stream->id)
            IJ_TRY(flush_stream(store, stream, reterr_err));
        forget(stream);
        IJ_TRY(load_stream(store, id, stream, reterr_err));
    }
    stream->used = ++store->cache->uses;
    *ret_stream = stream;
    return IJ_OK;
}

static void clear_bucket(struct metric_cache_stream *stream, unsigned level, uint64_t index)
{
    struct metric_cache_bucket *bucket = &stream->levels[level];
    memset(bucket->keys, 0, stream->keys * sizeof bucket->keys[0]);
    bucket->frames = 0;
    bucket->index = index;
    bucket->loaded = true;
    bucket->dirty = false;
}

/* Makes `index` the open bucket of the level. */
static enum ij_status open_bucket(struct store *store, struct metric_cache_stream *stream,
                                  unsigned level, uint64_t index, struct ij_err *reterr_err)
{
    struct metric_cache_bucket *bucket = &stream->levels[level];
    if (bucket->loaded && bucket->index == index)
        return IJ_OK;
    IJ_TRY(flush_bucket(store, stream, level, reterr_err));
    clear_bucket(stream, level, index);
    if (!stream->any || index > stream->last_step >> metric_lod_shift[level])
        return IJ_OK; /* the usual case: nothing there yet */
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    size_t size;
    IJ_TRY(db_start(&store->metrics,
                    "SELECT n,v FROM frame_lod WHERE stream=? AND lvl=? AND bucket=?", &q,
                    reterr_err));
    db_put_int(&q, stream->id);
    db_put_int(&q, metric_lod_shift[level]);
    db_put_int(&q, (int64_t)index);
    IJ_TRY(db_next(&q, &found, reterr_err));
    if (!found)
        return IJ_OK;
    bucket->frames = (uint64_t)db_int(&q);
    const void *keys = db_blob(&q, &size);
    if (size != stream->keys * sizeof bucket->keys[0])
        return IJ_ERR(reterr_err, IJ_CORRUPT, "a summary of stream %lld has %zu bytes, not %zu",
                      (long long)stream->id, size, stream->keys * sizeof bucket->keys[0]);
    memcpy(bucket->keys, keys, size);
    return IJ_OK;
}

static void add_values(struct metric_cache_stream *stream, unsigned level, uint64_t step,
                       const float *values)
{
    struct metric_cache_bucket *bucket = &stream->levels[level];
    for (size_t i = 0; i < stream->keys; i++)
        metric_lod_add(&bucket->keys[i], step, values[i]);
    bucket->frames++;
    bucket->dirty = true;
}

enum ij_status metric_cache_add(struct store *store, struct metric_cache_stream *stream,
                                uint64_t step, const float *values, struct ij_err *reterr_err)
{
    for (unsigned level = 0; level < METRIC_LOD_LEVELS; level++) {
        IJ_TRY(open_bucket(store, stream, level, step >> metric_lod_shift[level], reterr_err));
        add_values(stream, level, step, values);
    }
    if (!stream->any || step > stream->last_step)
        stream->last_step = step;
    stream->any = true;
    return IJ_OK;
}

static enum ij_status rebuild_bucket(struct store *store, struct metric_cache_stream *stream,
                                     unsigned level, uint64_t index, struct ij_err *reterr_err)
{
    unsigned shift = metric_lod_shift[level];
    mem_auto float *values = mem_array(float, stream->keys);
    if (!values)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for metric summaries");
    if (stream->levels[level].index != index)
        IJ_TRY(flush_bucket(store, stream, level, reterr_err));
    clear_bucket(stream, level, index);
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->metrics, frames_sql, &q, reterr_err));
    db_put_int(&q, stream->id);
    db_put_int(&q, (int64_t)(index << shift));
    db_put_int(&q, (int64_t)(((index + 1) << shift) - 1));
    for (;;) {
        bool found;
        size_t size;
        IJ_TRY(db_next(&q, &found, reterr_err));
        if (!found)
            return IJ_OK;
        uint64_t step = (uint64_t)db_int(&q);
        const void *blob = db_blob(&q, &size);
        if (size != stream->keys * sizeof values[0])
            return IJ_ERR(reterr_err, IJ_CORRUPT, "a frame of stream %lld has %zu bytes, not %zu",
                          (long long)stream->id, size, stream->keys * sizeof values[0]);
        memcpy(values, blob, size);
        add_values(stream, level, step, values);
    }
}

enum ij_status metric_cache_rebuild(struct store *store, struct metric_cache_stream *stream,
                                    uint64_t step, struct ij_err *reterr_err)
{
    for (unsigned level = 0; level < METRIC_LOD_LEVELS; level++)
        IJ_TRY(rebuild_bucket(store, stream, level, step >> metric_lod_shift[level], reterr_err));
    return IJ_OK;
}
