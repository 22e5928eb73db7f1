/* Rows of table `idem`: answers kept for a repeated Idempotency-Key, one key space per user. */
#ifndef STORE_IDEM_ROW_H
#define STORE_IDEM_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "store/store.h"

#define IDEM_ROW_KEY_MAX 128
#define IDEM_ROW_KEEP_MS (48LL * 3600 * 1000)

struct idem_row {
    char user[65];
    char key[IDEM_ROW_KEY_MAX + 1];
    uint8_t body_sha256[HASH_SIZE]; /* of the request, so that another body is noticed */
    int32_t status;                 /* HTTP; 0: the first request is still under way */
    char *response;                 /* body sent, owned in rows that were read; NULL: none */
    int64_t ts_ms;
};
void idem_row_done(struct idem_row *row);

/* Claims the key. IJ_CONFLICT if it is taken: then read it with idem_row_get. */
IJ_MUST_USE enum ij_status idem_row_insert(struct store *store, const struct idem_row *row,
                                           struct ij_err *reterr_err);
/* IJ_NOT_FOUND. */
IJ_MUST_USE enum ij_status idem_row_get(struct store *store, const char *user, const char *key,
                                        struct idem_row *ret_row, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status idem_row_finish(struct store *store, const char *user, const char *key,
                                           int32_t status, const char *response,
                                           struct ij_err *reterr_err);
/* Frees the key again: the request failed without effect. */
IJ_MUST_USE enum ij_status idem_row_delete(struct store *store, const char *user, const char *key,
                                           struct ij_err *reterr_err);
/* Removes those from before `keep_from_ms`, and unfinished ones when `unfinished` (at start). */
IJ_MUST_USE enum ij_status idem_row_trim(struct store *store, int64_t keep_from_ms, bool unfinished,
                                         int64_t *ret_removed, struct ij_err *reterr_err);

#endif
