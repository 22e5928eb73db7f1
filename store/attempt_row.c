/* See attempt_row.h. */
#include "store/attempt_row.h"

#include "base/mem.h"
#include "store/handle.h"
#include "store/row_array.h"

#define COLUMNS                                                                                    \
    "pid,boot_id,started_ms,ended_ms,exit_code,signal,cause,text,from_step,last_step,device,gpus," \
    "run,n"

static void put_row(struct db_query *q, const struct attempt_row *row)
{
    db_put_int(q, row->pid);
    db_put_text(q, row->boot_id);
    db_put_int(q, row->started_ms);
    db_put_int(q, row->ended_ms);
    db_put_int(q, row->exit_code);
    db_put_int(q, row->signal);
    db_put_text(q, row->cause);
    db_put_text(q, row->text);
    db_put_int(q, (int64_t)row->from_step);
    db_put_int(q, (int64_t)row->last_step);
    db_put_text(q, row->device);
    db_put_text(q, row->gpus[0] ? row->gpus : "[]");
    db_put_int(q, row->run);
    db_put_int(q, row->n);
}

static void read_row(struct db_query *q, void *ret_row)
{
    struct attempt_row *row = ret_row;
    row->pid = (int32_t)db_int(q);
    db_text(q, row->boot_id, sizeof row->boot_id);
    row->started_ms = db_int(q);
    row->ended_ms = db_int(q);
    row->exit_code = (int32_t)db_int(q);
    row->signal = (int32_t)db_int(q);
    db_text(q, row->cause, sizeof row->cause);
    db_text(q, row->text, sizeof row->text);
    row->from_step = (uint64_t)db_int(q);
    row->last_step = (uint64_t)db_int(q);
    db_text(q, row->device, sizeof row->device);
    db_text(q, row->gpus, sizeof row->gpus);
    row->run = db_int(q);
    row->n = (int32_t)db_int(q);
}

static enum ij_status write_row(struct store *store, const char *sql, const struct attempt_row *row,
                                int64_t *ret_changes, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, sql, &q, reterr_err));
    put_row(&q, row);
    return db_run(&q, ret_changes, reterr_err);
}

static enum ij_status not_found(int64_t run, int32_t n, struct ij_err *reterr_err)
{
    return IJ_ERR(reterr_err, IJ_NOT_FOUND, "run r%lld has no attempt %d", (long long)run, n);
}

enum ij_status attempt_row_insert(struct store *store, const struct attempt_row *row,
                                  struct ij_err *reterr_err)
{
    return write_row(store, "INSERT INTO attempt(" COLUMNS ")VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                     row, NULL, reterr_err);
}

enum ij_status attempt_row_update(struct store *store, const struct attempt_row *row,
                                  struct ij_err *reterr_err)
{
    int64_t changes;
    IJ_TRY(write_row(store,
                     "UPDATE attempt SET pid=?,boot_id=?,started_ms=?,ended_ms=?,exit_code=?,"
                     "signal=?,cause=?,text=?,from_step=?,last_step=?,device=?,gpus=?"
                     " WHERE run=? AND n=?",
                     row, &changes, reterr_err));
    return changes ? IJ_OK : not_found(row->run, row->n, reterr_err);
}

enum ij_status attempt_row_get(struct store *store, int64_t run, int32_t n,
                               struct attempt_row *ret_row, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->state,
                    "SELECT " COLUMNS " FROM attempt WHERE run=?1 AND (?2=0 OR n=?2)"
                    " ORDER BY n DESC LIMIT 1",
                    &q, reterr_err));
    db_put_int(&q, run);
    db_put_int(&q, n);
    IJ_TRY(db_next(&q, &found, reterr_err));
    if (!found)
        return not_found(run, n, reterr_err);
    read_row(&q, ret_row);
    return IJ_OK;
}

enum ij_status attempt_row_list(struct store *store, int64_t run, uint32_t limit,
                                struct attempt_row **ret_rows, size_t *ret_count,
                                struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "SELECT " COLUMNS " FROM attempt WHERE run=? ORDER BY n DESC LIMIT ?", &q,
                    reterr_err));
    db_put_int(&q, run);
    db_put_int(&q, limit);
    return row_array_read(&q, sizeof **ret_rows, read_row, NULL, (void **)ret_rows, ret_count,
                          reterr_err);
}

enum ij_status attempt_row_end_open(struct store *store, int64_t now_ms, const char *cause,
                                    struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "UPDATE attempt SET ended_ms=?, cause=? WHERE ended_ms=0", &q,
                    reterr_err));
    db_put_int(&q, now_ms);
    db_put_text(&q, cause);
    return db_run(&q, NULL, reterr_err);
}
