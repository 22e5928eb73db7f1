/*
 * Who asks, and whether the role suffices.
 *
 * A token is "ijp_<id>_<43 base64url characters>"; the store holds only its SHA-256, compared in
 * constant time. A browser sends the cookie of POST /v1/session instead. Over the Unix socket the
 * peer's user counts (SO_PEERCRED) where neither is sent. A wrong token is 401 whatever else would
 * have identified the caller, and why it is wrong is not told.
 */
#ifndef API_AUTH_H
#define API_AUTH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "api/http_check.h"
#include "api/problem.h"
#include "store/store.h"
#include "store/token_row.h"

#define AUTH_TOKEN_MAX 80

struct session_table;

struct auth_identity {
    char user[65];
    char token_id[17]; /* "" when the Unix socket vouches */
    enum token_row_role role;
    bool by_cookie;
};

struct auth_peer { /* of a connection over the Unix socket */
    bool known;
    uid_t uid;
    gid_t gid;
};

struct auth_policy {
    uid_t admin_uid;         /* the daemon's own user; root is admin too */
    const char *admin_group; /* members are admin; NULL: none */
};

/* The public id inside a well-formed token text; false for any other text. */
bool auth_parse_token(const char *text, char ret_id[17]);
/* A token text against a row: hash, expiry, revocation. */
bool auth_token_matches(const char *text, const struct token_row *row, int64_t now_ms);
/* The value of the session cookie in a Cookie header; false if it is not there exactly once. */
bool auth_cookie_secret(const char *header, char *ret_secret, size_t size);

/* IJ_OK with *ret_identity, IJ_UNAUTHORIZED, or a store's failure. */
IJ_MUST_USE enum ij_status
auth_identify(const struct http_check_request *request, const struct auth_peer *peer,
              const struct auth_policy *policy, struct session_table *sessions, struct store *store,
              int64_t now_ms, struct auth_identity *ret_identity, struct ij_err *reterr_err);

#endif
