/* All rows of a query as one array. Internal to store/. */
#ifndef STORE_ROW_ARRAY_H
#define STORE_ROW_ARRAY_H

#include "store/db.h"

/* `read` fills one zeroed element from the current row; `done` (may be NULL) frees what it made, on
 * failure only. The caller frees *ret_rows with mem_free;
 * it is NULL when there are none or on failure. */
IJ_MUST_USE enum ij_status row_array_read(struct db_query *q, size_t size,
                                          void (*read)(struct db_query *q, void *ret_row),
                                          void (*done)(void *row), void **ret_rows,
                                          size_t *ret_count, struct ij_err *reterr_err);

#endif
