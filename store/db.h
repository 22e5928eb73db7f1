/*
 * One SQLite connection of a store: prepared statements kept for its life, errors mapped in one
 * place, reads limited in time. Internal to store/. A db belongs to one thread.
 *
 *     db_auto struct db_query q = DB_QUERY_INIT;
 *     IJ_TRY(db_start(db, "SELECT a, b FROM t WHERE c = ?", &q, reterr_err));
 *     db_put_int(&q, c);
 *     while ((status = db_next(&q, &row, reterr_err)) == IJ_OK && row)
 *         use(db_int(&q), db_text(&q, ...));
 *
 * Parameters and columns go left to right. A statement is reset when its query leaves the scope.
 */
#ifndef STORE_DB_H
#define STORE_DB_H

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define DB_STATEMENTS_MAX 256
#define DB_PAGE_BYTES     4096

struct histogram; /* base/histogram.h */

struct db_kept {
    const char *sql; /* static text; its address is the key */
    sqlite3_stmt *statement;
    bool busy;
};

struct db {
    sqlite3 *handle;
    char path[1024];
    bool reader, begun, snapshot;
    int64_t deadline_ns;     /* monotonic; 0: no limit */
    int64_t cpu_deadline_ns; /* of the thread's processor time; together with deadline_ns */
    int64_t limit_ns;        /* processor time of one read; 0: none */
    int wal_pages;           /* after the last commit */
    uint64_t commits;
    struct histogram *times; /* of commits; borrowed, NULL: not counted */
    struct db_kept kept[DB_STATEMENTS_MAX];
};

struct db_query {
    struct db *db;
    struct db_kept *kept;
    int put, column;
    enum ij_status status; /* first failure of a put or of copying a column */
};
#define DB_QUERY_INIT                                                                              \
    {                                                                                              \
        .kept = NULL                                                                               \
    }
#define db_auto __attribute__((cleanup(db_end)))

enum db_mode { DB_READER, DB_WRITER };

/* Opens and sets what has no effect on the file. The file must exist. */
IJ_MUST_USE enum ij_status db_open(struct db *db, const char *path, enum db_mode mode,
                                   struct ij_err *reterr_err);
void db_close(struct db *db); /* a zeroed or closed one is fine */

/* Sets the error from a failed SQLite call on this connection. */
enum ij_status db_error(struct db *db, int rc, struct ij_err *reterr_err, const char *doing);

/* Statements without parameters or rows; text need not be static. */
IJ_MUST_USE enum ij_status db_exec(struct db *db, const char *sql, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status db_begin(struct db *db, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status db_commit(struct db *db, struct ij_err *reterr_err);
void db_rollback(struct db *db);
/* One consistent view over several reads, all within one limit. */
IJ_MUST_USE enum ij_status db_snapshot_begin(struct db *db, struct ij_err *reterr_err);
void db_snapshot_end(struct db *db);

/* `sql` must be a string literal or otherwise live and stay the same as long as `db`. */
IJ_MUST_USE enum ij_status db_start(struct db *db, const char *sql, struct db_query *q,
                                    struct ij_err *reterr_err);
void db_put_int(struct db_query *q, int64_t value);
void db_put_real(struct db_query *q, double value);      /* NaN becomes NULL */
void db_put_text(struct db_query *q, const char *value); /* borrowed until the end; NULL is NULL */
void db_put_blob(struct db_query *q, const void *value, size_t size); /* borrowed until the end */
IJ_MUST_USE enum ij_status db_next(struct db_query *q, bool *ret_row, struct ij_err *reterr_err);
/* Runs to the end; *ret_changes (may be NULL): rows changed. */
IJ_MUST_USE enum ij_status db_run(struct db_query *q, int64_t *ret_changes,
                                  struct ij_err *reterr_err);
int64_t db_last_id(const struct db *db);                       /* of the last insert */
int64_t db_int(struct db_query *q);                            /* NULL is 0 */
double db_real(struct db_query *q);                            /* NULL is NaN */
void db_text(struct db_query *q, char *ret_text, size_t size); /* cut at a character; NULL is "" */
char *db_text_dup(struct db_query *q); /* caller frees; no memory is reported by the next db_next */
const void *db_blob(struct db_query *q, size_t *ret_size); /* valid until the next db_next */
void db_end(struct db_query *q);
/* IJ_NO_MEMORY if a db_text_dup failed since the start. */
IJ_MUST_USE enum ij_status db_copied(const struct db_query *q, struct ij_err *reterr_err);

/* A single integer, as from PRAGMA user_version. */
IJ_MUST_USE enum ij_status db_value(struct db *db, const char *sql, int64_t *ret_value,
                                    struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status db_quick_check(struct db *db, struct ij_err *reterr_err);
/* Passive checkpoint past 4 MiB of WAL, truncating past 64 MiB. */
IJ_MUST_USE enum ij_status db_checkpoint(struct db *db, struct ij_err *reterr_err);

#endif
