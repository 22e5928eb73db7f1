/*
 * See metric_scan.h. A span of steps splits into a head, whole buckets of the coarsest summary that
 * is not coarser than the asked width, and a tail; head and tail go one level finer, down to
 * frames.
 */
#include "store/metric_scan.h"

#include <float.h>
#include <math.h>
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

/*
 * Frames arrive by step, so many in a row fall into one bucket: they are gathered in plain arrays,
 * which the compiler works on several keys at a time, and merged into the cells at the row's end.
 */
struct gathered {
    struct metric_scan *scan;
    bool any;
    size_t row, columns;
    uint64_t frames;
    uint16_t key[METRIC_STORE_KEYS_MAX], column[METRIC_STORE_KEYS_MAX]; /* by wanted column */
    float value[METRIC_STORE_KEYS_MAX], min[METRIC_STORE_KEYS_MAX], max[METRIC_STORE_KEYS_MAX];
    float last[METRIC_STORE_KEYS_MAX];
    uint32_t finite[METRIC_STORE_KEYS_MAX];
    double sum[METRIC_STORE_KEYS_MAX];
    uint64_t last_step[METRIC_STORE_KEYS_MAX];
};

static void begin_row(struct gathered *g, size_t row)
{
    g->any = true;
    g->row = row;
    g->frames = 0;
    for (size_t c = 0; c < g->columns; c++) {
        g->min[c] = INFINITY;
        g->max[c] = -INFINITY;
        g->last[c] = 0;
        g->finite[c] = 0;
        g->sum[c] = 0;
        g->last_step[c] = 0;
    }
}

static void end_row(struct gathered *g)
{
    if (!g->any)
        return;
    struct metric_lod_key *cells = g->scan->cells + g->row * g->scan->columns;
    for (size_t c = 0; c < g->columns; c++) {
        struct metric_lod_key key = {g->min[c],    g->max[c], g->last[c],
                                     g->finite[c], g->sum[c], g->last_step[c]};
        metric_lod_merge(&cells[g->column[c]], &key);
        g->scan->counts[g->column[c]] += g->frames;
    }
    g->scan->frames[g->row] += g->frames;
}

static void add_values(struct gathered *g, uint64_t step)
{
    for (size_t c = 0; c < g->columns; c++) {
        float value = g->value[c];
        bool finite = fabsf(value) <= FLT_MAX;
        g->min[c] = finite && value < g->min[c] ? value : g->min[c];
        g->max[c] = finite && value > g->max[c] ? value : g->max[c];
        g->last[c] = finite ? value : g->last[c];
        g->last_step[c] = finite ? step : g->last_step[c];
        g->sum[c] += finite ? (double)value : 0.0;
        g->finite[c] += finite;
    }
}

static void gather_frame(void *user, const struct metric_plan_stream *stream, uint64_t step,
                         const float *values)
{
    struct gathered *g = user;
    size_t row = (size_t)((step >> g->scan->shift) - g->scan->base);
    (void)stream;
    if (!g->any || row != g->row) {
        end_row(g);
        begin_row(g, row);
    }
    for (size_t c = 0; c < g->columns; c++)
        g->value[c] = values[g->key[c]];
    add_values(g, step);
    g->frames++;
}

static enum ij_status scan_frames(struct store *store, struct metric_scan *scan,
                                  const struct metric_plan_stream *stream, uint64_t from,
                                  uint64_t to, struct ij_err *reterr_err)
{
    struct gathered g;
    g.scan = scan;
    g.any = false;
    g.columns = 0;
    for (size_t k = 0; k < stream->keys; k++)
        if (stream->column[k] != METRIC_PLAN_UNUSED) {
            g.key[g.columns] = (uint16_t)k;
            g.column[g.columns++] = stream->column[k];
        }
    enum ij_status status =
        metric_scan_frames(store, stream, from, to, gather_frame, &g, reterr_err);
    end_row(&g);
    return status;
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
        return scan_frames(store, scan, stream, from, to, reterr_err);
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
