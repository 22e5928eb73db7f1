/* See cordon_row.h. */
#include "store/cordon_row.h"

#include "store/handle.h"
#include "store/row_array.h"

enum ij_status cordon_row_put(struct store *store, const struct cordon_row *row,
                              struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "INSERT OR REPLACE INTO cordon(device,actor,reason,ts_ms)VALUES(?,?,?,?)", &q,
                    reterr_err));
    db_put_text(&q, row->device);
    db_put_text(&q, row->actor);
    db_put_text(&q, row->reason);
    db_put_int(&q, row->ts_ms);
    return db_run(&q, NULL, reterr_err);
}

enum ij_status cordon_row_delete(struct store *store, const char *device, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "DELETE FROM cordon WHERE device=?", &q, reterr_err));
    db_put_text(&q, device);
    return db_run(&q, NULL, reterr_err);
}

static void read_row(struct db_query *q, void *ret_row)
{
    struct cordon_row *row = ret_row;
    db_text(q, row->device, sizeof row->device);
    db_text(q, row->actor, sizeof row->actor);
    db_text(q, row->reason, sizeof row->reason);
    row->ts_ms = db_int(q);
}

enum ij_status cordon_row_list(struct store *store, struct cordon_row **ret_rows, size_t *ret_count,
                               struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "SELECT device,actor,reason,ts_ms FROM cordon ORDER BY device",
                    &q, reterr_err));
    return row_array_read(&q, sizeof **ret_rows, read_row, NULL, (void **)ret_rows, ret_count,
                          reterr_err);
}
