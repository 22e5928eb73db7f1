/* See metric_query.h. */
#include "store/metric_query.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "store/handle.h"
#include "store/metric_cache.h"
#include "store/metric_plan.h"
#include "store/metric_raw.h"
#include "store/metric_scan.h"

#define ALL_STEPS_SHIFT 63

static void free_table(struct metric_table *table)
{
    for (size_t c = 0; table->series && c < table->columns; c++) {
        mem_free(table->series[c].min);
        mem_free(table->series[c].max);
        mem_free(table->series[c].mean);
        mem_free(table->series[c].last);
    }
    mem_free(table->series);
    mem_free(table->step);
    mem_free(table->names);
}

void metric_query_done(struct metric_result *result)
{
    for (size_t i = 0; i < result->count; i++)
        free_table(&result->tables[i]);
    mem_free(result->tables);
    *result = (struct metric_result){.tables = NULL};
}

static enum ij_status check_count(const char *field, uint64_t count, uint64_t max,
                                  struct ij_err *reterr_err)
{
    if (count >= 1 && count <= max)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field, "%s must be 1 to %llu, not %llu", field,
                        (unsigned long long)max, (unsigned long long)count);
}

static enum ij_status check_query(const struct metric_query *query, struct ij_err *reterr_err)
{
    IJ_TRY(check_count("runs", query->run_count, METRIC_QUERY_RUNS_MAX, reterr_err));
    IJ_TRY(check_count("keys", query->key_count, METRIC_QUERY_KEYS_MAX, reterr_err));
    if (!query->raw)
        IJ_TRY(check_count("max_points", query->max_points, METRIC_QUERY_POINTS_MAX, reterr_err));
    if (query->from > query->to)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "from", "from must not be above to");
    return IJ_OK;
}

static bool seen_before(const struct metric_query *query, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (query->runs[j] == query->runs[i])
            return true;
    return false;
}

static enum ij_status make_plan(struct store *store, const struct metric_query *query,
                                struct metric_plan *plan, struct ij_err *reterr_err)
{
    uint64_t from = query->from < INT64_MAX ? query->from : INT64_MAX;
    uint64_t to = query->to < INT64_MAX ? query->to : INT64_MAX;
    struct metric_plan_wish wish = {0, query->keys, query->key_count, from, to, query->superseded};
    for (size_t i = 0; i < query->run_count; i++) {
        wish.run = query->runs[i];
        if (!seen_before(query, i))
            IJ_TRY(metric_plan_add(store, plan, &wish, reterr_err));
    }
    return IJ_OK;
}

static uint64_t bucket_count(const struct metric_plan_table *table, unsigned shift)
{
    return table->any ? (table->hi >> shift) - (table->lo >> shift) + 1 : 0;
}

/* Would buckets narrower than a summary have too many steps read frame by frame? */
static bool is_long(const struct metric_plan *plan)
{
    uint64_t steps = 0;
    for (size_t i = 0; i < plan->stream_count; i++)
        steps += plan->streams[i].hi - plan->streams[i].lo + 1;
    return steps > METRIC_QUERY_SCAN_MAX;
}

/* The narrowest buckets of which max_points span every table's steps. */
static unsigned choose_shift(const struct metric_plan *plan, uint64_t max_points)
{
    struct metric_plan_table all = {.any = false};
    for (size_t i = 0; i < plan->table_count; i++) {
        const struct metric_plan_table *table = &plan->tables[i];
        if (!table->any)
            continue;
        all.lo = all.any && all.lo < table->lo ? all.lo : table->lo;
        all.hi = all.any && all.hi > table->hi ? all.hi : table->hi;
        all.any = true;
    }
    unsigned shift = 0;
    while (bucket_count(&all, shift) > max_points)
        shift++;
    return shift < metric_lod_shift[0] && is_long(plan) ? metric_lod_shift[0] : shift;
}

static enum ij_status check_cells(const struct metric_plan *plan, unsigned shift,
                                  struct ij_err *reterr_err)
{
    uint64_t cells = 0;
    for (size_t i = 0; i < plan->table_count; i++)
        cells += bucket_count(&plan->tables[i], shift) * plan->tables[i].columns;
    if (cells <= METRIC_QUERY_CELLS_MAX)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_TOO_LARGE, "max_points",
                        "the answer would have %llu buckets in all, more than %d: ask for fewer "
                        "runs, keys or points",
                        (unsigned long long)cells, METRIC_QUERY_CELLS_MAX);
}

/* The table's head: everything but the numbers. */
static enum ij_status start_table(struct metric_table *table, struct metric_plan_table *plan,
                                  size_t rows, bool raw, struct ij_err *reterr_err)
{
    *table = (struct metric_table){.run = plan->run, .rows = rows};
    memcpy(table->stream, plan->stream, sizeof table->stream);
    table->names = (char *)MEM_TAKE(plan->keys);
    table->step = mem_array(uint64_t, rows);
    table->series = mem_array(struct metric_series, plan->columns);
    bool good = table->step && table->series;
    table->columns = table->series ? plan->columns : 0;
    for (size_t c = 0; c < table->columns; c++) {
        struct metric_series *series = &table->series[c];
        series->key = table->names + c * (METRIC_STORE_KEY_MAX + 1);
        series->last = mem_array(float, rows);
        series->min = raw ? NULL : mem_array(float, rows);
        series->max = raw ? NULL : mem_array(float, rows);
        series->mean = raw ? NULL : mem_array(float, rows);
        good = good && series->last && (raw || (series->min && series->max && series->mean));
    }
    return good ? IJ_OK : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a metric query");
}

static void fill_cell(struct metric_series *series, size_t row, const struct metric_lod_key *key)
{
    bool any = key->finite > 0;
    series->min[row] = any ? key->min : NAN;
    series->max[row] = any ? key->max : NAN;
    series->last[row] = any ? key->last : NAN;
    series->mean[row] = any ? (float)(key->sum / key->finite) : NAN;
    series->nonfinite -= key->finite;
}

/* Leaves out the buckets without frames. */
static enum ij_status fill_table(struct metric_table *table, struct metric_plan_table *plan,
                                 const struct metric_scan *scan, struct ij_err *reterr_err)
{
    size_t rows = 0;
    for (size_t i = 0; i < scan->rows; i++)
        rows += scan->frames[i] > 0;
    IJ_TRY(start_table(table, plan, rows, false, reterr_err));
    for (size_t c = 0; c < table->columns; c++)
        table->series[c].count = table->series[c].nonfinite = scan->counts[c];
    for (size_t i = 0, row = 0; i < scan->rows; i++) {
        if (!scan->frames[i])
            continue;
        table->step[row] = (scan->base + i) << scan->shift;
        for (size_t c = 0; c < table->columns; c++)
            fill_cell(&table->series[c], row, &scan->cells[i * scan->columns + c]);
        row++;
    }
    return IJ_OK;
}

static enum ij_status read_table(struct store *store, struct metric_plan *plan, size_t index,
                                 unsigned shift, struct metric_table *table,
                                 struct ij_err *reterr_err)
{
    struct metric_scan scan;
    struct metric_plan_table *head = &plan->tables[index];
    IJ_TRY(metric_scan_init(&scan, shift, head->lo, head->hi, head->columns, reterr_err));
    enum ij_status status = IJ_OK;
    for (size_t i = 0; status == IJ_OK && i < plan->stream_count; i++)
        if (plan->streams[i].table == index)
            status = metric_scan_stream(store, &scan, &plan->streams[i], reterr_err);
    if (status == IJ_OK)
        status = fill_table(table, head, &scan, reterr_err);
    metric_scan_done(&scan);
    return status;
}

static enum ij_status read_raw_table(struct store *store, struct metric_plan *plan, size_t index,
                                     struct metric_table *table, struct ij_err *reterr_err)
{
    struct metric_raw raw;
    size_t columns = plan->tables[index].columns;
    IJ_TRY(metric_raw_read(store, plan, index, &raw, reterr_err));
    enum ij_status status = start_table(table, &plan->tables[index], raw.rows, true, reterr_err);
    if (status == IJ_OK) {
        memcpy(table->step, raw.steps, raw.rows * sizeof raw.steps[0]);
        for (size_t c = 0; c < columns; c++) {
            for (size_t row = 0; row < raw.rows; row++)
                table->series[c].last[row] = raw.values[row * columns + c];
            table->series[c].count = raw.counts[c];
            table->series[c].nonfinite = raw.nonfinite[c];
        }
    }
    metric_raw_done(&raw);
    return status;
}

static enum ij_status read_tables(struct store *store, const struct metric_query *query,
                                  struct metric_plan *plan, struct metric_result *result,
                                  struct ij_err *reterr_err)
{
    unsigned shift = query->raw ? 0 : choose_shift(plan, query->max_points);
    result->width = 1ULL << shift;
    if (query->raw)
        IJ_TRY(metric_raw_check(store, plan, METRIC_QUERY_RAW_MAX, reterr_err));
    else
        IJ_TRY(check_cells(plan, shift, reterr_err));
    result->tables = mem_array(struct metric_table, plan->table_count);
    if (!result->tables)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a metric query");
    for (size_t i = 0; i < plan->table_count; i++) {
        if (!plan->tables[i].any)
            continue;
        struct metric_table *table = &result->tables[result->count++];
        IJ_TRY(query->raw ? read_raw_table(store, plan, i, table, reterr_err)
                          : read_table(store, plan, i, shift, table, reterr_err));
    }
    return IJ_OK;
}

/* One view for all reads; the writer's own pending summaries are written out first. */
static enum ij_status begin_reading(struct store *store, struct ij_err *reterr_err)
{
    if (!store->reader)
        IJ_TRY(metric_cache_flush(store, reterr_err));
    return db_snapshot_begin(&store->metrics, reterr_err);
}

enum ij_status metric_query(struct store *store, const struct metric_query *query,
                            struct metric_result *ret_result, struct ij_err *reterr_err)
{
    struct metric_plan plan = {.tables = NULL};
    struct metric_result result = {.tables = NULL};
    IJ_TRY(check_query(query, reterr_err));
    IJ_TRY(begin_reading(store, reterr_err));
    enum ij_status status = make_plan(store, query, &plan, reterr_err);
    if (status == IJ_OK)
        status = read_tables(store, query, &plan, &result, reterr_err);
    db_snapshot_end(&store->metrics);
    metric_plan_done(&plan);
    if (status == IJ_OK)
        *ret_result = result;
    else
        metric_query_done(&result);
    return status;
}

static void fill_entries(const struct metric_plan_table *table, const struct metric_scan *scan,
                         struct metric_catalogue_entry *entries)
{
    for (size_t c = 0; c < table->columns; c++) {
        const struct metric_lod_key *key = &scan->cells[c];
        struct metric_catalogue_entry *entry = &entries[c];
        bool any = key->finite > 0;
        *entry = (struct metric_catalogue_entry){
            .count = scan->counts[c],
            .nonfinite = scan->counts[c] - key->finite,
            .first_step = table->lo,
            .last_step = table->hi,
            .min = any ? key->min : NAN,
            .max = any ? key->max : NAN,
            .last = any ? key->last : NAN,
        };
        memcpy(entry->stream, table->stream, sizeof entry->stream);
        memcpy(entry->key, table->keys[c], sizeof entry->key);
    }
}

/* The whole run as one bucket. */
static enum ij_status summarize_table(struct store *store, const struct metric_plan *plan,
                                      size_t index, struct metric_catalogue_entry *entries,
                                      struct ij_err *reterr_err)
{
    struct metric_scan scan;
    IJ_TRY(metric_scan_init(&scan, ALL_STEPS_SHIFT, 0, 0, plan->tables[index].columns, reterr_err));
    enum ij_status status = IJ_OK;
    for (size_t i = 0; status == IJ_OK && i < plan->stream_count; i++)
        if (plan->streams[i].table == index)
            status = metric_scan_stream(store, &scan, &plan->streams[i], reterr_err);
    if (status == IJ_OK)
        fill_entries(&plan->tables[index], &scan, entries);
    metric_scan_done(&scan);
    return status;
}

static enum ij_status summarize(struct store *store, const struct metric_plan *plan,
                                struct metric_catalogue_entry **ret_entries, size_t *ret_count,
                                struct ij_err *reterr_err)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->table_count; i++)
        count += plan->tables[i].any ? plan->tables[i].columns : 0;
    mem_auto struct metric_catalogue_entry *entries =
        mem_array(struct metric_catalogue_entry, count);
    if (!entries)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a list of metrics");
    size_t used = 0;
    for (size_t i = 0; i < plan->table_count; i++) {
        if (!plan->tables[i].any)
            continue;
        IJ_TRY(summarize_table(store, plan, i, entries + used, reterr_err));
        used += plan->tables[i].columns;
    }
    *ret_count = count;
    *ret_entries = MEM_TAKE(entries);
    return IJ_OK;
}

static int by_stream_and_key(const void *a, const void *b)
{
    const struct metric_catalogue_entry *x = a, *y = b;
    int order = strcmp(x->stream, y->stream);
    return order ? order : strcmp(x->key, y->key);
}

enum ij_status metric_query_catalogue(struct store *store, int64_t run,
                                      struct metric_catalogue_entry **ret_entries,
                                      size_t *ret_count, struct ij_err *reterr_err)
{
    struct metric_plan plan = {.tables = NULL};
    const struct metric_plan_wish wish = {.run = run, .to = INT64_MAX};
    IJ_TRY(begin_reading(store, reterr_err));
    enum ij_status status = metric_plan_add(store, &plan, &wish, reterr_err);
    if (status == IJ_OK)
        status = summarize(store, &plan, ret_entries, ret_count, reterr_err);
    if (status == IJ_OK)
        qsort(*ret_entries, *ret_count, sizeof **ret_entries, by_stream_and_key);
    db_snapshot_end(&store->metrics);
    metric_plan_done(&plan);
    return status;
}
