/* Rows of table `token`: who may call. Only the SHA-256 of a token is ever stored. */
#ifndef STORE_TOKEN_ROW_H
#define STORE_TOKEN_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "store/store.h"

/* Each role may do all that the one before it may. */
#define TOKEN_ROW_ROLE_MAP(X)                                                                      \
    X(VIEWER, "viewer")                                                                            \
    X(SUBMITTER, "submitter")                                                                      \
    X(OPERATOR, "operator")                                                                        \
    X(ADMIN, "admin")

enum token_row_role {
#define X(code, name) TOKEN_ROW_##code,
    TOKEN_ROW_ROLE_MAP(X)
#undef X
        TOKEN_ROW_ROLE_COUNT
};

struct token_row {
    char id[17];               /* public part, [0-9a-z]{1,16} */
    uint8_t sha256[HASH_SIZE]; /* of the whole token text */
    char user[65];
    enum token_row_role role;
    char note[129];                                      /* what it is for */
    int64_t created_ms, expires_ms, used_ms, revoked_ms; /* 0: never */
};

const char *token_row_role_name(enum token_row_role role); /* static */
bool token_row_role_from_name(const char *name, enum token_row_role *ret_role);
bool token_row_is_valid(const struct token_row *row, int64_t now_ms); /* not revoked, not expired */

IJ_MUST_USE enum ij_status token_row_insert(struct store *store, const struct token_row *row,
                                            struct ij_err *reterr_err);
/* Revoked and expired ones too. IJ_NOT_FOUND. */
IJ_MUST_USE enum ij_status token_row_get(struct store *store, const char *id,
                                         struct token_row *ret_row, struct ij_err *reterr_err);
/* Oldest first, revoked ones too, at most `limit`; the caller frees *ret_rows with mem_free. */
IJ_MUST_USE enum ij_status token_row_list(struct store *store, uint32_t limit,
                                          struct token_row **ret_rows, size_t *ret_count,
                                          struct ij_err *reterr_err);
/* IJ_NOT_FOUND; revoking twice keeps the first time. */
IJ_MUST_USE enum ij_status token_row_revoke(struct store *store, const char *id, int64_t now_ms,
                                            struct ij_err *reterr_err);
/* Last use; only ever moves forward. */
IJ_MUST_USE enum ij_status token_row_touch(struct store *store, const char *id, int64_t now_ms,
                                           struct ij_err *reterr_err);

#endif
