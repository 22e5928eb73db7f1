/* Rows of table `sweep`: one description from which many runs were made. Never changed. */
#ifndef STORE_SWEEP_ROW_H
#define STORE_SWEEP_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

struct sweep_row {
    int64_t id; /* set by insert */
    char name[65];
    char user[65];
    int32_t max_parallel; /* runs of it at a time, >= 1 */
    char *spec;           /* JSON object; owned in rows that were read, borrowed by insert */
    int64_t created_ms;
    int64_t runs, ended; /* filled by get and list */
};

struct sweep_row_list {
    struct sweep_row *rows;
    size_t count;
};
void sweep_row_done(struct sweep_row *row);
void sweep_row_list_done(struct sweep_row_list *list);

IJ_MUST_USE enum ij_status sweep_row_insert(struct store *store, struct sweep_row *row,
                                            struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status sweep_row_get(struct store *store, int64_t id, struct sweep_row *ret_row,
                                         struct ij_err *reterr_err);
/* Newest first, ids below `before` (0: all), at most `limit`. */
IJ_MUST_USE enum ij_status sweep_row_list(struct store *store, int64_t before, uint32_t limit,
                                          struct sweep_row_list *ret_list,
                                          struct ij_err *reterr_err);
/* Ids of its runs, oldest first; the caller frees *ret_ids with mem_free. */
IJ_MUST_USE enum ij_status sweep_row_runs(struct store *store, int64_t id, int64_t **ret_ids,
                                          size_t *ret_count, struct ij_err *reterr_err);

#endif
