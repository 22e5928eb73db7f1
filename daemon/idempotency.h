/* Requests that are safe to repeat: what an Idempotency-Key made is told again instead of made
 * again. One key space per user; kept 48 hours (store/idem_row.h). Loop thread. */
#ifndef DAEMON_IDEMPOTENCY_H
#define DAEMON_IDEMPOTENCY_H

#include "daemon/control.h"
#include "store/store.h"

#define IDEMPOTENCY_ID_SIZE 32

/* *ret_known: the key was used before for the same request; *ret_id is what it made ("r42", a
 * token's id) and reply->replayed is set. Without a key in the request: not known. IJ_INVALID with
 * field "Idempotency-Key": used for another request. */
IJ_MUST_USE enum ij_status idempotency_find(struct store *store,
                                            const struct control_request *request,
                                            struct control_reply *reply,
                                            char ret_id[IDEMPOTENCY_ID_SIZE], bool *ret_known);
/* Inside the transaction that makes `id`; nothing without a key. */
IJ_MUST_USE enum ij_status idempotency_keep(struct store *store,
                                            const struct control_request *request, const char *id,
                                            struct ij_err *reterr_err);

#endif
