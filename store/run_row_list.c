/*
 * The lists of run_row.h. Keyset pages: a page begins behind the (key, id) of the last row seen, so
 * rows that come or go elsewhere shift nothing. One fixed statement per order; a filter that is not
 * asked for is bound as NULL.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/handle.h"
#include "store/run_read.h"

#define MATCHES                                                                                    \
    " (?1 IS NULL OR instr(?1, ',' || state || ',') > 0) AND (?2 IS NULL OR kind=?2)"              \
    " AND (?3 IS NULL OR EXISTS(SELECT 1 FROM json_each(run.tags) WHERE value=?3))"                \
    " AND (?4 IS NULL OR substr(name,1,length(?4))=?4) AND (?5 IS NULL OR user=?5)"                \
    " AND (?6=0 OR parent=?6)"
#define PAGE_DOWN(key)                                                                             \
    "SELECT " RUN_READ_COLUMNS " FROM run WHERE" MATCHES " AND (" key ",id)<(?7,?8)"               \
    " ORDER BY " key " DESC, id DESC LIMIT ?9"
#define PAGE_UP(key)                                                                               \
    "SELECT " RUN_READ_COLUMNS " FROM run WHERE" MATCHES " AND (" key ",id)>(?7,?8)"               \
    " ORDER BY " key ", id LIMIT ?9"

static const char *const pages[][2] = {
    [RUN_ROW_BY_CREATED] = {PAGE_DOWN("created_ms"), PAGE_UP("created_ms")},
    [RUN_ROW_BY_PRIORITY] = {PAGE_DOWN("priority"), PAGE_UP("priority")},
    [RUN_ROW_BY_UPDATED] = {PAGE_DOWN("updated_ms"), PAGE_UP("updated_ms")},
};

void run_row_list_done(struct run_row_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        run_row_done(&list->rows[i]);
    mem_free(list->rows);
    *list = (struct run_row_list){.rows = NULL};
}

/* ",queued,running," */
static const char *states_text(uint32_t states, char *text, size_t size)
{
    if (states == 0)
        return NULL;
    size_t n = (size_t)snprintf(text, size, ",");
    for (int i = 0; i < RUN_STATE_COUNT; i++)
        if (states & RUN_STATE_BIT(i))
            n += (size_t)snprintf(text + n, size - n, "%s,", run_state_name((enum run_state)i));
    return text;
}

static void put_filter(struct db_query *q, const struct run_row_filter *filter, char *text,
                       size_t size)
{
    db_put_text(q, states_text(filter->states, text, size));
    db_put_text(q, filter->kind);
    db_put_text(q, filter->tag);
    db_put_text(q, filter->name_prefix);
    db_put_text(q, filter->user);
    db_put_int(q, filter->parent);
}

static int64_t sort_key(const struct run_row *row, enum run_row_sort sort)
{
    switch (sort) {
    case RUN_ROW_BY_PRIORITY:
        return row->priority;
    case RUN_ROW_BY_UPDATED:
        return row->updated_ms;
    default:
        return row->created_ms;
    }
}

static enum ij_status grow(struct run_row_list *list, size_t *capacity, struct ij_err *reterr_err)
{
    if (list->count < *capacity)
        return IJ_OK;
    size_t next = *capacity ? 2 * *capacity : 64;
    struct run_row *rows = mem_grow(list->rows, next, sizeof *rows);
    if (!rows)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a list of runs");
    list->rows = rows;
    *capacity = next;
    return IJ_OK;
}

/* At most `limit` rows, then only notes that there are more. */
static enum ij_status read_rows(struct db_query *q, size_t limit, struct run_row_list *list,
                                struct ij_err *reterr_err)
{
    size_t capacity = 0;
    for (;;) {
        bool found;
        IJ_TRY(db_next(q, &found, reterr_err));
        list->more = found && list->count == limit;
        if (!found || list->more)
            return IJ_OK;
        IJ_TRY(grow(list, &capacity, reterr_err));
        IJ_TRY(run_read_row(q, &list->rows[list->count], reterr_err));
        list->count++;
    }
}

static enum ij_status finish_list(enum ij_status status, struct run_row_list *list,
                                  struct run_row_list *ret_list)
{
    if (status == IJ_OK)
        *ret_list = *list;
    else
        run_row_list_done(list);
    return status;
}

enum ij_status run_row_list(struct store *store, const struct run_row_filter *filter,
                            struct run_row_list *ret_list, struct ij_err *reterr_err)
{
    char states[256];
    if (filter->limit < 1 || filter->limit > RUN_ROW_LIST_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "limit", "limit must be 1 to %d, not %u",
                            RUN_ROW_LIST_MAX, filter->limit);
    struct run_row_cursor after = filter->after;
    if (after.id == 0 && !filter->ascending)
        after = (struct run_row_cursor){.key = INT64_MAX, .id = INT64_MAX};
    if (after.id == 0 && filter->ascending)
        after = (struct run_row_cursor){.key = INT64_MIN, .id = INT64_MIN};
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, pages[filter->sort][filter->ascending], &q, reterr_err));
    put_filter(&q, filter, states, sizeof states);
    db_put_int(&q, after.key);
    db_put_int(&q, after.id);
    db_put_int(&q, (int64_t)filter->limit + 1);
    struct run_row_list list = {.rows = NULL};
    enum ij_status status = read_rows(&q, filter->limit, &list, reterr_err);
    if (status == IJ_OK && list.count > 0) {
        const struct run_row *last = &list.rows[list.count - 1];
        list.next = (struct run_row_cursor){sort_key(last, filter->sort), last->id};
    }
    return finish_list(status, &list, ret_list);
}

enum ij_status run_row_count(struct store *store, const struct run_row_filter *filter,
                             int64_t *ret_count, struct ij_err *reterr_err)
{
    char states[256];
    bool found;
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "SELECT count(*) FROM run WHERE" MATCHES, &q, reterr_err));
    put_filter(&q, filter, states, sizeof states);
    IJ_TRY(db_next(&q, &found, reterr_err));
    *ret_count = db_int(&q);
    return IJ_OK;
}

enum ij_status run_row_count_by_state(struct store *store, int64_t ret_counts[RUN_STATE_COUNT],
                                      struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(
        db_start(&store->state, "SELECT state, count(*) FROM run GROUP BY state", &q, reterr_err));
    memset(ret_counts, 0, RUN_STATE_COUNT * sizeof ret_counts[0]);
    for (;;) {
        bool found;
        char name[16];
        enum run_state state;
        IJ_TRY(db_next(&q, &found, reterr_err));
        if (!found)
            return IJ_OK;
        db_text(&q, name, sizeof name);
        if (run_state_from_name(name, &state))
            ret_counts[state] = db_int(&q);
    }
}

enum ij_status run_row_live(struct store *store, struct run_row_list *ret_list,
                            struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "SELECT " RUN_READ_COLUMNS " FROM run"
                    " WHERE state NOT IN('succeeded','failed','canceled','quarantined')"
                    " ORDER BY priority DESC, queue_pos, id",
                    &q, reterr_err));
    struct run_row_list list = {.rows = NULL};
    enum ij_status status = read_rows(&q, SIZE_MAX, &list, reterr_err);
    return finish_list(status, &list, ret_list);
}
