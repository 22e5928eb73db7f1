/*
 * See metric_raw.h. The streams of a table nearly always follow each other in steps; where they do
 * not (seams between attempts, keys that change back), rows are sorted and equal steps merged, the
 * newer attempt's values on top.
 */
#include "store/metric_raw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/handle.h"
#include "store/metric_scan.h"

static enum ij_status count_frames(struct store *store, const struct metric_plan_stream *stream,
                                   uint64_t max, uint64_t *ret_count, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->metrics,
                    "SELECT count(*) FROM(SELECT 1 FROM frame WHERE stream=?"
                    " AND step BETWEEN ? AND ? LIMIT ?)",
                    &q, reterr_err));
    db_put_int(&q, stream->id);
    db_put_int(&q, (int64_t)stream->lo);
    db_put_int(&q, (int64_t)stream->hi);
    db_put_int(&q, (int64_t)max + 1);
    IJ_TRY(db_next(&q, &found, reterr_err));
    *ret_count = (uint64_t)db_int(&q);
    return IJ_OK;
}

enum ij_status metric_raw_check(struct store *store, const struct metric_plan *plan, uint64_t max,
                                struct ij_err *reterr_err)
{
    uint64_t points = 0;
    for (size_t i = 0; i < plan->stream_count; i++) {
        uint64_t frames;
        IJ_TRY(count_frames(store, &plan->streams[i], max, &frames, reterr_err));
        points += frames * plan->streams[i].columns;
        if (points > max)
            return IJ_ERR_FIELD(reterr_err, IJ_TOO_LARGE, "agg",
                                "there are more than %llu points: ask for buckets, fewer keys or a "
                                "shorter range of steps",
                                (unsigned long long)max);
    }
    return IJ_OK;
}

void metric_raw_done(struct metric_raw *raw)
{
    mem_free(raw->steps);
    mem_free(raw->present);
    mem_free(raw->values);
    mem_free(raw->counts);
    mem_free(raw->nonfinite);
    *raw = (struct metric_raw){.rows = 0};
}

static bool reserve_row(struct metric_raw *raw)
{
    if (raw->rows < raw->capacity)
        return true;
    size_t next = raw->capacity ? 2 * raw->capacity : 256;
    uint64_t *steps = mem_grow(raw->steps, next, sizeof *steps);
    if (steps)
        raw->steps = steps;
    float *values = mem_grow(raw->values, next * raw->columns, sizeof *values);
    if (values)
        raw->values = values;
    const struct metric_plan_stream **present = mem_grow(raw->present, next, sizeof *present);
    if (present)
        raw->present = present;
    if (steps && values && present)
        raw->capacity = next;
    return steps && values && present;
}

static void add_frame(void *user, const struct metric_plan_stream *stream, uint64_t step,
                      const float *values)
{
    struct metric_raw *raw = user;
    if (raw->failed)
        return;
    if (!reserve_row(raw)) {
        raw->failed = true;
        return;
    }
    size_t row = raw->rows++;
    raw->unsorted = raw->unsorted || (row > 0 && step <= raw->steps[row - 1]);
    raw->steps[row] = step;
    for (size_t c = 0; c < raw->columns; c++)
        raw->values[row * raw->columns + c] = NAN;
    raw->present[row] = stream;
    for (size_t k = 0; k < stream->keys; k++) {
        uint16_t column = stream->column[k];
        if (column == METRIC_PLAN_UNUSED)
            continue;
        raw->values[row * raw->columns + column] = values[k];
        raw->counts[column]++;
        raw->nonfinite[column] += !isfinite(values[k]);
    }
}

struct place {
    uint64_t step;
    size_t row;
};

static int by_step_then_row(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Lays one row over another: only the columns that its stream has. */
static void overlay(float *to, const float *from, const struct metric_plan_stream *stream)
{
    for (size_t k = 0; k < stream->keys; k++)
        if (stream->column[k] != METRIC_PLAN_UNUSED)
            to[stream->column[k]] = from[stream->column[k]];
}

static bool sort_rows(struct metric_raw *raw)
{
    size_t columns = raw->columns, rows = 0;
    struct place *places = mem_array(struct place, raw->rows);
    float *values = mem_alloc_zero(raw->rows * columns, sizeof *values);
    for (size_t i = 0; places && i < raw->rows; i++)
        places[i] = (struct place){raw->steps[i], i};
    if (places && values)
        qsort(places, raw->rows, sizeof *places, by_step_then_row);
    for (size_t i = 0; places && values && i < raw->rows; i++) {
        const float *from = raw->values + places[i].row * columns;
        if (rows > 0 && raw->steps[rows - 1] == places[i].step) {
            overlay(values + (rows - 1) * columns, from, raw->present[places[i].row]);
            continue;
        }
        raw->steps[rows] = places[i].step;
        memcpy(values + rows++ * columns, from, columns * sizeof *values);
    }
    bool good = places && values;
    mem_free(places);
    mem_free(good ? raw->values : values);
    if (good) {
        raw->values = values;
        raw->rows = raw->capacity = rows;
    }
    return good;
}

static enum ij_status read_streams(struct store *store, const struct metric_plan *plan,
                                   size_t table, struct metric_raw *raw, struct ij_err *reterr_err)
{
    for (size_t i = 0; i < plan->stream_count; i++) {
        const struct metric_plan_stream *stream = &plan->streams[i];
        if (stream->table == table)
            IJ_TRY(metric_scan_frames(store, stream, stream->lo, stream->hi, add_frame, raw,
                                      reterr_err));
    }
    return IJ_OK;
}

enum ij_status metric_raw_read(struct store *store, const struct metric_plan *plan, size_t table,
                               struct metric_raw *ret_raw, struct ij_err *reterr_err)
{
    struct metric_raw raw = {.columns = plan->tables[table].columns};
    raw.counts = mem_array(uint64_t, raw.columns);
    raw.nonfinite = mem_array(uint64_t, raw.columns);
    raw.failed = !raw.counts || !raw.nonfinite;
    enum ij_status status = IJ_OK;
    if (!raw.failed)
        status = read_streams(store, plan, table, &raw, reterr_err);
    if (status == IJ_OK && !raw.failed && raw.unsorted)
        raw.failed = !sort_rows(&raw);
    if (status == IJ_OK && raw.failed)
        status = IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a metric query");
    if (status == IJ_OK)
        *ret_raw = raw;
    else
        metric_raw_done(&raw);
    return status;
}
