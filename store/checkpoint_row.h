/* Rows of table `checkpoint`. The directory is durable before its row says "valid"; the row says
 * "deleting" before the first file goes. */
#ifndef STORE_CHECKPOINT_ROW_H
#define STORE_CHECKPOINT_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

#define CHECKPOINT_ROW_STATE_MAP(X)                                                                \
    X(WRITING, "writing")                                                                          \
    X(VALID, "valid")                                                                              \
    X(DELETING, "deleting")                                                                        \
    X(GONE, "gone")                                                                                \
    X(CORRUPT, "corrupt")

enum checkpoint_row_state {
#define X(code, name) CHECKPOINT_ROW_##code,
    CHECKPOINT_ROW_STATE_MAP(X)
#undef X
        CHECKPOINT_ROW_STATE_COUNT
};

struct checkpoint_row {
    int64_t id; /* set by put */
    int64_t run;
    int32_t attempt;
    uint64_t step;
    double epoch;
    char path[1024]; /* absolute */
    uint64_t bytes;
    char hash[65]; /* hex SHA-256 over the files' hashes; "" while writing */
    enum checkpoint_row_state state;
    bool pinned;
    double score; /* larger is better; NaN: none */
    int64_t created_ms;
};

const char *checkpoint_row_state_name(enum checkpoint_row_state state); /* static */

/* Inserts, or replaces the row of the same (run, step, path): a resend is harmless. Sets row->id.
 */
IJ_MUST_USE enum ij_status checkpoint_row_put(struct store *store, struct checkpoint_row *row,
                                              struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status checkpoint_row_get(struct store *store, int64_t id,
                                              struct checkpoint_row *ret_row,
                                              struct ij_err *reterr_err);
/* The valid one with the highest step (ties: newest row); those of a history that was given up for
 * a start from scratch come after all others. IJ_NOT_FOUND if the run has none. */
IJ_MUST_USE enum ij_status checkpoint_row_newest(struct store *store, int64_t run,
                                                 struct checkpoint_row *ret_row,
                                                 struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status checkpoint_row_set_state(struct store *store, int64_t id,
                                                    enum checkpoint_row_state state,
                                                    struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status checkpoint_row_set_pinned(struct store *store, int64_t id, bool pinned,
                                                     struct ij_err *reterr_err);
/* No write where it is that already. */
IJ_MUST_USE enum ij_status checkpoint_row_set_score(struct store *store, int64_t id, double score,
                                                    struct ij_err *reterr_err);
/* valid -> deleting. IJ_CONFLICT if it is pinned, not valid, or the newest valid one of its run. */
IJ_MUST_USE enum ij_status checkpoint_row_retire(struct store *store, int64_t id,
                                                 struct ij_err *reterr_err);
/* The first live run whose parameter "checkpoint" is this one ("c7"); *ret_run 0: none. */
IJ_MUST_USE enum ij_status checkpoint_row_reader(struct store *store,
                                                 const struct checkpoint_row *row, int64_t *ret_run,
                                                 struct ij_err *reterr_err);
/* What may go: valid, not pinned, of runs that have ended, beyond the `keep` (>= 1) newest of its
 * run; by run and step. The caller frees *ret_rows with mem_free. */
IJ_MUST_USE enum ij_status checkpoint_row_surplus(struct store *store, uint32_t keep,
                                                  uint32_t limit, struct checkpoint_row **ret_rows,
                                                  size_t *ret_count, struct ij_err *reterr_err);
/* Highest step first; run 0: of all runs; states: mask of 1u << state, 0: all but gone; `before` 0
 * or the id of the last row of the page before. The caller frees *ret_rows with mem_free. */
IJ_MUST_USE enum ij_status checkpoint_row_list(struct store *store, int64_t run, uint32_t states,
                                               int64_t before, uint32_t limit,
                                               struct checkpoint_row **ret_rows, size_t *ret_count,
                                               struct ij_err *reterr_err);

#endif
