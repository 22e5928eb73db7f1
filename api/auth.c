/* See auth.h. */
#include "api/auth.h"

#include <ctype.h>
#include <grp.h>
#include <nettle/memops.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "api/session.h"
#include "base/hash.h"
#include "base/mem.h"

#define SECRET_CHARS 43

static bool is_base64url(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '-' && text[i] != '_')
            return false;
    return true;
}

bool auth_parse_token(const char *text, char ret_id[17])
{
    if (strncmp(text, "ijp_", 4) != 0)
        return false;
    const char *id = text + 4;
    size_t size = strcspn(id, "_");
    if (size < 1 || size > 16 || id[size] != '_')
        return false;
    for (size_t i = 0; i < size; i++)
        if (!islower((unsigned char)id[i]) && !isdigit((unsigned char)id[i]))
            return false;
    const char *secret = id + size + 1;
    if (strlen(secret) != SECRET_CHARS || !is_base64url(secret, SECRET_CHARS))
        return false;
    memcpy(ret_id, id, size);
    ret_id[size] = '\0';
    return true;
}

bool auth_token_matches(const char *text, const struct token_row *row, int64_t now_ms)
{
    uint8_t sha256[HASH_SIZE];
    hash_bytes(text, strlen(text), sha256);
    bool same = memeql_sec(sha256, row->sha256, HASH_SIZE);
    return same && token_row_is_valid(row, now_ms);
}

bool auth_cookie_secret(const char *header, char *ret_secret, size_t size)
{
    static const char name[] = SESSION_COOKIE "=";
    size_t found = 0;
    while (*header) {
        header += strspn(header, " ;");
        size_t pair = strcspn(header, ";");
        if (strncmp(header, name, sizeof name - 1) == 0) {
            size_t value = pair - (sizeof name - 1);
            if (++found > 1 || value != SESSION_SECRET_SIZE - 1 || value >= size ||
                !is_base64url(header + sizeof name - 1, value))
                return false;
            memcpy(ret_secret, header + sizeof name - 1, value);
            ret_secret[value] = '\0';
        }
        header += pair;
    }
    return found == 1;
}

static enum ij_status refuse(struct ij_err *reterr_err)
{
    return IJ_ERR(reterr_err, IJ_UNAUTHORIZED,
                  "send a valid token: Authorization: Bearer ijp_..., from `ijepad token create`");
}

static void identity_from_row(const struct token_row *row, bool by_cookie,
                              struct auth_identity *identity)
{
    *identity = (struct auth_identity){.role = row->role, .by_cookie = by_cookie};
    memcpy(identity->user, row->user, sizeof identity->user);
    memcpy(identity->token_id, row->id, sizeof identity->token_id);
}

static enum ij_status identify_bearer(const char *header, struct store *store, int64_t now_ms,
                                      struct auth_identity *ret_identity, struct ij_err *reterr_err)
{
    static const char scheme[] = "Bearer ";
    char id[17];
    if (strncasecmp(header, scheme, sizeof scheme - 1) != 0 ||
        !auth_parse_token(header + sizeof scheme - 1, id))
        return refuse(reterr_err);
    struct token_row row;
    enum ij_status status = token_row_get(store, id, &row, reterr_err);
    if (status == IJ_NOT_FOUND)
        return refuse(reterr_err);
    IJ_TRY(status);
    if (!auth_token_matches(header + sizeof scheme - 1, &row, now_ms))
        return refuse(reterr_err);
    identity_from_row(&row, false, ret_identity);
    return IJ_OK;
}

static enum ij_status identify_cookie(const char *header, struct session_table *sessions,
                                      struct store *store, int64_t now_ms,
                                      struct auth_identity *ret_identity, struct ij_err *reterr_err)
{
    char secret[SESSION_SECRET_SIZE], id[17];
    if (!auth_cookie_secret(header, secret, sizeof secret) ||
        !session_find(sessions, secret, now_ms, id, sizeof id))
        return refuse(reterr_err);
    struct token_row row;
    enum ij_status status = token_row_get(store, id, &row, reterr_err);
    if (status == IJ_NOT_FOUND)
        return refuse(reterr_err);
    IJ_TRY(status);
    if (!token_row_is_valid(&row, now_ms))
        return refuse(reterr_err);
    identity_from_row(&row, true, ret_identity);
    return IJ_OK;
}

static bool is_member(const struct auth_peer *peer, const char *user, const char *group_name)
{
    char buffer[16384];
    struct group group, *found = NULL;
    if (getgrnam_r(group_name, &group, buffer, sizeof buffer, &found) != 0 || !found)
        return false;
    if (peer->gid == found->gr_gid)
        return true;
    for (char **member = found->gr_mem; *member; member++)
        if (strcmp(*member, user) == 0)
            return true;
    return false;
}

static void identify_peer(const struct auth_peer *peer, const struct auth_policy *policy,
                          struct auth_identity *ret_identity)
{
    char buffer[4096];
    struct passwd entry, *found = NULL;
    struct auth_identity identity = {.role = TOKEN_ROW_VIEWER};
    if (getpwuid_r(peer->uid, &entry, buffer, sizeof buffer, &found) == 0 && found)
        (void)snprintf(identity.user, sizeof identity.user, "%.64s", found->pw_name);
    else
        (void)snprintf(identity.user, sizeof identity.user, "uid-%u", (unsigned)peer->uid);
    if (peer->uid == 0 || peer->uid == policy->admin_uid ||
        (policy->admin_group && *policy->admin_group &&
         is_member(peer, identity.user, policy->admin_group)))
        identity.role = TOKEN_ROW_ADMIN;
    *ret_identity = identity;
}

enum ij_status auth_identify(const struct http_check_request *request, const struct auth_peer *peer,
                             const struct auth_policy *policy, struct session_table *sessions,
                             struct store *store, int64_t now_ms,
                             struct auth_identity *ret_identity, struct ij_err *reterr_err)
{
    const char *bearer = http_check_header_value(request, "authorization", NULL);
    if (bearer)
        return identify_bearer(bearer, store, now_ms, ret_identity, reterr_err);
    const char *cookie = http_check_header_value(request, "cookie", NULL);
    if (cookie && strstr(cookie, SESSION_COOKIE "="))
        return identify_cookie(cookie, sessions, store, now_ms, ret_identity, reterr_err);
    if (!peer->known)
        return refuse(reterr_err);
    identify_peer(peer, policy, ret_identity);
    return IJ_OK;
}
