/*
 * What to do when a file of the store is damaged: it is kept under another name, and the newest
 * backup that passes quick_check takes its place. For the time before store_open, with the state
 * directory held by the caller.
 *
 * Cut short at any point it can be repeated: nothing is removed before its copy is durable, and a
 * damaged file is never left in place with a newer write-ahead log.
 */
#ifndef STORE_STORE_RECOVER_H
#define STORE_STORE_RECOVER_H

#include <stdint.h>

#include "base/status.h"
#include "store/backup_set.h"

struct store_recover {
    bool metrics;                            /* which file; false: state.db */
    char damaged[BACKUP_SET_NAME_SIZE + 16]; /* name under which it is kept */
    char restored[BACKUP_SET_NAME_SIZE]; /* backup in its place; "": an empty file (metrics only) */
    int64_t restored_ms;                 /* when that was made; 0: none */
};

/* Is it damaged? IJ_OK or IJ_CORRUPT with SQLite's finding; other failures as they are. `thorough`:
 * quick_check, else only what opening finds. A missing or empty file is damaged if there are
 * backups of it. */
IJ_MUST_USE enum ij_status store_recover_look(const char *directory, bool metrics, bool thorough,
                                              struct ij_err *reterr_err);
/* IJ_CORRUPT: state.db has no usable backup; everything is as it was. */
IJ_MUST_USE enum ij_status store_recover(const char *directory, bool metrics, int64_t now_ms,
                                         struct store_recover *ret_done, struct ij_err *reterr_err);
/* In an open store: no number that was told since the backup is given a second time. Runs go on
 * after `last_run` at least, everything else far beyond. */
struct store;
IJ_MUST_USE enum ij_status store_recover_raise(struct store *store, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status store_recover_raise_runs(struct store *store, int64_t last_run,
                                                    struct ij_err *reterr_err);
/* Highest run that metrics.db knows; 0: none. */
IJ_MUST_USE enum ij_status store_recover_last_run(struct store *store, int64_t *ret_run,
                                                  struct ij_err *reterr_err);

#endif
