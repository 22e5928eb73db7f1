/* Rows of table `dep`: a run that waits for others. A run waits only for older ones: no cycles. */
#ifndef STORE_DEP_ROW_H
#define STORE_DEP_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "store/run_state.h"
#include "store/store.h"

#define DEP_ROW_MAX 64 /* dependencies per run */

enum dep_row_condition {
    DEP_ROW_OK,  /* "ok": the other run must succeed */
    DEP_ROW_END, /* "end": it must end, however */
    DEP_ROW_CONDITION_COUNT
};

struct dep_row {
    int64_t run, on_run;
    enum dep_row_condition condition;
    enum run_state on_state; /* of on_run; filled by list, ignored by insert */
};

const char *dep_row_condition_name(enum dep_row_condition condition); /* static */
bool dep_row_condition_from_name(const char *name, enum dep_row_condition *ret_condition);

/* IJ_INVALID: on_run >= run, or more than DEP_ROW_MAX; IJ_NOT_FOUND: no such run; IJ_CONFLICT:
 * twice. */
IJ_MUST_USE enum ij_status dep_row_insert(struct store *store, const struct dep_row *row,
                                          struct ij_err *reterr_err);
/* What `run` waits for, with its state now; the caller frees *ret_rows with mem_free. */
IJ_MUST_USE enum ij_status dep_row_list(struct store *store, int64_t run, struct dep_row **ret_rows,
                                        size_t *ret_count, struct ij_err *reterr_err);
/* Who waits for `on_run`. */
IJ_MUST_USE enum ij_status dep_row_list_waiting(struct store *store, int64_t on_run,
                                                struct dep_row **ret_rows, size_t *ret_count,
                                                struct ij_err *reterr_err);

#endif
