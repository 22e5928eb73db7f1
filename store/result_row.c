/* See result_row.h. */
#include "store/result_row.h"

#include "base/mem.h"
#include "store/handle.h"
#include "store/row_array.h"

static void free_row(void *row)
{
    mem_free(((struct result_row *)row)->json);
}

void result_row_list_done(struct result_row_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        mem_free(list->rows[i].json);
    mem_free(list->rows);
    *list = (struct result_row_list){.rows = NULL};
}

enum ij_status result_row_put(struct store *store, struct result_row *row,
                              struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->state,
                    "INSERT INTO result(run,name,step,json,created_ms)VALUES(?,?,?,?,?)"
                    " ON CONFLICT(run,name,step) DO UPDATE SET json=excluded.json,"
                    "created_ms=excluded.created_ms RETURNING id",
                    &q, reterr_err));
    db_put_int(&q, row->run);
    db_put_text(&q, row->name);
    db_put_int(&q, (int64_t)row->step);
    db_put_text(&q, row->json ? row->json : "{}");
    db_put_int(&q, row->created_ms);
    IJ_TRY(db_next(&q, &found, reterr_err));
    row->id = db_int(&q);
    return db_run(&q, NULL, reterr_err);
}

static void read_row(struct db_query *q, void *ret_row)
{
    struct result_row *row = ret_row;
    row->id = db_int(q);
    row->run = db_int(q);
    db_text(q, row->name, sizeof row->name);
    row->step = (uint64_t)db_int(q);
    row->json = db_text_dup(q);
    row->created_ms = db_int(q);
}

enum ij_status result_row_list(struct store *store, int64_t run, uint32_t limit,
                               struct result_row_list *ret_list, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "SELECT id,run,name,step,json,created_ms FROM result WHERE run=?"
                    " ORDER BY id LIMIT ?",
                    &q, reterr_err));
    db_put_int(&q, run);
    db_put_int(&q, limit);
    return row_array_read(&q, sizeof ret_list->rows[0], read_row, free_row,
                          (void **)&ret_list->rows, &ret_list->count, reterr_err);
}
