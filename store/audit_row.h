/* Rows of table `audit`: who did what, newest last. Never changed, only trimmed. */
#ifndef STORE_AUDIT_ROW_H
#define STORE_AUDIT_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

struct audit_row {
    int64_t id; /* set by append */
    int64_t ts_ms;
    char actor[65];   /* user */
    char address[64]; /* IP address, or "unix" */
    char action[48];  /* "run.cancel", "token.create", ... */
    char target[65];  /* "r42" */
    char detail[512]; /* JSON object or ""; longer text is cut */
};

IJ_MUST_USE enum ij_status audit_row_append(struct store *store, struct audit_row *row,
                                            struct ij_err *reterr_err);
/* What rows must be; NULL members: anything. */
struct audit_row_filter {
    const char *actor, *action, *target;
};
/* Newest first; `before` 0 or the id of the last row of the page before; the caller frees *ret_rows
 * with mem_free. */
IJ_MUST_USE enum ij_status audit_row_list(struct store *store,
                                          const struct audit_row_filter *filter, int64_t before,
                                          uint32_t limit, struct audit_row **ret_rows,
                                          size_t *ret_count, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status audit_row_trim(struct store *store, int64_t keep_from_ms,
                                          int64_t *ret_removed, struct ij_err *reterr_err);

#endif
