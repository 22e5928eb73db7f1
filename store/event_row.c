/* See event_row.h. */
#include "store/event_row.h"

#include "base/mem.h"
#include "store/handle.h"
#include "store/row_array.h"

#define TRIM_MAX 10000

static void free_row(void *row)
{
    mem_free(((struct event_row *)row)->body);
}

void event_row_list_done(struct event_row_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        mem_free(list->rows[i].body);
    mem_free(list->rows);
    *list = (struct event_row_list){.rows = NULL};
}

enum ij_status event_row_append(struct store *store, struct event_row *row,
                                struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "INSERT INTO event(ts_ms,run,type,body)VALUES(?,?,?,?)", &q,
                    reterr_err));
    db_put_int(&q, row->ts_ms);
    db_put_int(&q, row->run);
    db_put_text(&q, row->type);
    db_put_text(&q, row->body ? row->body : "{}");
    IJ_TRY(db_run(&q, NULL, reterr_err));
    row->id = db_last_id(&store->state);
    return IJ_OK;
}

static void read_row(struct db_query *q, void *ret_row)
{
    struct event_row *row = ret_row;
    row->id = db_int(q);
    row->ts_ms = db_int(q);
    row->run = db_int(q);
    db_text(q, row->type, sizeof row->type);
    row->body = db_text_dup(q);
}

enum ij_status event_row_list(struct store *store, int64_t run, int64_t after, uint32_t limit,
                              struct event_row_list *ret_list, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    const char *sql = run ? "SELECT id,ts_ms,run,type,body FROM event WHERE run<>0 AND run=?1"
                            " AND id>?2 ORDER BY id LIMIT ?3"
                          : "SELECT id,ts_ms,run,type,body FROM event WHERE ?1=0 AND id>?2"
                            " ORDER BY id LIMIT ?3";
    IJ_TRY(db_start(&store->state, sql, &q, reterr_err));
    db_put_int(&q, run);
    db_put_int(&q, after);
    db_put_int(&q, limit);
    return row_array_read(&q, sizeof ret_list->rows[0], read_row, free_row,
                          (void **)&ret_list->rows, &ret_list->count, reterr_err);
}

enum ij_status event_row_bounds(struct store *store, int64_t *ret_oldest, int64_t *ret_newest,
                                struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->state, "SELECT (SELECT min(id) FROM event),(SELECT max(id) FROM event)",
                    &q, reterr_err));
    IJ_TRY(db_next(&q, &found, reterr_err));
    *ret_oldest = db_int(&q);
    *ret_newest = db_int(&q);
    return IJ_OK;
}

/* Oldest first, so that what is left has no holes. */
enum ij_status event_row_trim(struct store *store, int64_t keep_rows, int64_t keep_from_ms,
                              int64_t *ret_removed, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "DELETE FROM event WHERE id IN(SELECT id FROM event WHERE ts_ms<?2"
                    " OR id<=(SELECT id FROM event ORDER BY id DESC LIMIT 1 OFFSET ?1)"
                    " ORDER BY id LIMIT ?3)",
                    &q, reterr_err));
    db_put_int(&q, keep_rows);
    db_put_int(&q, keep_from_ms);
    db_put_int(&q, TRIM_MAX);
    return db_run(&q, ret_removed, reterr_err);
}
