/* Tokens and backups: the verbs that are not about a run. */
#ifndef DAEMON_TOKEN_VERB_H
#define DAEMON_TOKEN_VERB_H

#include "daemon/control.h"
#include "daemon/daemon.h"
#include "store/token_row.h"

#define TOKEN_VERB_TEXT_SIZE 80 /* "ijp_<id>_<43 characters>" and NUL */

/* Loop thread. */
IJ_MUST_USE enum ij_status token_verb_handle(struct daemon *daemon,
                                             const struct control_request *request,
                                             struct control_reply *reply);

/* A new token: 256 random bits; only their hash goes into the store. `expires_ms` 0: never. */
IJ_MUST_USE enum ij_status token_verb_make(struct store *store, const char *user,
                                           enum token_row_role role, int64_t expires_ms,
                                           const char *note, struct token_row *ret_row,
                                           char ret_text[TOKEN_VERB_TEXT_SIZE],
                                           struct ij_err *reterr_err);

#endif
