/*
 * The two SQLite files below one state directory: state.db (runs, attempts, checkpoints, events,
 * tokens: small, precious) and metrics.db (frames). Both WAL and synchronous=FULL: what a commit
 * has reported survives a power cut.
 *
 * A `struct store` is either the writer or a reader. There is one writer per state directory, held
 * by a lock and used by the loop thread only; it alone checkpoints. Every other thread opens its
 * own reader: it sees committed rows only, cannot write, never checkpoints, and each call is cut
 * off after STORE_READ_LIMIT_MS of processor time or four times that by the clock. A store is not
 * shared between threads.
 *
 * The *_row.h functions take either kind; writing through a reader is IJ_FORBIDDEN. A write outside
 * a transaction commits by itself. Failures: IJ_BUSY (locked, or a read over its limit is
 * IJ_TIMEOUT), IJ_NO_SPACE, IJ_CORRUPT, IJ_IO, IJ_CONFLICT (a constraint), SQLite's text in the
 * error. Times are wall-clock milliseconds since 1970 UTC; 0 in a row means "none".
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define STORE_READ_LIMIT_MS 250
#define STORE_STATE_FILE    "state.db"
#define STORE_METRICS_FILE  "metrics.db"
#define STORE_LOCK_FILE     "store.lock"

struct histogram; /* base/histogram.h */
struct store;

/*
 * Opens the writer. Creates `directory` (0700) and the files where missing; migrates older ones
 * forward, each step one transaction, after a verified copy state.db.before-v<N> was made.
 * IJ_UNSUPPORTED: a network file system, a newer schema (left untouched), a foreign database or an
 * SQLite without STRICT. IJ_CORRUPT: state.db fails quick_check. IJ_BUSY: another process has it
 * open.
 */
IJ_MUST_USE enum ij_status store_open(const char *directory, struct store **ret_store,
                                      struct ij_err *reterr_err);
/* A reader of files that a writer has opened before. IJ_NOT_FOUND if there are none. */
IJ_MUST_USE enum ij_status store_reader_open(const char *directory, struct store **ret_store,
                                             struct ij_err *reterr_err);
/* Commits nothing: an open transaction is rolled back. NULL is fine. */
void store_close(struct store *store);

/*
 * One transaction on state.db (BEGIN IMMEDIATE). When store_commit fails the transaction is rolled
 * back and *its outcome on disk is unknown only if* the code is IJ_IO; everything written is safe
 * to repeat. Not nested. store_rollback outside a transaction does nothing.
 */
IJ_MUST_USE enum ij_status store_begin(struct store *store, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status store_commit(struct store *store, struct ij_err *reterr_err);
void store_rollback(struct store *store);
bool store_in_transaction(const struct store *store);

/* Writer only, from a timer: passive checkpoint of both files once their WAL passes 4 MiB,
 * truncating one above 64 MiB when no reader is in the way. Cheap when there is nothing to do. */
IJ_MUST_USE enum ij_status store_maintain(struct store *store, struct ij_err *reterr_err);

/* Copies state.db (`metrics` false) or metrics.db to `path`, which must not exist, by the online
 * backup interface, then checks the copy; on failure nothing is left behind. */
IJ_MUST_USE enum ij_status store_backup(struct store *store, bool metrics, const char *path,
                                        struct ij_err *reterr_err);
/* PRAGMA quick_check of both files: IJ_CORRUPT with the first finding. Not cut off by the limit. */
IJ_MUST_USE enum ij_status store_check(struct store *store, struct ij_err *reterr_err);

struct store_facts {
    const char *sqlite_version; /* static */
    bool wal_reset_race;        /* this SQLite has the WAL-reset race; harmless with one writer */
    uint64_t state_bytes, metrics_bytes, wal_bytes; /* on disk now; wal: both files' */
    uint64_t commits;                               /* since open, both files */
};
void store_facts(const struct store *store, struct store_facts *ret_facts);
/* Writer: how long each commit of either file takes is added to `histogram`, which is borrowed
 * until store_close. NULL: no longer. */
void store_time_commits(struct store *store, struct histogram *histogram);

#endif
