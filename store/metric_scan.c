/*
 * See metric_scan.h. A span of steps splits into a head, whole buckets of the coarsest summary that
 * is not coarser than the asked width, and a tail; head and tail go one level finer, down to frames.
 */
#include "store/metric_scan.h"

#include <string.h>

#include "base/mem.h"
#include "store/handle.h"

void metric_scan_done(struct metric_scan *scan)
{
    mem_free(scan->cells);
    mem_free(scan->frames);
    mem_free(scan->counts);
    *scan = (struct metric_scan){.rows = 0};
}

enum ij_status metric_scan_init(struct metric_scan *scan, unsigned shift, uint64_t lo, uint64_t hi,
                                size_t columns, struct ij_err *reterr_err)
{
    *scan = (struct metric_scan){.shift = shift, .base = lo >> shift, .columns = columns};
    scan->rows = (size_t)((hi >> shift) - scan->base + 1);
    scan->cells = mem_alloc_zero(scan->rows * columns, sizeof *scan->cells);
    scan->frames = mem_array(uint64_t, scan->rows);
    scan->counts = mem_array(uint64_t, columns);
    if (scan->cells && scan->frames && scan->counts)
        return IJ_OK;
    metric_scan_done(scan);
    return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a metric query");
}

static enum ij_status bad_size(int64_t stream, struct ij_err *reterr_err)
{
    return IJ_ERR(reterr_err, IJ_CORRUPT, "stream %lld has a frame or summary of the wrong size",
                  (long long)stream);
}

enum ij_status metric_scan_frames(struct store *store, const struct metric_plan_stream *stream,
                                  uint64_t from, uint64_t to,
                                  void (*each)(void *user, const struct metric_plan_stream *stream,
                                               uint64_t step, const float *values),
                                  void *user, struct ij_err *reterr_err)
{
    float values[METRIC_STORE_KEYS_MAX];
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->metrics,
                    "SELECT step,v FROM frame WHERE stream=? AND step BETWEEN ? AND ?"
                    " ORDER BY step",
                    &q, reterr_err));
    db_put_int(&q, stream->id);
    db_put_int(&q, (int64_t)from);
    db_put_int(&q, (int64_t)to);
    for (;;) {
        bool found;
        size_t size;
        IJ_TRY(db_next(&q, &found, reterr_err));
        if (!found)
            return IJ_OK;
        uint64_t step = (uint64_t)db_int(&q);
        const void *blob = db_blob(&q, &size);
        if (size != stream->keys * sizeof values[0])
            return bad_size(stream->id, reterr_err);
        memcpy(values, blob, size);
        each(user, stream, step, values);
    }
}

static void add_frame(void *user, const struct metric_plan_stream *stream, uint64_t step,
                      const float *values)
{
    struct metric_scan *scan = user;
    size_t row = (size_t)((step >> scan->shift) - scan->base);
    struct metric_lod_key *cells = scan->cells + row * scan->columns;
    for (size_t k = 0; k < stream->keys; k++) {
        uint16_t column = stream->column[k];
        if (column == METRIC_PLAN_UNUSED)
            continue;
        metric_lod_add(&cells[column], step, values[k]);
        scan->counts[column]++;
    }
    scan->frames[row]++;
}

static void add_summary(struct metric_scan *scan, const struct metric_plan_stream *stream,
                        uint64_t step, uint64_t frames, const char *blob)
{
    size_t row = (size_t)((step >> scan->shift) - scan->base);
    struct metric_lod_key *cells = scan->cells + row * scan->columns;
    for (size_t k = 0; k < stream->keys; k++) {
        uint16_t column = stream->column[k];
        if (column == METRIC_PLAN_UNUSED)
            continue;
        struct metric_lod_key key;
        memcpy(&key, blob + k * sizeof key, sizeof key);
        metric_lod_merge(&cells[column], &key);
        scan->counts[column] += frames;
    }
    scan->frames[row] += frames;
}

static enum ij_status scan_summaries(struct store *store, struct metric_scan *scan,
                                     const struct metric_plan_stream *stream, unsigned shift,
                                     uint64_t first, uint64_t last, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->metrics,
                    "SELECT bucket,n,v FROM frame_lod WHERE stream=? AND lvl=?"
                    " AND bucket BETWEEN ? AND ? ORDER BY bucket",
                    &q, reterr_err));
    db_put_int(&q, stream->id);
    db_put_int(&q, shift);
    db_put_int(&q, (int64_t)first);
    db_put_int(&q, (int64_t)last);
    for (;;) {
        bool found;
        size_t size;
        IJ_TRY(db_next(&q, &found, reterr_err));
        if (!found)
            return IJ_OK;
        uint64_t step = (uint64_t)db_int(&q) << shift;
        uint64_t frames = (uint64_t)db_int(&q);
        const char *blob = db_blob(&q, &size);
        if (size != stream->keys * sizeof(struct metric_lod_key))
            return bad_size(stream->id, reterr_err);
        add_summary(scan, stream, step, frames, blob);
    }
}

/* Steps from..to by summaries of `level` and finer; level -1: by frames. */
static enum ij_status scan_span(struct store *store, struct metric_scan *scan,
                                const struct metric_plan_stream *stream, int level, uint64_t from,
                                uint64_t to, struct ij_err *reterr_err)
{
    while (level >= 0 && metric_lod_shift[level] > scan->shift)
        level--;
    if (level < 0)
        return metric_scan_frames(store, stream, from, to, add_frame, scan, reterr_err);
    unsigned shift = metric_lod_shift[level];
    uint64_t first = (from + (1ULL << shift) - 1) >> shift; /* whole buckets: first..end-1 */
    uint64_t end = (to + 1) >> shift;
    if (first >= end)
        return scan_span(store, scan, stream, level - 1, from, to, reterr_err);
    if (from < first << shift)
        IJ_TRY(scan_span(store, scan, stream, level - 1, from, (first << shift) - 1, reterr_err));
    IJ_TRY(scan_summaries(store, scan, stream, shift, first, end - 1, reterr_err));
    if (end << shift <= to)
        IJ_TRY(scan_span(store, scan, stream, level - 1, end << shift, to, reterr_err));
    return IJ_OK;
}

enum ij_status metric_scan_stream(struct store *store, struct metric_scan *scan,
                                  const struct metric_plan_stream *stream,
                                  struct ij_err *reterr_err)
{
    return scan_span(store, scan, stream, METRIC_LOD_LEVELS - 1, stream->from, stream->to,
                     reterr_err);
}
