/* See metric_plan.h. */
#include "store/metric_plan.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/handle.h"
#include "store/metric_lod.h"

void metric_plan_done(struct metric_plan *plan)
{
    for (size_t i = 0; i < plan->table_count; i++)
        mem_free(plan->tables[i].keys);
    mem_free(plan->tables);
    mem_free(plan->streams);
    *plan = (struct metric_plan){.tables = NULL};
}

static enum ij_status no_memory(struct ij_err *reterr_err)
{
    return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a metric query");
}

/* Room for one more element of `size` in *array. */
static bool reserve(void *array, size_t count, size_t *capacity, size_t size)
{
    void *memory;
    memcpy(&memory, array, sizeof memory);
    if (count < *capacity)
        return true;
    size_t next = *capacity ? 2 * *capacity : 8;
    memory = mem_grow(memory, next, size);
    if (!memory)
        return false;
    memcpy(array, &memory, sizeof memory);
    *capacity = next;
    return true;
}

static struct metric_plan_table *find_table(struct metric_plan *plan, int64_t run, const char *name)
{
    for (size_t i = plan->table_count; i-- > 0;)
        if (plan->tables[i].run == run && strcmp(plan->tables[i].stream, name) == 0)
            return &plan->tables[i];
    if (!reserve(&plan->tables, plan->table_count, &plan->table_capacity, sizeof *plan->tables))
        return NULL;
    struct metric_plan_table *table = &plan->tables[plan->table_count++];
    *table = (struct metric_plan_table){.run = run};
    snprintf(table->stream, sizeof table->stream, "%s", name);
    return table;
}

/* METRIC_PLAN_UNUSED: no memory. */
static uint16_t find_column(struct metric_plan_table *table, const char *key)
{
    for (size_t i = 0; i < table->columns; i++)
        if (strcmp(table->keys[i], key) == 0)
            return (uint16_t)i;
    if (!reserve(&table->keys, table->columns, &table->capacity, sizeof *table->keys))
        return METRIC_PLAN_UNUSED;
    snprintf(table->keys[table->columns], sizeof *table->keys, "%s", key);
    return (uint16_t)table->columns++;
}

/* "loss" or "train/loss" for the key "loss" of the stream "train". */
static bool is_wanted(const char *wanted, const char *stream, const char *key)
{
    size_t n = strlen(stream);
    return strcmp(wanted, key) == 0 || (strncmp(wanted, stream, n) == 0 && wanted[n] == '/' &&
                                        strcmp(wanted + n + 1, key) == 0);
}

/* Gives the stream's k-th key a column of its table if somebody wants it. */
static bool match_key(struct metric_plan *plan, struct metric_plan_stream *stream,
                      const struct metric_plan_wish *wish, const char *name, const char *key,
                      size_t k)
{
    bool wanted = !wish->keys;
    for (size_t i = 0; !wanted && i < wish->key_count; i++)
        wanted = is_wanted(wish->keys[i], name, key);
    if (!wanted)
        return true;
    struct metric_plan_table *table = find_table(plan, wish->run, name);
    if (!table)
        return false;
    stream->table = (size_t)(table - plan->tables);
    stream->column[k] = find_column(table, key);
    stream->columns++;
    return stream->column[k] != METRIC_PLAN_UNUSED;
}

static enum ij_status match_keys(struct metric_plan *plan, struct metric_plan_stream *stream,
                                 const struct metric_plan_wish *wish, const char *name,
                                 const char *keys, struct ij_err *reterr_err)
{
    json_t *array = json_loads(keys, 0, NULL);
    enum ij_status status = IJ_OK;
    stream->keys = json_array_size(array);
    if (stream->keys < 1 || stream->keys > METRIC_STORE_KEYS_MAX)
        status = IJ_ERR(reterr_err, IJ_CORRUPT, "the keys of stream %lld are unreadable",
                        (long long)stream->id);
    memset(stream->column, 0xff, sizeof stream->column);
    for (size_t k = 0; status == IJ_OK && k < stream->keys; k++) {
        const char *key = json_string_value(json_array_get(array, k));
        if (key && !match_key(plan, stream, wish, name, key, k))
            status = no_memory(reterr_err);
    }
    json_decref(array);
    return status;
}

/* What `sql` finds for (stream, from, to); *ret_found false: no row. */
static enum ij_status seek(struct store *store, const char *sql, int64_t stream, uint64_t from,
                           uint64_t to, bool *ret_found, uint64_t *ret_step,
                           struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    *ret_found = false;
    if (from > to)
        return IJ_OK;
    IJ_TRY(db_start(&store->metrics, sql, &q, reterr_err));
    db_put_int(&q, stream);
    db_put_int(&q, (int64_t)from);
    db_put_int(&q, (int64_t)to);
    IJ_TRY(db_next(&q, ret_found, reterr_err));
    if (*ret_found && ret_step)
        *ret_step = (uint64_t)db_int(&q);
    return IJ_OK;
}

#define FIRST "SELECT step FROM frame WHERE stream=? AND step BETWEEN ? AND ? ORDER BY step LIMIT 1"
#define LAST                                                                                       \
    "SELECT step FROM frame WHERE stream=? AND step BETWEEN ? AND ? ORDER BY step DESC LIMIT 1"

/* Where nothing lies beyond the first or last frame, the whole bucket there may be taken. */
static enum ij_status find_span(struct store *store, struct metric_plan_stream *stream,
                                uint64_t from, uint64_t to, struct ij_err *reterr_err)
{
    const uint64_t mask = (1ULL << metric_lod_shift[METRIC_LOD_LEVELS - 1]) - 1;
    bool before = false, after = false;
    IJ_TRY(seek(store, FIRST, stream->id, from, to, &stream->any, &stream->lo, reterr_err));
    if (!stream->any)
        return IJ_OK;
    IJ_TRY(seek(store, LAST, stream->id, from, to, &stream->any, &stream->hi, reterr_err));
    if (stream->lo > 0)
        IJ_TRY(seek(store, FIRST, stream->id, 0, stream->lo - 1, &before, NULL, reterr_err));
    IJ_TRY(seek(store, LAST, stream->id, stream->hi + 1, INT64_MAX, &after, NULL, reterr_err));
    stream->from = before ? stream->lo : stream->lo & ~mask;
    stream->to = after ? stream->hi : stream->hi | mask;
    return IJ_OK;
}

static void widen(struct metric_plan_table *table, const struct metric_plan_stream *stream)
{
    if (!table->any || stream->lo < table->lo)
        table->lo = stream->lo;
    if (!table->any || stream->hi > table->hi)
        table->hi = stream->hi;
    table->any = true;
}

static enum ij_status add_stream(struct store *store, struct metric_plan *plan,
                                 const struct metric_plan_wish *wish, struct db_query *q,
                                 struct ij_err *reterr_err)
{
    struct metric_plan_stream stream = {.id = db_int(q)};
    char name[METRIC_STORE_STREAM_MAX + 1];
    int64_t dead_after = db_int(q); /* -1: all of it is dead; INT64_MAX: none */
    db_text(q, name, sizeof name);
    mem_auto char *keys = db_text_dup(q);
    IJ_TRY(db_copied(q, reterr_err));
    if (wish->superseded ? dead_after == INT64_MAX : dead_after < 0)
        return IJ_OK;
    IJ_TRY(match_keys(plan, &stream, wish, name, keys, reterr_err));
    if (stream.columns == 0)
        return IJ_OK;
    uint64_t from = wish->from, to = wish->to, first_dead = (uint64_t)dead_after + 1;
    if (wish->superseded)
        from = from > first_dead ? from : first_dead;
    else if (to > (uint64_t)dead_after)
        to = (uint64_t)dead_after;
    IJ_TRY(find_span(store, &stream, from, to, reterr_err));
    if (!stream.any)
        return IJ_OK;
    widen(&plan->tables[stream.table], &stream);
    if (!reserve(&plan->streams, plan->stream_count, &plan->stream_capacity, sizeof *plan->streams))
        return no_memory(reterr_err);
    plan->streams[plan->stream_count++] = stream;
    return IJ_OK;
}

enum ij_status metric_plan_add(struct store *store, struct metric_plan *plan,
                               const struct metric_plan_wish *wish, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->metrics,
                    "SELECT id,coalesce(dead_after,9223372036854775807),name,keys FROM stream"
                    " WHERE run=? ORDER BY name,attempt,id",
                    &q, reterr_err));
    db_put_int(&q, wish->run);
    for (;;) {
        bool found;
        IJ_TRY(db_next(&q, &found, reterr_err));
        if (!found)
            return IJ_OK;
        IJ_TRY(add_stream(store, plan, wish, &q, reterr_err));
    }
}
