/* See webhook_row.h. */
#include "store/webhook_row.h"

#include <string.h>

#include "base/mem.h"
#include "store/handle.h"
#include "store/row_array.h"

#define LAST(column)                                                                               \
    "(SELECT " column " FROM delivery WHERE webhook=webhook.id AND state<>'waiting'"               \
    " ORDER BY id DESC LIMIT 1)"
#define COLUMNS                                                                                    \
    "id,url,events,secret,note,user,enabled,reason,cursor,created_ms,"                             \
    "(SELECT count(*) FROM delivery WHERE webhook=webhook.id AND state='waiting')," LAST(          \
        "state") "," LAST("http") "," LAST("ended_ms")

static enum ij_status check_room(struct store *store, struct ij_err *reterr_err)
{
    int64_t count;
    IJ_TRY(db_value(&store->state, "SELECT count(*) FROM webhook", &count, reterr_err));
    if (count >= WEBHOOK_ROW_MAX)
        return IJ_ERR(reterr_err, IJ_CONFLICT, "there are %d webhooks already: delete one first",
                      WEBHOOK_ROW_MAX);
    return IJ_OK;
}

enum ij_status webhook_row_insert(struct store *store, struct webhook_row *row,
                                  struct ij_err *reterr_err)
{
    IJ_TRY(check_room(store, reterr_err));
    IJ_TRY(
        db_value(&store->state, "SELECT coalesce(max(id),0) FROM event", &row->cursor, reterr_err));
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "INSERT INTO webhook(url,events,secret,note,user,enabled,reason,cursor,"
                    "created_ms)VALUES(?,?,?,?,?,?,?,?,?)",
                    &q, reterr_err));
    db_put_text(&q, row->url);
    db_put_text(&q, row->events);
    db_put_text(&q, row->secret);
    db_put_text(&q, row->note);
    db_put_text(&q, row->user);
    db_put_int(&q, row->enabled);
    db_put_text(&q, row->reason);
    db_put_int(&q, row->cursor);
    db_put_int(&q, row->created_ms);
    IJ_TRY(db_run(&q, NULL, reterr_err));
    row->id = db_last_id(&store->state);
    return IJ_OK;
}

static void read_row(struct db_query *q, void *ret_row)
{
    struct webhook_row *row = ret_row;
    char state[16];
    row->id = db_int(q);
    db_text(q, row->url, sizeof row->url);
    db_text(q, row->events, sizeof row->events);
    db_text(q, row->secret, sizeof row->secret);
    db_text(q, row->note, sizeof row->note);
    db_text(q, row->user, sizeof row->user);
    row->enabled = db_int(q) != 0;
    db_text(q, row->reason, sizeof row->reason);
    row->cursor = db_int(q);
    row->created_ms = db_int(q);
    row->waiting = db_int(q);
    db_text(q, state, sizeof state);
    row->last_state = strcmp(state, delivery_row_state_name(DELIVERY_ROW_DELIVERED)) == 0
                          ? DELIVERY_ROW_DELIVERED
                          : DELIVERY_ROW_FAILED;
    row->last_http = db_int(q);
    row->last_ms = db_int(q);
}

static enum ij_status no_webhook(int64_t id, struct ij_err *reterr_err)
{
    return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no webhook w%lld", (long long)id);
}

enum ij_status webhook_row_get(struct store *store, int64_t id, struct webhook_row *ret_row,
                               struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->state, "SELECT " COLUMNS " FROM webhook WHERE id=?", &q, reterr_err));
    db_put_int(&q, id);
    IJ_TRY(db_next(&q, &found, reterr_err));
    if (!found)
        return no_webhook(id, reterr_err);
    read_row(&q, ret_row);
    return IJ_OK;
}

enum ij_status webhook_row_list(struct store *store, struct webhook_row **ret_rows,
                                size_t *ret_count, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "SELECT " COLUMNS " FROM webhook ORDER BY id", &q, reterr_err));
    return row_array_read(&q, sizeof **ret_rows, read_row, NULL, (void **)ret_rows, ret_count,
                          reterr_err);
}

enum ij_status webhook_row_enable(struct store *store, int64_t id, bool enabled, const char *reason,
                                  int64_t now_ms, struct ij_err *reterr_err)
{
    int64_t changes;
    if (!enabled)
        IJ_TRY(delivery_row_give_up(store, id, "the webhook was switched off", now_ms, reterr_err));
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "UPDATE webhook SET cursor=iif(?1 AND NOT enabled,"
                    "(SELECT coalesce(max(id),0) FROM event),cursor),enabled=?1,reason=?2"
                    " WHERE id=?3",
                    &q, reterr_err));
    db_put_int(&q, enabled);
    db_put_text(&q, reason);
    db_put_int(&q, id);
    IJ_TRY(db_run(&q, &changes, reterr_err));
    return changes ? IJ_OK : no_webhook(id, reterr_err);
}

enum ij_status webhook_row_delete(struct store *store, int64_t id, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    int64_t changes;
    IJ_TRY(db_start(&store->state, "DELETE FROM webhook WHERE id=?", &q, reterr_err));
    db_put_int(&q, id);
    IJ_TRY(db_run(&q, &changes, reterr_err));
    return changes ? IJ_OK : no_webhook(id, reterr_err);
}

enum ij_status webhook_row_advance(struct store *store, int64_t cursor, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "UPDATE webhook SET cursor=?1 WHERE cursor<?1", &q, reterr_err));
    db_put_int(&q, cursor);
    return db_run(&q, NULL, reterr_err);
}
