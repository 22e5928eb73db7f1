/* See audit_row.h. */
#include "store/audit_row.h"

#include "base/mem.h"
#include "store/handle.h"
#include "store/row_array.h"

#define COLUMNS "ts_ms,actor,address,action,target,detail"

enum ij_status audit_row_append(struct store *store, struct audit_row *row,
                                struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "INSERT INTO audit(" COLUMNS ")VALUES(?,?,?,?,?,?)", &q,
                    reterr_err));
    db_put_int(&q, row->ts_ms);
    db_put_text(&q, row->actor);
    db_put_text(&q, row->address);
    db_put_text(&q, row->action);
    db_put_text(&q, row->target);
    db_put_text(&q, row->detail);
    IJ_TRY(db_run(&q, NULL, reterr_err));
    row->id = db_last_id(&store->state);
    return IJ_OK;
}

static void read_row(struct db_query *q, void *ret_row)
{
    struct audit_row *row = ret_row;
    row->id = db_int(q);
    row->ts_ms = db_int(q);
    db_text(q, row->actor, sizeof row->actor);
    db_text(q, row->address, sizeof row->address);
    db_text(q, row->action, sizeof row->action);
    db_text(q, row->target, sizeof row->target);
    db_text(q, row->detail, sizeof row->detail);
}

enum ij_status audit_row_list(struct store *store, const struct audit_row_filter *filter,
                              int64_t before, uint32_t limit, struct audit_row **ret_rows,
                              size_t *ret_count, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "SELECT id," COLUMNS " FROM audit WHERE (?1=0 OR id<?1)"
                    " AND (?2 IS NULL OR actor=?2) AND (?3 IS NULL OR action=?3)"
                    " AND (?4 IS NULL OR target=?4) ORDER BY id DESC LIMIT ?5",
                    &q, reterr_err));
    db_put_int(&q, before);
    db_put_text(&q, filter->actor);
    db_put_text(&q, filter->action);
    db_put_text(&q, filter->target);
    db_put_int(&q, limit);
    return row_array_read(&q, sizeof **ret_rows, read_row, NULL, (void **)ret_rows, ret_count,
                          reterr_err);
}

enum ij_status audit_row_trim(struct store *store, int64_t keep_from_ms, int64_t *ret_removed,
                              struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "DELETE FROM audit WHERE ts_ms<?", &q, reterr_err));
    db_put_int(&q, keep_from_ms);
    return db_run(&q, ret_removed, reterr_err);
}
