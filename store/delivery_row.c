/* See delivery_row.h. */
#include "store/delivery_row.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "store/handle.h"
#include "store/row_array.h"

#define COLUMNS "id,webhook,event,run,type,state,tries,next_ms,http,error,created_ms,ended_ms"

static const char *const state_names[DELIVERY_ROW_STATE_COUNT] = {
#define X(code, name) [DELIVERY_ROW_##code] = name,
    DELIVERY_ROW_STATE_MAP(X)
#undef X
};

const char *delivery_row_state_name(enum delivery_row_state state)
{
    IJ_ASSERT((unsigned)state < DELIVERY_ROW_STATE_COUNT);
    return state_names[state];
}

void delivery_row_done(struct delivery_row *row)
{
    mem_free(row->body);
    *row = (struct delivery_row){.id = 0};
}

void delivery_row_list_done(struct delivery_row_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        delivery_row_done(&list->rows[i]);
    mem_free(list->rows);
    *list = (struct delivery_row_list){.rows = NULL};
}

static enum ij_status count_waiting(struct store *store, int64_t webhook, int64_t *ret_count,
                                    struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->state,
                    "SELECT count(*) FROM delivery WHERE webhook=? AND state='waiting'", &q,
                    reterr_err));
    db_put_int(&q, webhook);
    IJ_TRY(db_next(&q, &found, reterr_err));
    *ret_count = found ? db_int(&q) : 0;
    return IJ_OK;
}

enum ij_status delivery_row_insert(struct store *store, struct delivery_row *row,
                                   struct ij_err *reterr_err)
{
    int64_t waiting;
    IJ_TRY(count_waiting(store, row->webhook, &waiting, reterr_err));
    if (waiting >= DELIVERY_ROW_WAITING_MAX) {
        row->state = DELIVERY_ROW_FAILED;
        row->ended_ms = row->created_ms;
        snprintf(row->error, sizeof row->error, "%d deliveries wait already",
                 DELIVERY_ROW_WAITING_MAX);
    }
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "INSERT INTO delivery(webhook,event,run,type,state,tries,next_ms,http,error,"
                    "created_ms,ended_ms,body)VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
                    &q, reterr_err));
    db_put_int(&q, row->webhook);
    db_put_int(&q, row->event);
    db_put_int(&q, row->run);
    db_put_text(&q, row->type);
    db_put_text(&q, delivery_row_state_name(row->state));
    db_put_int(&q, row->tries);
    db_put_int(&q, row->next_ms);
    db_put_int(&q, row->http);
    db_put_text(&q, row->error);
    db_put_int(&q, row->created_ms);
    db_put_int(&q, row->ended_ms);
    db_put_text(&q, row->body ? row->body : "{}");
    IJ_TRY(db_run(&q, NULL, reterr_err));
    row->id = db_last_id(&store->state);
    return IJ_OK;
}

static enum delivery_row_state state_of(const char *name)
{
    for (int i = 0; i < DELIVERY_ROW_STATE_COUNT; i++)
        if (strcmp(name, state_names[i]) == 0)
            return (enum delivery_row_state)i;
    return DELIVERY_ROW_FAILED; /* CHECK allows no other */
}

static void read_row(struct db_query *q, void *ret_row)
{
    struct delivery_row *row = ret_row;
    char state[16];
    row->id = db_int(q);
    row->webhook = db_int(q);
    row->event = db_int(q);
    row->run = db_int(q);
    db_text(q, row->type, sizeof row->type);
    db_text(q, state, sizeof state);
    row->state = state_of(state);
    row->tries = (int32_t)db_int(q);
    row->next_ms = db_int(q);
    row->http = (int32_t)db_int(q);
    db_text(q, row->error, sizeof row->error);
    row->created_ms = db_int(q);
    row->ended_ms = db_int(q);
}

static void read_with_body(struct db_query *q, void *ret_row)
{
    read_row(q, ret_row);
    ((struct delivery_row *)ret_row)->body = db_text_dup(q);
}

static void free_row(void *row)
{
    delivery_row_done(row);
}

enum ij_status delivery_row_get(struct store *store, int64_t id, struct delivery_row *ret_row,
                                struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->state, "SELECT " COLUMNS ",body FROM delivery WHERE id=?", &q,
                    reterr_err));
    db_put_int(&q, id);
    IJ_TRY(db_next(&q, &found, reterr_err));
    if (!found)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no delivery d%lld", (long long)id);
    read_with_body(&q, ret_row);
    enum ij_status status = db_copied(&q, reterr_err);
    if (status != IJ_OK)
        delivery_row_done(ret_row);
    return status;
}

enum ij_status delivery_row_list(struct store *store, int64_t webhook, int64_t before,
                                 uint32_t limit, struct delivery_row_list *ret_list,
                                 struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "SELECT " COLUMNS " FROM delivery WHERE webhook=?1 AND (?2=0 OR id<?2)"
                    " ORDER BY id DESC LIMIT ?3",
                    &q, reterr_err));
    db_put_int(&q, webhook);
    db_put_int(&q, before);
    db_put_int(&q, limit);
    return row_array_read(&q, sizeof ret_list->rows[0], read_row, free_row,
                          (void **)&ret_list->rows, &ret_list->count, reterr_err);
}

enum ij_status delivery_row_due(struct store *store, int64_t webhook, int64_t now_ms,
                                uint32_t limit, struct delivery_row_list *ret_list,
                                struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "SELECT " COLUMNS ",body FROM delivery WHERE webhook=? AND state='waiting'"
                    " AND next_ms<=? ORDER BY id LIMIT ?",
                    &q, reterr_err));
    db_put_int(&q, webhook);
    db_put_int(&q, now_ms);
    db_put_int(&q, limit);
    return row_array_read(&q, sizeof ret_list->rows[0], read_with_body, free_row,
                          (void **)&ret_list->rows, &ret_list->count, reterr_err);
}

enum ij_status delivery_row_update(struct store *store, const struct delivery_row *row,
                                   struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    int64_t changes;
    IJ_TRY(db_start(&store->state,
                    "UPDATE delivery SET state=?,tries=?,next_ms=?,http=?,error=?,ended_ms=?"
                    " WHERE id=?",
                    &q, reterr_err));
    db_put_text(&q, delivery_row_state_name(row->state));
    db_put_int(&q, row->tries);
    db_put_int(&q, row->next_ms);
    db_put_int(&q, row->http);
    db_put_text(&q, row->error);
    db_put_int(&q, row->ended_ms);
    db_put_int(&q, row->id);
    IJ_TRY(db_run(&q, &changes, reterr_err));
    if (!changes)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no delivery d%lld", (long long)row->id);
    return IJ_OK;
}

enum ij_status delivery_row_give_up(struct store *store, int64_t webhook, const char *error,
                                    int64_t now_ms, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "UPDATE delivery SET state='failed',error=?,ended_ms=?"
                    " WHERE webhook=? AND state='waiting'",
                    &q, reterr_err));
    db_put_text(&q, error);
    db_put_int(&q, now_ms);
    db_put_int(&q, webhook);
    return db_run(&q, NULL, reterr_err);
}

enum ij_status delivery_row_trim(struct store *store, int64_t *ret_removed,
                                 struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "DELETE FROM delivery WHERE state<>'waiting' AND id<="
                    "(SELECT id FROM delivery AS d WHERE d.webhook=delivery.webhook"
                    " AND d.state<>'waiting' ORDER BY id DESC LIMIT 1 OFFSET ?)",
                    &q, reterr_err));
    db_put_int(&q, DELIVERY_ROW_KEEP);
    return db_run(&q, ret_removed, reterr_err);
}
