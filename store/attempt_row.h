/* Rows of table `attempt`: one per start of a run. */
#ifndef STORE_ATTEMPT_ROW_H
#define STORE_ATTEMPT_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "store/run_row.h"
#include "store/store.h"

struct attempt_row {
    int64_t run;
    int32_t n;                    /* 1, 2, ... */
    int32_t pid;                  /* 0: unknown */
    char boot_id[37];             /* a pid means something only within one boot */
    int64_t started_ms, ended_ms; /* ended 0: still going, or nobody saw the end */
    int32_t exit_code;            /* -1: none */
    int32_t signal;               /* 0: none */
    char cause[48]; /* machine code: "done", "stopped", "crash", "hung", "daemon_restart", ... */
    char text[512]; /* what happened, for a person */
    uint64_t from_step, last_step;
    char device[128];
    char gpus[RUN_ROW_GPUS_SIZE]; /* JSON array: ids of the devices it holds; "" = [] */
};

/* Starts attempt row->n; IJ_CONFLICT if it exists. */
IJ_MUST_USE enum ij_status attempt_row_insert(struct store *store, const struct attempt_row *row,
                                              struct ij_err *reterr_err);
/* Writes every field of an existing attempt (run, n). IJ_NOT_FOUND. */
IJ_MUST_USE enum ij_status attempt_row_update(struct store *store, const struct attempt_row *row,
                                              struct ij_err *reterr_err);
/* n 0: the newest. IJ_NOT_FOUND. */
IJ_MUST_USE enum ij_status attempt_row_get(struct store *store, int64_t run, int32_t n,
                                           struct attempt_row *ret_row, struct ij_err *reterr_err);
/* Newest first, at most `limit`; the caller frees *ret_rows with mem_free. */
IJ_MUST_USE enum ij_status attempt_row_list(struct store *store, int64_t run, uint32_t limit,
                                            struct attempt_row **ret_rows, size_t *ret_count,
                                            struct ij_err *reterr_err);
/* Gives every attempt without an end this one: for the start after a crash. */
IJ_MUST_USE enum ij_status attempt_row_end_open(struct store *store, int64_t now_ms,
                                                const char *cause, struct ij_err *reterr_err);

#endif
