/* See sweep_row.h. */
#include "store/sweep_row.h"

#include "base/mem.h"
#include "store/handle.h"
#include "store/row_array.h"

#define COLUMNS                                                                                    \
    "id,name,user,max_parallel,spec,created_ms,(SELECT count(*) FROM run WHERE sweep=sweep.id),"   \
    "(SELECT count(*) FROM run WHERE sweep=sweep.id AND state IN"                                  \
    "('succeeded','failed','canceled','quarantined'))"

void sweep_row_done(struct sweep_row *row)
{
    mem_free(row->spec);
    *row = (struct sweep_row){.id = 0};
}

void sweep_row_list_done(struct sweep_row_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        sweep_row_done(&list->rows[i]);
    mem_free(list->rows);
    *list = (struct sweep_row_list){.rows = NULL};
}

enum ij_status sweep_row_insert(struct store *store, struct sweep_row *row,
                                struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "INSERT INTO sweep(name,user,max_parallel,spec,created_ms)VALUES(?,?,?,?,?)",
                    &q, reterr_err));
    db_put_text(&q, row->name);
    db_put_text(&q, row->user);
    db_put_int(&q, row->max_parallel);
    db_put_text(&q, row->spec ? row->spec : "{}");
    db_put_int(&q, row->created_ms);
    IJ_TRY(db_run(&q, NULL, reterr_err));
    row->id = db_last_id(&store->state);
    return IJ_OK;
}

static void read_row(struct db_query *q, void *ret_row)
{
    struct sweep_row *row = ret_row;
    row->id = db_int(q);
    db_text(q, row->name, sizeof row->name);
    db_text(q, row->user, sizeof row->user);
    row->max_parallel = (int32_t)db_int(q);
    row->spec = db_text_dup(q);
    row->created_ms = db_int(q);
    row->runs = db_int(q);
    row->ended = db_int(q);
}

static void free_row(void *row)
{
    sweep_row_done(row);
}

enum ij_status sweep_row_get(struct store *store, int64_t id, struct sweep_row *ret_row,
                             struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->state, "SELECT " COLUMNS " FROM sweep WHERE id=?", &q, reterr_err));
    db_put_int(&q, id);
    IJ_TRY(db_next(&q, &found, reterr_err));
    if (!found)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no sweep s%lld", (long long)id);
    read_row(&q, ret_row);
    enum ij_status status = db_copied(&q, reterr_err);
    if (status != IJ_OK)
        sweep_row_done(ret_row);
    return status;
}

enum ij_status sweep_row_list(struct store *store, int64_t before, uint32_t limit,
                              struct sweep_row_list *ret_list, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "SELECT " COLUMNS " FROM sweep WHERE ?1=0 OR id<?1 ORDER BY id DESC LIMIT ?2",
                    &q, reterr_err));
    db_put_int(&q, before);
    db_put_int(&q, limit);
    return row_array_read(&q, sizeof ret_list->rows[0], read_row, free_row,
                          (void **)&ret_list->rows, &ret_list->count, reterr_err);
}

static void read_id(struct db_query *q, void *ret_id)
{
    *(int64_t *)ret_id = db_int(q);
}

enum ij_status sweep_row_runs(struct store *store, int64_t id, int64_t **ret_ids, size_t *ret_count,
                              struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "SELECT id FROM run WHERE sweep=? ORDER BY id", &q, reterr_err));
    db_put_int(&q, id);
    return row_array_read(&q, sizeof **ret_ids, read_id, NULL, (void **)ret_ids, ret_count,
                          reterr_err);
}
