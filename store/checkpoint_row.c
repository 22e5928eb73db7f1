/* See checkpoint_row.h. */
#include "store/checkpoint_row.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/handle.h"
#include "store/row_array.h"

#define COLUMNS "id,run,attempt,step,epoch,path,bytes,hash,state,pinned,score,created_ms"

static const char *const names[CHECKPOINT_ROW_STATE_COUNT] = {
#define X(code, name) [CHECKPOINT_ROW_##code] = name,
    CHECKPOINT_ROW_STATE_MAP(X)
#undef X
};

const char *checkpoint_row_state_name(enum checkpoint_row_state state)
{
    IJ_ASSERT((unsigned)state < CHECKPOINT_ROW_STATE_COUNT);
    return names[state];
}

static void read_row(struct db_query *q, void *ret_row)
{
    struct checkpoint_row *row = ret_row;
    char state[16];
    row->id = db_int(q);
    row->run = db_int(q);
    row->attempt = (int32_t)db_int(q);
    row->step = (uint64_t)db_int(q);
    row->epoch = db_real(q);
    db_text(q, row->path, sizeof row->path);
    row->bytes = (uint64_t)db_int(q);
    db_text(q, row->hash, sizeof row->hash);
    db_text(q, state, sizeof state);
    row->pinned = db_int(q) != 0;
    row->score = db_real(q);
    row->created_ms = db_int(q);
    for (int i = 0; i < CHECKPOINT_ROW_STATE_COUNT; i++)
        if (strcmp(state, names[i]) == 0)
            row->state = (enum checkpoint_row_state)i;
}

static enum ij_status read_one(struct db_query *q, struct checkpoint_row *ret_row, bool *ret_found,
                               struct ij_err *reterr_err)
{
    IJ_TRY(db_next(q, ret_found, reterr_err));
    if (*ret_found)
        read_row(q, ret_row);
    return IJ_OK;
}

static enum ij_status no_checkpoint(int64_t id, struct ij_err *reterr_err)
{
    return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no checkpoint c%lld", (long long)id);
}

enum ij_status checkpoint_row_put(struct store *store, struct checkpoint_row *row,
                                  struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->state,
                    "INSERT INTO checkpoint(run,attempt,step,epoch,path,bytes,hash,state,pinned,"
                    "score,created_ms)VALUES(?,?,?,?,?,?,?,?,?,?,?)"
                    " ON CONFLICT(run,step,path) DO UPDATE SET attempt=excluded.attempt,"
                    "epoch=excluded.epoch,bytes=excluded.bytes,hash=excluded.hash,"
                    "state=excluded.state,score=excluded.score,pinned=max(pinned,excluded.pinned)"
                    " RETURNING id",
                    &q, reterr_err));
    db_put_int(&q, row->run);
    db_put_int(&q, row->attempt);
    db_put_int(&q, (int64_t)row->step);
    db_put_real(&q, row->epoch);
    db_put_text(&q, row->path);
    db_put_int(&q, (int64_t)row->bytes);
    db_put_text(&q, row->hash);
    db_put_text(&q, checkpoint_row_state_name(row->state));
    db_put_int(&q, row->pinned);
    db_put_real(&q, row->score);
    db_put_int(&q, row->created_ms);
    IJ_TRY(db_next(&q, &found, reterr_err));
    row->id = db_int(&q);
    return db_run(&q, NULL, reterr_err);
}

enum ij_status checkpoint_row_get(struct store *store, int64_t id, struct checkpoint_row *ret_row,
                                  struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(
        db_start(&store->state, "SELECT " COLUMNS " FROM checkpoint WHERE id=?", &q, reterr_err));
    db_put_int(&q, id);
    IJ_TRY(read_one(&q, ret_row, &found, reterr_err));
    return found ? IJ_OK : no_checkpoint(id, reterr_err);
}

/* A checkpoint of the run's present history, not of one that was given up. */
#define PRESENT(table)                                                                             \
    "(" table ".attempt>=(SELECT scratch_attempt FROM run WHERE run.id=" table ".run))"

enum ij_status checkpoint_row_newest(struct store *store, int64_t run,
                                     struct checkpoint_row *ret_row, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->state,
                    "SELECT " COLUMNS " FROM checkpoint WHERE run=? AND state='valid'"
                    " ORDER BY " PRESENT("checkpoint") " DESC, step DESC, id DESC LIMIT 1",
                    &q, reterr_err));
    db_put_int(&q, run);
    IJ_TRY(read_one(&q, ret_row, &found, reterr_err));
    if (!found)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "run r%lld has no valid checkpoint",
                      (long long)run);
    return IJ_OK;
}

enum ij_status checkpoint_row_set_state(struct store *store, int64_t id,
                                        enum checkpoint_row_state state, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    int64_t changes;
    IJ_TRY(db_start(&store->state, "UPDATE checkpoint SET state=? WHERE id=?", &q, reterr_err));
    db_put_text(&q, checkpoint_row_state_name(state));
    db_put_int(&q, id);
    IJ_TRY(db_run(&q, &changes, reterr_err));
    return changes ? IJ_OK : no_checkpoint(id, reterr_err);
}

enum ij_status checkpoint_row_set_pinned(struct store *store, int64_t id, bool pinned,
                                         struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    int64_t changes;
    IJ_TRY(db_start(&store->state, "UPDATE checkpoint SET pinned=? WHERE id=?", &q, reterr_err));
    db_put_int(&q, pinned);
    db_put_int(&q, id);
    IJ_TRY(db_run(&q, &changes, reterr_err));
    return changes ? IJ_OK : no_checkpoint(id, reterr_err);
}

enum ij_status checkpoint_row_set_score(struct store *store, int64_t id, double score,
                                        struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "UPDATE checkpoint SET score=?1 WHERE id=?2 AND score IS NOT ?1",
                    &q, reterr_err));
    db_put_real(&q, score);
    db_put_int(&q, id);
    return db_run(&q, NULL, reterr_err);
}

/* One statement checks and changes, so that the last valid checkpoint cannot slip through. */
enum ij_status checkpoint_row_retire(struct store *store, int64_t id, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    struct checkpoint_row row;
    int64_t changes;
    IJ_TRY(db_start(&store->state,
                    "UPDATE checkpoint SET state='deleting' WHERE id=? AND state='valid'"
                    " AND pinned=0 AND EXISTS(SELECT 1 FROM checkpoint AS other"
                    " WHERE other.run=checkpoint.run AND other.state='valid'"
                    " AND (" PRESENT("other") ",other.step,other.id)>(" PRESENT(
                        "checkpoint") ",checkpoint.step,checkpoint.id))",
                    &q, reterr_err));
    db_put_int(&q, id);
    IJ_TRY(db_run(&q, &changes, reterr_err));
    if (changes)
        return IJ_OK;
    IJ_TRY(checkpoint_row_get(store, id, &row, reterr_err));
    const char *why = row.state != CHECKPOINT_ROW_VALID ? names[row.state]
                      : row.pinned                      ? "pinned"
                                                        : "the newest valid one of its run";
    return IJ_ERR(reterr_err, IJ_CONFLICT, "checkpoint c%lld cannot be deleted: it is %s",
                  (long long)id, why);
}

/* ",valid,writing," */
static void states_text(uint32_t states, char text[64])
{
    if (states == 0)
        states = ~(1u << CHECKPOINT_ROW_GONE);
    size_t n = (size_t)snprintf(text, 64, ",");
    for (unsigned i = 0; i < CHECKPOINT_ROW_STATE_COUNT; i++)
        if (states & (1u << i))
            n += (size_t)snprintf(text + n, 64 - n, "%s,", names[i]);
}

enum ij_status checkpoint_row_list(struct store *store, int64_t run, uint32_t states,
                                   int64_t before, uint32_t limit, struct checkpoint_row **ret_rows,
                                   size_t *ret_count, struct ij_err *reterr_err)
{
    char text[64];
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "SELECT " COLUMNS " FROM checkpoint WHERE (?1=0 OR run=?1)"
                    " AND instr(?2, ',' || state || ',') > 0 AND (?3=0 OR (step,id)<"
                    "(SELECT step,id FROM checkpoint WHERE id=?3))"
                    " ORDER BY step DESC, id DESC LIMIT ?4",
                    &q, reterr_err));
    states_text(states, text);
    db_put_int(&q, run);
    db_put_text(&q, text);
    db_put_int(&q, before);
    db_put_int(&q, limit);
    return row_array_read(&q, sizeof **ret_rows, read_row, NULL, (void **)ret_rows, ret_count,
                          reterr_err);
}

enum ij_status checkpoint_row_reader(struct store *store, const struct checkpoint_row *row,
                                     int64_t *ret_run, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    char name[24];
    *ret_run = 0;
    IJ_TRY(db_start(&store->state,
                    "SELECT id FROM run WHERE"
                    " state NOT IN('succeeded','failed','canceled','quarantined')"
                    " AND json_extract(params,'$.checkpoint')=? ORDER BY id LIMIT 1",
                    &q, reterr_err));
    snprintf(name, sizeof name, "c%lld", (long long)row->id);
    db_put_text(&q, name);
    IJ_TRY(db_next(&q, &found, reterr_err));
    if (found)
        *ret_run = db_int(&q);
    return IJ_OK;
}

enum ij_status checkpoint_row_surplus(struct store *store, uint32_t keep, uint32_t limit,
                                      struct checkpoint_row **ret_rows, size_t *ret_count,
                                      struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_ASSERT(keep >= 1);
    IJ_TRY(db_start(&store->state,
                    "SELECT " COLUMNS " FROM (SELECT *, row_number() OVER"
                    " (PARTITION BY run ORDER BY " PRESENT(
                        "checkpoint") " DESC, step DESC, id DESC)"
                                      " AS place FROM checkpoint"
                                      " WHERE state='valid') AS one WHERE place>?1 AND pinned=0"
                                      " AND (SELECT state FROM run WHERE run.id=one.run)"
                                      " IN('succeeded','failed','canceled','quarantined')"
                                      " ORDER BY run, step LIMIT ?2",
                    &q, reterr_err));
    db_put_int(&q, keep);
    db_put_int(&q, limit);
    return row_array_read(&q, sizeof **ret_rows, read_row, NULL, (void **)ret_rows, ret_count,
                          reterr_err);
}
