/* See idem_row.h. */
#include "store/idem_row.h"

#include <string.h>

#include "base/mem.h"
#include "store/handle.h"

void idem_row_done(struct idem_row *row)
{
    mem_free(row->response);
    *row = (struct idem_row){.ts_ms = 0};
}

enum ij_status idem_row_insert(struct store *store, const struct idem_row *row,
                               struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    int64_t changes;
    IJ_TRY(db_start(&store->state,
                    "INSERT INTO idem(user,key,body_sha256,status,response,ts_ms)"
                    "VALUES(?,?,?,?,?,?) ON CONFLICT(user,key) DO NOTHING",
                    &q, reterr_err));
    db_put_text(&q, row->user);
    db_put_text(&q, row->key);
    db_put_blob(&q, row->body_sha256, sizeof row->body_sha256);
    db_put_int(&q, row->status);
    db_put_text(&q, row->response);
    db_put_int(&q, row->ts_ms);
    IJ_TRY(db_run(&q, &changes, reterr_err));
    if (changes)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_CONFLICT, "Idempotency-Key",
                        "the Idempotency-Key was used before");
}

static enum ij_status no_key(struct ij_err *reterr_err)
{
    return IJ_ERR_FIELD(reterr_err, IJ_NOT_FOUND, "Idempotency-Key",
                        "the Idempotency-Key is not known");
}

enum ij_status idem_row_get(struct store *store, const char *user, const char *key,
                            struct idem_row *ret_row, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    struct idem_row row = {.ts_ms = 0};
    bool found;
    size_t size;
    IJ_TRY(db_start(&store->state,
                    "SELECT user,key,body_sha256,status,ts_ms,response IS NOT NULL,response"
                    " FROM idem WHERE user=? AND key=?",
                    &q, reterr_err));
    db_put_text(&q, user);
    db_put_text(&q, key);
    IJ_TRY(db_next(&q, &found, reterr_err));
    if (!found)
        return no_key(reterr_err);
    db_text(&q, row.user, sizeof row.user);
    db_text(&q, row.key, sizeof row.key);
    const void *digest = db_blob(&q, &size);
    if (size == sizeof row.body_sha256)
        memcpy(row.body_sha256, digest, size);
    row.status = (int32_t)db_int(&q);
    row.ts_ms = db_int(&q);
    if (db_int(&q))
        row.response = db_text_dup(&q);
    IJ_TRY(db_copied(&q, reterr_err));
    *ret_row = row;
    return IJ_OK;
}

enum ij_status idem_row_finish(struct store *store, const char *user, const char *key,
                               int32_t status, const char *response, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    int64_t changes;
    IJ_TRY(db_start(&store->state, "UPDATE idem SET status=?,response=? WHERE user=? AND key=?", &q,
                    reterr_err));
    db_put_int(&q, status);
    db_put_text(&q, response);
    db_put_text(&q, user);
    db_put_text(&q, key);
    IJ_TRY(db_run(&q, &changes, reterr_err));
    return changes ? IJ_OK : no_key(reterr_err);
}

enum ij_status idem_row_delete(struct store *store, const char *user, const char *key,
                               struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "DELETE FROM idem WHERE user=? AND key=?", &q, reterr_err));
    db_put_text(&q, user);
    db_put_text(&q, key);
    return db_run(&q, NULL, reterr_err);
}

enum ij_status idem_row_trim(struct store *store, int64_t keep_from_ms, bool unfinished,
                             int64_t *ret_removed, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "DELETE FROM idem WHERE ts_ms<?1 OR (?2 AND status=0)", &q,
                    reterr_err));
    db_put_int(&q, keep_from_ms);
    db_put_int(&q, unfinished);
    return db_run(&q, ret_removed, reterr_err);
}
