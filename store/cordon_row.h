/* Rows of table `cordon`: devices that are kept out of use, whether or not they are there now. */
#ifndef STORE_CORDON_ROW_H
#define STORE_CORDON_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

#define CORDON_ROW_DEVICE_MAX 95
#define CORDON_ROW_REASON_MAX 255

struct cordon_row {
    char device[CORDON_ROW_DEVICE_MAX + 1]; /* "host-0", "GPU-..." */
    char actor[65];                         /* who; "daemon" for a fault */
    char reason[CORDON_ROW_REASON_MAX + 1];
    int64_t ts_ms;
};

/* Inserts, or replaces the row of the same device. */
IJ_MUST_USE enum ij_status cordon_row_put(struct store *store, const struct cordon_row *row,
                                          struct ij_err *reterr_err);
/* No such row is fine. */
IJ_MUST_USE enum ij_status cordon_row_delete(struct store *store, const char *device,
                                             struct ij_err *reterr_err);
/* By device; the caller frees *ret_rows with mem_free. */
IJ_MUST_USE enum ij_status cordon_row_list(struct store *store, struct cordon_row **ret_rows,
                                           size_t *ret_count, struct ij_err *reterr_err);

#endif
