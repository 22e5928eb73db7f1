/* See token_verb.h. */
#include "daemon/token_verb.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/audit.h"
#include "daemon/backup.h"
#include "daemon/idempotency.h"

#define ID_CHARACTERS     8
#define SECRET_CHARACTERS 43 /* of 62 values each: 256 bits */

/* Letters drawn evenly: a byte beyond the largest multiple of their number is drawn again. */
static enum ij_status random_text(const char *alphabet, char *ret_text, size_t count,
                                  struct ij_err *reterr_err)
{
    size_t letters = strlen(alphabet), limit = 256 - 256 % letters;
    for (size_t i = 0; i < count;) {
        uint8_t byte;
        if (getrandom(&byte, 1, 0) != 1)
            return IJ_ERR_SYS(reterr_err, errno, "", "cannot get random bytes");
        if (byte < limit)
            ret_text[i++] = alphabet[byte % letters];
    }
    ret_text[count] = '\0';
    return IJ_OK;
}

enum ij_status token_verb_make(struct store *store, const char *user, enum token_row_role role,
                               int64_t expires_ms, const char *note, struct token_row *ret_row,
                               char ret_text[TOKEN_VERB_TEXT_SIZE], struct ij_err *reterr_err)
{
    static const char lower[] = "abcdefghijklmnopqrstuvwxyz234567";
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    struct token_row row = {.role = role, .created_ms = clock_wall_ms(), .expires_ms = expires_ms};
    char secret[SECRET_CHARACTERS + 1];
    if (!text_is_name(user))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/user",
                            "user must be 1 to 64 letters, digits, '.', '_' or '-'");
    IJ_TRY(random_text(lower, row.id, ID_CHARACTERS, reterr_err));
    IJ_TRY(random_text(all, secret, SECRET_CHARACTERS, reterr_err));
    snprintf(ret_text, TOKEN_VERB_TEXT_SIZE, "ijp_%s_%s", row.id, secret);
    explicit_bzero(secret, sizeof(secret));
    hash_bytes(ret_text, strlen(ret_text), row.sha256);
    snprintf(row.user, sizeof(row.user), "%s", user);
    snprintf(row.note, sizeof(row.note), "%s", note);
    IJ_TRY(token_row_insert(store, &row, reterr_err));
    *ret_row = row;
    return IJ_OK;
}

/* ---- Verbs ----------------------------------------------------------------------------------- */

static enum ij_status check_keys(const json_t *body, const char *const *keys, size_t count,
                                 struct ij_err *reterr_err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(body))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "", "expected an object");
    json_object_foreach((json_t *)body, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < count; i++)
            known |= strcmp(key, keys[i]) == 0;
        const char *nearest = known ? NULL : text_nearest(key, keys, count);
        char pointer[IJ_ERR_FIELD_MAX];
        snprintf(pointer, sizeof(pointer), "/%.100s", key);
        if (!known)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, pointer, "unknown key \"%.60s\"%s%s%s", key,
                                nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                                nearest ? "\"?" : "");
    }
    return IJ_OK;
}

static enum ij_status parse_create(const json_t *body, const char **ret_user,
                                   enum token_row_role *ret_role, int64_t *ret_expires_ms,
                                   struct ij_err *reterr_err)
{
    static const char *const keys[] = {"user", "role", "expires_s", "note"};
    IJ_TRY(check_keys(body, keys, COUNT_OF(keys), reterr_err));
    const char *role = json_string_value(json_object_get(body, "role"));
    const json_t *expires = json_object_get(body, "expires_s");
    const json_t *note = json_object_get(body, "note");
    *ret_user = json_string_value(json_object_get(body, "user"));
    if (!*ret_user)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/user", "user is required");
    if (!role || !token_row_role_from_name(role, ret_role))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/role",
                            "role must be viewer, submitter, operator or admin");
    if (note && (!json_is_string(note) || json_string_length(note) > 128))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/note",
                            "note must be text of at most 128 bytes");
    *ret_expires_ms = 0;
    if (!expires)
        return IJ_OK;
    json_int_t seconds = json_integer_value(expires);
    if (!json_is_integer(expires) || seconds < 1 || seconds > 10LL * 366 * 86400)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/expires_s",
                            "expires_s must be 1 to 316224000 seconds");
    *ret_expires_ms = clock_wall_ms() + seconds * 1000;
    return IJ_OK;
}

/* A repeated request: the same token, but its text was told once and is not known any more. */
static enum ij_status tell_again(struct daemon *daemon, const char *id, struct control_reply *reply)
{
    struct token_row row;
    char expires[CLOCK_RFC3339_SIZE];
    IJ_TRY(token_row_get(daemon->store, id, &row, &reply->err));
    clock_rfc3339(row.expires_ms, expires);
    reply->details = json_pack("{s:s, s:n, s:s, s:s, s:o}", "id", row.id, "token", "user", row.user,
                               "role", token_row_role_name(row.role), "expires",
                               row.expires_ms ? json_string(expires) : json_null());
    return IJ_OK;
}

static enum ij_status create(struct daemon *daemon, const struct control_request *request,
                             struct control_reply *reply)
{
    const char *user, *note = json_string_value(json_object_get(request->body, "note"));
    enum token_row_role role;
    int64_t expires_ms;
    struct token_row row;
    char text[TOKEN_VERB_TEXT_SIZE] = "", expires[CLOCK_RFC3339_SIZE];
    char known_id[IDEMPOTENCY_ID_SIZE];
    bool known;
    IJ_TRY(idempotency_find(daemon->store, request, reply, known_id, &known));
    if (known)
        return tell_again(daemon, known_id, reply);
    IJ_TRY(parse_create(request->body, &user, &role, &expires_ms, &reply->err));
    IJ_TRY(store_begin(daemon->store, &reply->err));
    enum ij_status status = token_verb_make(daemon->store, user, role, expires_ms, note ? note : "",
                                            &row, text, &reply->err);
    if (status == IJ_OK)
        status = idempotency_keep(daemon->store, request, row.id, &reply->err);
    if (status == IJ_OK)
        status = audit_request(daemon->store, request, 0, &reply->err);
    if (status == IJ_OK)
        status = store_commit(daemon->store, &reply->err);
    if (status != IJ_OK) {
        store_rollback(daemon->store);
        return status;
    }
    clock_rfc3339(expires_ms, expires);
    reply->details = json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", row.id, "token", text, "user",
                               row.user, "role", token_row_role_name(role), "expires",
                               expires_ms ? json_string(expires) : json_null());
    explicit_bzero(text, sizeof(text));
    return IJ_OK;
}

static enum ij_status revoke_token(struct daemon *daemon, const struct control_request *request,
                                   struct control_reply *reply)
{
    static const char *const keys[] = {"id"};
    IJ_TRY(check_keys(request->body, keys, 1, &reply->err));
    const char *id = json_string_value(json_object_get(request->body, "id"));
    if (!id)
        return IJ_ERR_FIELD(&reply->err, IJ_INVALID, "/id", "id is required");
    IJ_TRY(store_begin(daemon->store, &reply->err));
    enum ij_status status = token_row_revoke(daemon->store, id, clock_wall_ms(), &reply->err);
    if (status == IJ_OK)
        status = audit_request(daemon->store, request, 0, &reply->err);
    if (status == IJ_OK)
        status = store_commit(daemon->store, &reply->err);
    if (status != IJ_OK)
        store_rollback(daemon->store);
    return status;
}

static enum ij_status backup(struct daemon *daemon, const struct control_request *request,
                             struct control_reply *reply)
{
    static const char *const keys[] = {"file"};
    if (!json_object_size(request->body)) {
        backup_request(daemon->backup);
        reply->pending = true;
        return audit_request(daemon->store, request, 0, &reply->err);
    }
    IJ_TRY(check_keys(request->body, keys, 1, &reply->err));
    const char *file = json_string_value(json_object_get(request->body, "file"));
    if (!file || file[0] != '/')
        return IJ_ERR_FIELD(&reply->err, IJ_INVALID, "/file", "file must be an absolute path");
    IJ_TRY(audit_request(daemon->store, request, 0, &reply->err));
    return store_backup(daemon->store, false, file, &reply->err);
}

enum ij_status token_verb_handle(struct daemon *daemon, const struct control_request *request,
                                 struct control_reply *reply)
{
    if (request->verb == CONTROL_TOKEN_CREATE)
        return create(daemon, request, reply);
    if (request->verb == CONTROL_TOKEN_REVOKE)
        return revoke_token(daemon, request, reply);
    return backup(daemon, request, reply);
}
