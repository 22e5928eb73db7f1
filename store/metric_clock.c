/* See metric_clock.h. */
#include "store/metric_clock.h"

#include "store/handle.h"

#define STREAMS_MAX (METRIC_CLOCK_MAX / 2) /* each needs two points; older ones are left out */

struct span {
    int64_t stream;
    uint64_t lo, hi;
};

/* The newest streams that have frames which count, oldest first. */
static enum ij_status find_spans(struct store *store, int64_t run, struct span *spans,
                                 size_t *ret_count, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    size_t count = 0;
    IJ_TRY(db_start(&store->metrics,
                    "SELECT id,lo,hi FROM(SELECT s.id,s.attempt,"
                    "(SELECT min(step) FROM frame WHERE stream=s.id) AS lo,"
                    "(SELECT max(step) FROM frame WHERE stream=s.id AND"
                    " step<=coalesce(s.dead_after,9223372036854775807)) AS hi"
                    " FROM stream s WHERE run=? AND name='train' AND coalesce(dead_after,0)>=0"
                    " ORDER BY s.attempt DESC,s.id DESC LIMIT ?)"
                    " WHERE hi IS NOT NULL ORDER BY attempt,lo",
                    &q, reterr_err));
    db_put_int(&q, run);
    db_put_int(&q, STREAMS_MAX);
    for (bool found = true; count < STREAMS_MAX;) {
        IJ_TRY(db_next(&q, &found, reterr_err));
        if (!found)
            break;
        spans[count].stream = db_int(&q);
        spans[count].lo = (uint64_t)db_int(&q);
        spans[count++].hi = (uint64_t)db_int(&q);
    }
    *ret_count = count;
    return IJ_OK;
}

/* The first frame at `step` or later; there is one up to `hi`. */
static enum ij_status read_point(struct store *store, const struct span *span, uint64_t step,
                                 struct metric_clock_point *ret_point, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->metrics,
                    "SELECT step,ts_ms FROM frame WHERE stream=? AND step>=? ORDER BY step LIMIT 1",
                    &q, reterr_err));
    db_put_int(&q, span->stream);
    db_put_int(&q, (int64_t)step);
    IJ_TRY(db_next(&q, &found, reterr_err));
    ret_point->step = found ? (uint64_t)db_int(&q) : step;
    ret_point->ts_ms = found ? db_int(&q) : 0;
    return IJ_OK;
}

/* Keeps what goes on from the points before: streams of one attempt may interleave. */
static void append(struct metric_clock_point *points, size_t *count,
                   const struct metric_clock_point *point)
{
    if (*count && point->step <= points[*count - 1].step)
        return;
    points[*count] = *point;
    if (*count && point->ts_ms < points[*count - 1].ts_ms)
        points[*count].ts_ms = points[*count - 1].ts_ms;
    (*count)++;
}

enum ij_status metric_clock(struct store *store, int64_t run,
                            struct metric_clock_point ret_points[METRIC_CLOCK_MAX],
                            size_t *ret_count, struct ij_err *reterr_err)
{
    struct span spans[STREAMS_MAX];
    size_t span_count;
    *ret_count = 0;
    IJ_TRY(find_spans(store, run, spans, &span_count, reterr_err));
    size_t each = span_count ? METRIC_CLOCK_MAX / span_count : 0;
    for (size_t s = 0; s < span_count; s++) {
        uint64_t length = spans[s].hi - spans[s].lo;
        for (size_t k = 0; k < each; k++) {
            struct metric_clock_point point;
            uint64_t step =
                spans[s].lo + (uint64_t)((double)length * (double)k / (double)(each - 1));
            if (k + 1 == each)
                step = spans[s].hi;
            IJ_TRY(read_point(store, &spans[s], step, &point, reterr_err));
            append(ret_points, ret_count, &point);
        }
    }
    return IJ_OK;
}
