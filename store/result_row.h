/* Rows of table `result`: what an evaluation found. */
#ifndef STORE_RESULT_ROW_H
#define STORE_RESULT_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

struct result_row {
    int64_t id; /* set by put */
    int64_t run;
    char name[65]; /* "linear_probe", "knn", ... */
    uint64_t step; /* training step it speaks of; 0 where that means nothing */
    char *json;    /* object; owned in rows that were read, borrowed by put */
    int64_t created_ms;
};

struct result_row_list {
    struct result_row *rows;
    size_t count;
};
void result_row_list_done(struct result_row_list *list);

/* Inserts or replaces the result (run, name, step): a resend is harmless. Sets row->id. */
IJ_MUST_USE enum ij_status result_row_put(struct store *store, struct result_row *row,
                                          struct ij_err *reterr_err);
/* Oldest first, at most `limit`. */
IJ_MUST_USE enum ij_status result_row_list(struct store *store, int64_t run, uint32_t limit,
                                           struct result_row_list *ret_list,
                                           struct ij_err *reterr_err);

#endif
