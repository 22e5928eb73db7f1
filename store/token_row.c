/* See token_row.h. */
#include "store/token_row.h"

#include <string.h>

#include "base/mem.h"
#include "store/handle.h"
#include "store/row_array.h"

#define COLUMNS "id,sha256,user,role,note,created_ms,expires_ms,used_ms,revoked_ms"

static const char *const role_names[TOKEN_ROW_ROLE_COUNT] = {
#define X(code, name) [TOKEN_ROW_##code] = name,
    TOKEN_ROW_ROLE_MAP(X)
#undef X
};

const char *token_row_role_name(enum token_row_role role)
{
    IJ_ASSERT((unsigned)role < TOKEN_ROW_ROLE_COUNT);
    return role_names[role];
}

bool token_row_role_from_name(const char *name, enum token_row_role *ret_role)
{
    for (int i = 0; i < TOKEN_ROW_ROLE_COUNT; i++)
        if (strcmp(name, role_names[i]) == 0) {
            *ret_role = (enum token_row_role)i;
            return true;
        }
    return false;
}

bool token_row_is_valid(const struct token_row *row, int64_t now_ms)
{
    return row->revoked_ms == 0 && (row->expires_ms == 0 || now_ms < row->expires_ms);
}

enum ij_status token_row_insert(struct store *store, const struct token_row *row,
                                struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "INSERT INTO token(" COLUMNS ")VALUES(?,?,?,?,?,?,?,?,?)", &q,
                    reterr_err));
    db_put_text(&q, row->id);
    db_put_blob(&q, row->sha256, sizeof row->sha256);
    db_put_text(&q, row->user);
    db_put_text(&q, token_row_role_name(row->role));
    db_put_text(&q, row->note);
    db_put_int(&q, row->created_ms);
    db_put_int(&q, row->expires_ms);
    db_put_int(&q, row->used_ms);
    db_put_int(&q, row->revoked_ms);
    return db_run(&q, NULL, reterr_err);
}

static void read_row(struct db_query *q, void *ret_row)
{
    struct token_row *row = ret_row;
    char role[16];
    size_t size;
    db_text(q, row->id, sizeof row->id);
    const void *digest = db_blob(q, &size);
    if (size == sizeof row->sha256)
        memcpy(row->sha256, digest, size);
    db_text(q, row->user, sizeof row->user);
    db_text(q, role, sizeof role);
    IJ_ASSERT(token_row_role_from_name(role, &row->role)); /* CHECK allows no other */
    db_text(q, row->note, sizeof row->note);
    row->created_ms = db_int(q);
    row->expires_ms = db_int(q);
    row->used_ms = db_int(q);
    row->revoked_ms = db_int(q);
}

static enum ij_status no_token(const char *id, struct ij_err *reterr_err)
{
    return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no token \"%s\"", id);
}

enum ij_status token_row_get(struct store *store, const char *id, struct token_row *ret_row,
                             struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool found;
    IJ_TRY(db_start(&store->state, "SELECT " COLUMNS " FROM token WHERE id=?", &q, reterr_err));
    db_put_text(&q, id);
    IJ_TRY(db_next(&q, &found, reterr_err));
    if (!found)
        return no_token(id, reterr_err);
    read_row(&q, ret_row);
    return IJ_OK;
}

enum ij_status token_row_list(struct store *store, uint32_t limit, struct token_row **ret_rows,
                              size_t *ret_count, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state, "SELECT " COLUMNS " FROM token ORDER BY created_ms, id LIMIT ?",
                    &q, reterr_err));
    db_put_int(&q, limit);
    return row_array_read(&q, sizeof **ret_rows, read_row, NULL, (void **)ret_rows, ret_count,
                          reterr_err);
}

/* For statements with the parameters (time, id). */
static enum ij_status set_time(struct store *store, const char *sql, const char *id, int64_t now_ms,
                               struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    int64_t changes;
    IJ_TRY(db_start(&store->state, sql, &q, reterr_err));
    db_put_int(&q, now_ms);
    db_put_text(&q, id);
    IJ_TRY(db_run(&q, &changes, reterr_err));
    return changes ? IJ_OK : no_token(id, reterr_err);
}

enum ij_status token_row_revoke(struct store *store, const char *id, int64_t now_ms,
                                struct ij_err *reterr_err)
{
    return set_time(store,
                    "UPDATE token SET revoked_ms=iif(revoked_ms=0,?1,revoked_ms) WHERE id=?2", id,
                    now_ms, reterr_err);
}

enum ij_status token_row_touch(struct store *store, const char *id, int64_t now_ms,
                               struct ij_err *reterr_err)
{
    return set_time(store, "UPDATE token SET used_ms=max(used_ms,?1) WHERE id=?2", id, now_ms,
                    reterr_err);
}
