/*
 * Browser sessions: a cookie's random value stands for a token, in memory only.
 *
 * A restart ends them all. The cookie's SHA-256 is kept, not the cookie, and the token's row is
 * looked up again at each request, so revoking a token ends its sessions at once. Thread-safe.
 */
#ifndef API_SESSION_H
#define API_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define SESSION_MAX         256
#define SESSION_TTL_MS      (12LL * 3600 * 1000)
#define SESSION_COOKIE      "ijepad_session"
#define SESSION_SECRET_SIZE 44 /* 43 base64url characters and NUL */

struct session_table;

IJ_MUST_USE enum ij_status session_table_new(struct session_table **ret_table,
                                             struct ij_err *reterr_err);
void session_table_free(struct session_table *table); /* NULL is fine */

/* Opens a session for a token; the oldest of SESSION_MAX makes room. */
IJ_MUST_USE enum ij_status session_open(struct session_table *table, const char *token_id,
                                        int64_t now_ms, char ret_secret[SESSION_SECRET_SIZE],
                                        struct ij_err *reterr_err);
/* The token of a live session; false if there is none. */
bool session_find(struct session_table *table, const char *secret, int64_t now_ms,
                  char *ret_token_id, size_t size);
void session_close(struct session_table *table, const char *secret);

/* 32 random bytes as 43 base64url characters. */
IJ_MUST_USE enum ij_status session_random(char ret_secret[SESSION_SECRET_SIZE],
                                          struct ij_err *reterr_err);

#endif
