/* See dep_row.h. */
#include "store/dep_row.h"

#include <string.h>

#include "base/mem.h"
#include "store/handle.h"
#include "store/row_array.h"

static const char *const condition_names[DEP_ROW_CONDITION_COUNT] = {"ok", "end"};

const char *dep_row_condition_name(enum dep_row_condition condition)
{
    IJ_ASSERT((unsigned)condition < DEP_ROW_CONDITION_COUNT);
    return condition_names[condition];
}

bool dep_row_condition_from_name(const char *name, enum dep_row_condition *ret_condition)
{
    for (int i = 0; i < DEP_ROW_CONDITION_COUNT; i++)
        if (strcmp(name, condition_names[i]) == 0) {
            *ret_condition = (enum dep_row_condition)i;
            return true;
        }
    return false;
}

static enum ij_status check_room(struct store *store, int64_t run, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->state, "SELECT count(*) FROM dep WHERE run=?", &q, reterr_err));
    db_put_int(&q, run);
    IJ_TRY(db_next(&q, &found, reterr_err));
    if (db_int(&q) >= DEP_ROW_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "after", "a run waits for at most %d others",
                            DEP_ROW_MAX);
    return IJ_OK;
}

enum ij_status dep_row_insert(struct store *store, const struct dep_row *row,
                              struct ij_err *reterr_err)
{
    if (row->on_run >= row->run)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "after",
                            "run r%lld can wait for older runs only, not for r%lld",
                            (long long)row->run, (long long)row->on_run);
    IJ_TRY(check_room(store, row->run, reterr_err));
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "INSERT INTO dep(run,on_run,condition)VALUES(?,?,?)", &q,
                    reterr_err));
    db_put_int(&q, row->run);
    db_put_int(&q, row->on_run);
    db_put_text(&q, dep_row_condition_name(row->condition));
    return db_run(&q, NULL, reterr_err);
}

static void read_row(struct db_query *q, void *ret_row)
{
    struct dep_row *row = ret_row;
    char condition[16], state[16];
    row->run = db_int(q);
    row->on_run = db_int(q);
    db_text(q, condition, sizeof condition);
    db_text(q, state, sizeof state);
    /* CHECK constraints allow no other names. */
    IJ_ASSERT(dep_row_condition_from_name(condition, &row->condition));
    IJ_ASSERT(run_state_from_name(state, &row->on_state));
}

static enum ij_status list(struct store *store, const char *sql, int64_t id,
                           struct dep_row **ret_rows, size_t *ret_count, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, sql, &q, reterr_err));
    db_put_int(&q, id);
    return row_array_read(&q, sizeof **ret_rows, read_row, NULL, (void **)ret_rows, ret_count,
                          reterr_err);
}

enum ij_status dep_row_list(struct store *store, int64_t run, struct dep_row **ret_rows,
                            size_t *ret_count, struct ij_err *reterr_err)
{
    return list(store,
                "SELECT dep.run,dep.on_run,dep.condition,run.state FROM dep"
                " JOIN run ON run.id=dep.on_run WHERE dep.run=? ORDER BY dep.on_run",
                run, ret_rows, ret_count, reterr_err);
}

enum ij_status dep_row_list_waiting(struct store *store, int64_t on_run, struct dep_row **ret_rows,
                                    size_t *ret_count, struct ij_err *reterr_err)
{
    return list(store,
                "SELECT dep.run,dep.on_run,dep.condition,run.state FROM dep"
                " JOIN run ON run.id=dep.on_run WHERE dep.on_run=? ORDER BY dep.run",
                on_run, ret_rows, ret_count, reterr_err);
}
