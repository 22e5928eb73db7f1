/* See run_row.h. Lists are in run_list.c. */
#include "store/run_row.h"

#include "base/mem.h"
#include "store/handle.h"
#include "store/run_read.h"

void run_row_done(struct run_row *row)
{
    mem_free(row->params);
    mem_free(row->resolved);
    mem_free(row->tags);
    mem_free(row->notes);
    mem_free(row->retention);
    mem_free(row->dataset);
    mem_free(row->health);
    mem_free(row->last);
    *row = (struct run_row){.id = 0};
}

static const char *or_else(const char *text, const char *fallback)
{
    return text ? text : fallback;
}

/* The columns that the state machine owns, in the order of both statements below. */
static void put_state(struct db_query *q, const struct run_row *row)
{
    db_put_text(q, run_state_name(row->state));
    db_put_text(q, run_state_desire_name(row->desired));
    db_put_text(q, row->reason);
    db_put_text(q, row->reason_text);
    db_put_int(q, row->deadline_ms);
    db_put_int(q, row->priority);
    db_put_real(q, row->queue_pos);
    db_put_int(q, row->slots);
    db_put_text(q, row->backend);
    db_put_text(q, row->device);
    db_put_int(q, row->attempts);
    db_put_int(q, row->failures);
    db_put_int(q, row->preemptions);
    db_put_text(q, row->failure);
    db_put_int(q, row->same_failures);
    db_put_int(q, row->not_before_ms);
    db_put_int(q, row->start_eta_ms);
    db_put_int(q, row->started_ms);
    db_put_int(q, row->finished_ms);
    db_put_int(q, row->queued_ms);
    db_put_int(q, row->scratch_attempt);
    db_put_text(q, row->blocking[0] ? row->blocking : "[]");
    db_put_text(q, row->gpus[0] ? row->gpus : "[]");
}

static void put_progress(struct db_query *q, const struct run_row *row)
{
    db_put_int(q, (int64_t)row->step);
    db_put_int(q, (int64_t)row->steps);
    db_put_real(q, row->epoch);
    db_put_real(q, row->images_per_s);
    db_put_real(q, row->eta_s);
    db_put_text(q, row->phase);
    db_put_text(q, or_else(row->health, "{}"));
    db_put_text(q, or_else(row->last, "{}"));
}

static enum ij_status choose_queue_pos(struct store *store, struct run_row *row,
                                       struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->state,
                    "SELECT max(queue_pos) FROM run"
                    " WHERE state NOT IN('succeeded','failed','canceled','quarantined')",
                    &q, reterr_err));
    IJ_TRY(db_next(&q, &found, reterr_err));
    double newest = db_real(&q);
    row->queue_pos = newest >= 0 ? newest + 1 : 1; /* NaN: the queue is empty */
    return IJ_OK;
}

enum ij_status run_row_insert(struct store *store, struct run_row *row, struct ij_err *reterr_err)
{
    static const char sql[] =
        "INSERT INTO run(state,desired,reason,reason_text,deadline_ms,priority,queue_pos,slots,"
        "backend,device,attempts,failures,preemptions,failure,same_failures,not_before_ms,"
        "start_eta_ms,started_ms,finished_ms,queued_ms,scratch_attempt,blocking,gpus,step,steps,"
        "epoch,images_per_s,eta_s,phase,health,last,"
        "name,kind,user,parent,sweep,created_ms,updated_ms,build,tags,dataset,retention,notes,"
        "params,resolved,gpu_memory_bytes,preemptible,ver)"
        "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,"
        "?,?,?,?,?,?,?,?,?,?,?,nullif(?,0),nullif(?,0),?,?,?,?,?,?,?,?,?,?,?,1)";
    if (!row->queued_ms)
        row->queued_ms = row->created_ms;
    if (row->queue_pos == 0.0)
        IJ_TRY(choose_queue_pos(store, row, reterr_err));
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, sql, &q, reterr_err));
    put_state(&q, row);
    put_progress(&q, row);
    db_put_text(&q, row->name);
    db_put_text(&q, row->kind);
    db_put_text(&q, row->user);
    db_put_int(&q, row->parent);
    db_put_int(&q, row->sweep);
    db_put_int(&q, row->created_ms);
    db_put_int(&q, row->created_ms);
    db_put_text(&q, row->build);
    db_put_text(&q, or_else(row->tags, "[]"));
    db_put_text(&q, or_else(row->dataset, ""));
    db_put_text(&q, or_else(row->retention, "{}"));
    db_put_text(&q, or_else(row->notes, ""));
    db_put_text(&q, or_else(row->params, "{}"));
    db_put_text(&q, or_else(row->resolved, "{}"));
    db_put_int(&q, (int64_t)row->gpu_memory_bytes);
    db_put_int(&q, row->preemptible);
    IJ_TRY(db_run(&q, NULL, reterr_err));
    row->id = db_last_id(&store->state);
    row->ver = 1;
    row->updated_ms = row->created_ms;
    return IJ_OK;
}

enum ij_status run_row_get(struct store *store, int64_t id, struct run_row *ret_row,
                           struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(
        db_start(&store->state, "SELECT " RUN_READ_COLUMNS " FROM run WHERE id=?", &q, reterr_err));
    db_put_int(&q, id);
    IJ_TRY(db_next(&q, &found, reterr_err));
    if (!found)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no run r%lld", (long long)id);
    return run_read_row(&q, ret_row, reterr_err);
}

/* Why an update guarded by `ver` changed nothing. */
static enum ij_status explain_unchanged(struct store *store, int64_t id, int64_t ver,
                                        struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->state, "SELECT ver FROM run WHERE id=?", &q, reterr_err));
    db_put_int(&q, id);
    IJ_TRY(db_next(&q, &found, reterr_err));
    if (!found)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no run r%lld", (long long)id);
    return IJ_ERR(reterr_err, IJ_CONFLICT, "run r%lld is at version %lld, not %lld: it was changed",
                  (long long)id, (long long)db_int(&q), (long long)ver);
}

static enum ij_status finish_update(struct store *store, struct db_query *q, struct run_row *row,
                                    int64_t now_ms, struct ij_err *reterr_err)
{
    int64_t changes;
    db_put_int(q, now_ms);
    db_put_int(q, row->id);
    db_put_int(q, row->ver);
    IJ_TRY(db_run(q, &changes, reterr_err));
    if (changes == 0)
        return explain_unchanged(store, row->id, row->ver, reterr_err);
    row->ver++;
    row->updated_ms = now_ms;
    return IJ_OK;
}

enum ij_status run_row_update_state(struct store *store, struct run_row *row, int64_t now_ms,
                                    struct ij_err *reterr_err)
{
    static const char sql[] =
        "UPDATE run SET state=?,desired=?,reason=?,reason_text=?,deadline_ms=?,priority=?,"
        "queue_pos=?,slots=?,backend=?,device=?,attempts=?,failures=?,preemptions=?,failure=?,"
        "same_failures=?,not_before_ms=?,start_eta_ms=?,started_ms=?,finished_ms=?,"
        "queued_ms=?,scratch_attempt=?,blocking=?,gpus=?,ver=ver+1,updated_ms=?"
        " WHERE id=? AND ver=?";
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, sql, &q, reterr_err));
    put_state(&q, row);
    return finish_update(store, &q, row, now_ms, reterr_err);
}

enum ij_status run_row_update_meta(struct store *store, struct run_row *row, int64_t now_ms,
                                   struct ij_err *reterr_err)
{
    static const char sql[] =
        "UPDATE run SET name=?,tags=?,notes=?,retention=?,priority=?,ver=ver+1,updated_ms=?"
        " WHERE id=? AND ver=?";
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, sql, &q, reterr_err));
    db_put_text(&q, row->name);
    db_put_text(&q, or_else(row->tags, "[]"));
    db_put_text(&q, or_else(row->notes, ""));
    db_put_text(&q, or_else(row->retention, "{}"));
    db_put_int(&q, row->priority);
    return finish_update(store, &q, row, now_ms, reterr_err);
}

enum ij_status run_row_update_progress(struct store *store, const struct run_row *row,
                                       int64_t now_ms, struct ij_err *reterr_err)
{
    static const char sql[] = "UPDATE run SET step=?,steps=?,epoch=?,images_per_s=?,eta_s=?,"
                              "phase=?,health=?,last=?,updated_ms=? WHERE id=?";
    db_auto struct db_query q = DB_QUERY_INIT;
    int64_t changes;
    IJ_TRY(db_start(&store->state, sql, &q, reterr_err));
    put_progress(&q, row);
    db_put_int(&q, now_ms);
    db_put_int(&q, row->id);
    IJ_TRY(db_run(&q, &changes, reterr_err));
    if (changes == 0)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no run r%lld", (long long)row->id);
    return IJ_OK;
}

enum ij_status run_row_delete(struct store *store, int64_t id, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    int64_t changes;
    IJ_TRY(db_start(&store->state,
                    "DELETE FROM run WHERE id=?"
                    " AND state IN('succeeded','failed','canceled','quarantined')",
                    &q, reterr_err));
    db_put_int(&q, id);
    IJ_TRY(db_run(&q, &changes, reterr_err));
    if (changes > 0)
        return IJ_OK;
    struct run_row row;
    IJ_TRY(run_row_get(store, id, &row, reterr_err));
    enum run_state state = row.state;
    run_row_done(&row);
    return IJ_ERR(reterr_err, IJ_CONFLICT, "run r%lld is %s; only a run that has ended can go",
                  (long long)id, run_state_name(state));
}

enum ij_status run_row_user(struct store *store, int64_t id, int64_t *ret_user,
                            struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    *ret_user = 0;
    IJ_TRY(db_start(&store->state,
                    "SELECT id FROM run WHERE"
                    " state NOT IN('succeeded','failed','canceled','quarantined') AND id<>?1 AND"
                    " (id IN(SELECT run FROM dep WHERE on_run=?1)"
                    " OR json_extract(params,'$.checkpoint')='r'||?1"
                    " OR json_extract(params,'$.checkpoint') IN"
                    "(SELECT 'c'||id FROM checkpoint WHERE run=?1)) ORDER BY id LIMIT 1",
                    &q, reterr_err));
    db_put_int(&q, id);
    IJ_TRY(db_next(&q, &found, reterr_err));
    if (found)
        *ret_user = db_int(&q);
    return IJ_OK;
}
