/* See db.h. */
#include "store/db.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/histogram.h"
#include "base/mem.h"
#include "base/text.h"

#define BUSY_TIMEOUT_MS      5000
#define HEAP_SOFT_BYTES      (8 * 1024 * 1024)
#define PROGRESS_STEPS       2000 /* virtual machine steps between looks at the clock */
#define WALL_FACTOR          4    /* a busy machine must not fail reads that cost little */
#define WAL_CHECKPOINT_PAGES (4 * 1024 * 1024 / DB_PAGE_BYTES)
#define WAL_BACKSTOP_PAGES   (16 * 1024 * 1024 / DB_PAGE_BYTES)
#define WAL_TRUNCATE_PAGES   (64 * 1024 * 1024 / DB_PAGE_BYTES)

static enum ij_status constraint_status(int extended)
{
    switch (extended) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
        return IJ_CONFLICT;
    case SQLITE_CONSTRAINT_FOREIGNKEY:
        return IJ_NOT_FOUND;
    default: /* CHECK, NOT NULL, a wrong type in a STRICT table */
        return IJ_INVALID;
    }
}

/* The one place where SQLite's result codes become ours. */
static enum ij_status status_of(int extended, int sys)
{
    switch (extended & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return IJ_BUSY;
    case SQLITE_FULL:
        return IJ_NO_SPACE;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return IJ_CORRUPT;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        return sys == ENOSPC || sys == EDQUOT ? IJ_NO_SPACE : IJ_IO;
    case SQLITE_NOMEM:
        return IJ_NO_MEMORY;
    case SQLITE_CONSTRAINT:
        return constraint_status(extended);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return IJ_FORBIDDEN;
    case SQLITE_INTERRUPT:
        return IJ_TIMEOUT;
    case SQLITE_TOOBIG:
        return IJ_TOO_LARGE;
    default:
        return IJ_INTERNAL;
    }
}

enum ij_status db_error(struct db *db, int rc, struct ij_err *reterr_err, const char *doing)
{
    int extended = db->handle ? sqlite3_extended_errcode(db->handle) : rc;
    if ((extended & 0xff) != (rc & 0xff))
        extended = rc;
    int sys = db->handle ? sqlite3_system_errno(db->handle) : 0;
    enum ij_status status = status_of(extended, sys);
    const char *text = db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc);
    if (status == IJ_TIMEOUT)
        text = "the read took too long and was cut off";
    if (status == IJ_CORRUPT)
        return IJ_ERR_FIELD(reterr_err, status, db->path, "%s is damaged: %s: %s", db->path, doing,
                            text);
    if ((extended & 0xff) == SQLITE_IOERR && sys)
        return IJ_ERR_FIELD(reterr_err, status, db->path, "%s: %s: %s (%s)", db->path, doing, text,
                            strerror(sys));
    return IJ_ERR_FIELD(reterr_err, status, db->path, "%s: %s: %s", db->path, doing, text);
}

static int on_progress(void *user)
{
    const struct db *db = user;
    if (!db->deadline_ns)
        return 0;
    return clock_thread_ns() > db->cpu_deadline_ns || clock_monotonic_ns() > db->deadline_ns;
}

/* After every commit, automatic ones too. The backstop works when nobody calls db_checkpoint. */
static int on_wal(void *user, sqlite3 *handle, const char *schema, int pages)
{
    struct db *db = user;
    db->wal_pages = pages;
    db->commits++;
    if (pages > WAL_BACKSTOP_PAGES)
        (void)sqlite3_wal_checkpoint_v2(handle, schema, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return SQLITE_OK;
}

/* Small caches: the kernel keeps the files' pages, and what is cached twice only adds to the
 * daemon's memory, which shall stay flat: all connections of a process together take new pages up
 * to HEAP_SOFT_BYTES, and use their old ones again beyond it.
 * trusted_schema stays on: SQLite before 3.41 counts the JSON functions of our own CHECK
 * constraints as unsafe, and this program registers no function that a foreign schema could
 * abuse. */
static enum ij_status configure(struct db *db, struct ij_err *reterr_err)
{
    static const char settings[] =
        "PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-2048;"
        "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0;";
    (void)sqlite3_soft_heap_limit64(HEAP_SOFT_BYTES);
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (!db->reader) {
        IJ_TRY(db_exec(db, settings, reterr_err));
        return db_exec(db, "PRAGMA cache_size=-4096", reterr_err);
    }
    sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_progress_handler(db->handle, PROGRESS_STEPS, on_progress, db);
    IJ_TRY(db_exec(db, settings, reterr_err));
    return db_exec(db, "PRAGMA query_only=ON", reterr_err);
}

enum ij_status db_open(struct db *db, const char *path, enum db_mode mode,
                       struct ij_err *reterr_err)
{
    *db = (struct db){.reader = mode == DB_READER};
    if (strlen(path) >= sizeof db->path)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, path, "path is too long: %s", path);
    strcpy(db->path, path);
    int flags = mode == DB_READER ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    int rc = sqlite3_open_v2(path, &db->handle, flags | SQLITE_OPEN_NOMUTEX, NULL);
    enum ij_status status =
        rc == SQLITE_OK ? configure(db, reterr_err) : db_error(db, rc, reterr_err, "cannot open");
    if (status != IJ_OK) {
        db_close(db);
        return status;
    }
    sqlite3_wal_hook(db->handle, on_wal, db);
    return IJ_OK;
}

void db_close(struct db *db)
{
    for (size_t i = 0; i < DB_STATEMENTS_MAX; i++)
        sqlite3_finalize(db->kept[i].statement);
    sqlite3_close_v2(db->handle);
    *db = (struct db){.handle = NULL};
}

/* What remains of a transaction that SQLite has rolled back by itself must not commit by pieces. */
static enum ij_status check_begun(struct db *db, struct ij_err *reterr_err)
{
    if (db->begun && sqlite3_get_autocommit(db->handle))
        return IJ_ERR_FIELD(reterr_err, IJ_INTERNAL, db->path,
                            "%s: the transaction was rolled back by an earlier failure", db->path);
    return IJ_OK;
}

enum ij_status db_exec(struct db *db, const char *sql, struct ij_err *reterr_err)
{
    int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? IJ_OK : db_error(db, rc, reterr_err, "cannot execute");
}

static enum ij_status exec_kept(struct db *db, const char *sql, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(db, sql, &q, reterr_err));
    return db_run(&q, NULL, reterr_err);
}

enum ij_status db_begin(struct db *db, struct ij_err *reterr_err)
{
    IJ_ASSERT(!db->begun);
    if (db->reader)
        return IJ_ERR_FIELD(reterr_err, IJ_FORBIDDEN, db->path, "%s is open for reading only",
                            db->path);
    enum ij_status status = exec_kept(db, "BEGIN IMMEDIATE", reterr_err);
    db->begun = true;
    if (status != IJ_OK) /* it may be open all the same */
        db_rollback(db);
    return status;
}

enum ij_status db_commit(struct db *db, struct ij_err *reterr_err)
{
    IJ_ASSERT(db->begun);
    int64_t start = clock_monotonic_ns();
    enum ij_status status = check_begun(db, reterr_err);
    if (status == IJ_OK)
        status = exec_kept(db, "COMMIT", reterr_err);
    if (db->times)
        histogram_add(db->times, clock_monotonic_ns() - start);
    if (status != IJ_OK)
        db_rollback(db);
    db->begun = false;
    return status;
}

void db_rollback(struct db *db)
{
    if (db->begun && !sqlite3_get_autocommit(db->handle))
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    db->begun = false;
}

static void limit_start(struct db *db)
{
    if (!db->reader || db->snapshot)
        return;
    db->deadline_ns = db->limit_ns ? clock_monotonic_ns() + db->limit_ns * WALL_FACTOR : 0;
    db->cpu_deadline_ns = clock_thread_ns() + db->limit_ns;
}

enum ij_status db_snapshot_begin(struct db *db, struct ij_err *reterr_err)
{
    IJ_ASSERT(!db->snapshot);
    if (!db->reader)
        return IJ_OK; /* nobody else writes */
    IJ_TRY(exec_kept(db, "BEGIN", reterr_err));
    limit_start(db);
    db->snapshot = true;
    return IJ_OK;
}

void db_snapshot_end(struct db *db)
{
    if (!db->snapshot)
        return;
    db->deadline_ns = 0;
    db->snapshot = false;
    (void)sqlite3_exec(db->handle, "COMMIT", NULL, NULL, NULL);
}

static struct db_kept *find_kept(struct db *db, const char *sql)
{
    size_t at = ((uintptr_t)sql >> 2) % DB_STATEMENTS_MAX;
    for (size_t i = 0; i < DB_STATEMENTS_MAX; i++) {
        struct db_kept *kept = &db->kept[(at + i) % DB_STATEMENTS_MAX];
        if (kept->sql == sql || !kept->sql)
            return kept;
    }
    return NULL;
}

enum ij_status db_start(struct db *db, const char *sql, struct db_query *q,
                        struct ij_err *reterr_err)
{
    *q = (struct db_query){.db = db};
    IJ_TRY(check_begun(db, reterr_err));
    struct db_kept *kept = find_kept(db, sql);
    IJ_ASSERT(kept && !kept->busy);
    limit_start(db);
    if (!kept->sql) {
        int rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT,
                                    &kept->statement, NULL);
        if (rc != SQLITE_OK)
            return db_error(db, rc, reterr_err, "cannot prepare");
        kept->sql = sql;
    }
    kept->busy = true;
    q->kept = kept;
    return IJ_OK;
}

static void note(struct db_query *q, int rc)
{
    if (rc != SQLITE_OK && q->status == IJ_OK)
        q->status = status_of(rc, 0);
}

void db_put_int(struct db_query *q, int64_t value)
{
    note(q, sqlite3_bind_int64(q->kept->statement, ++q->put, value));
}

void db_put_real(struct db_query *q, double value)
{
    note(q, sqlite3_bind_double(q->kept->statement, ++q->put, value)); /* NaN is NULL to SQLite */
}

void db_put_text(struct db_query *q, const char *value)
{
    note(q, sqlite3_bind_text(q->kept->statement, ++q->put, value, -1, SQLITE_STATIC));
}

void db_put_blob(struct db_query *q, const void *value, size_t size)
{
    note(q,
         sqlite3_bind_blob64(q->kept->statement, ++q->put, size ? value : "", size, SQLITE_STATIC));
}

enum ij_status db_copied(const struct db_query *q, struct ij_err *reterr_err)
{
    if (q->status == IJ_OK)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, q->status, q->db->path, "%s: cannot pass a value: %s",
                        q->db->path, ij_status_name(q->status));
}

enum ij_status db_next(struct db_query *q, bool *ret_row, struct ij_err *reterr_err)
{
    IJ_TRY(db_copied(q, reterr_err));
    int rc = sqlite3_step(q->kept->statement);
    *ret_row = rc == SQLITE_ROW;
    q->column = 0;
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        return IJ_OK;
    return db_error(q->db, rc, reterr_err, q->db->reader ? "cannot read" : "cannot write");
}

enum ij_status db_run(struct db_query *q, int64_t *ret_changes, struct ij_err *reterr_err)
{
    bool row = true;
    while (row)
        IJ_TRY(db_next(q, &row, reterr_err));
    if (ret_changes)
        *ret_changes = sqlite3_changes64(q->db->handle);
    return IJ_OK;
}

int64_t db_last_id(const struct db *db)
{
    return sqlite3_last_insert_rowid(db->handle);
}

int64_t db_int(struct db_query *q)
{
    return sqlite3_column_int64(q->kept->statement, q->column++);
}

double db_real(struct db_query *q)
{
    int column = q->column++;
    if (sqlite3_column_type(q->kept->statement, column) == SQLITE_NULL)
        return NAN;
    return sqlite3_column_double(q->kept->statement, column);
}

void db_text(struct db_query *q, char *ret_text, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(q->kept->statement, q->column++);
    size_t n = text ? strlen(text) : 0;
    if (n >= size) {
        n = size - 1;
        while (n > 0 && !text_is_utf8(text, n))
            n--;
    }
    if (n)
        memcpy(ret_text, text, n);
    ret_text[n] = '\0';
}

char *db_text_dup(struct db_query *q)
{
    const char *text = (const char *)sqlite3_column_text(q->kept->statement, q->column++);
    char *copy = mem_strdup(text ? text : "");
    if (!copy)
        q->status = IJ_NO_MEMORY;
    return copy;
}

const void *db_blob(struct db_query *q, size_t *ret_size)
{
    int column = q->column++;
    const void *data = sqlite3_column_blob(q->kept->statement, column);
    *ret_size = data ? (size_t)sqlite3_column_bytes(q->kept->statement, column) : 0;
    return data;
}

void db_end(struct db_query *q)
{
    if (!q->kept)
        return;
    (void)sqlite3_reset(q->kept->statement);
    (void)sqlite3_clear_bindings(q->kept->statement);
    q->kept->busy = false;
    q->kept = NULL;
}

enum ij_status db_value(struct db *db, const char *sql, int64_t *ret_value,
                        struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool row;
    IJ_TRY(db_start(db, sql, &q, reterr_err));
    IJ_TRY(db_next(&q, &row, reterr_err));
    *ret_value = row ? db_int(&q) : 0;
    return IJ_OK;
}

enum ij_status db_quick_check(struct db *db, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    bool row;
    char finding[256];
    IJ_TRY(db_start(db, "PRAGMA quick_check(1)", &q, reterr_err));
    db->deadline_ns = 0;
    IJ_TRY(db_next(&q, &row, reterr_err));
    if (row)
        db_text(&q, finding, sizeof finding);
    if (row && strcmp(finding, "ok") == 0)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, db->path, "%s is damaged: %s", db->path,
                        row ? finding : "quick_check says nothing");
}

enum ij_status db_checkpoint(struct db *db, struct ij_err *reterr_err)
{
    if (db->begun || db->wal_pages < WAL_CHECKPOINT_PAGES)
        return IJ_OK;
    int mode =
        db->wal_pages > WAL_TRUNCATE_PAGES ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    sqlite3_busy_timeout(db->handle, 0); /* a reader in the way: next time */
    int rc = sqlite3_wal_checkpoint_v2(db->handle, "main", mode, NULL, NULL);
    sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);
    if (rc == SQLITE_OK)
        db->wal_pages = 0;
    if (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
        return IJ_OK;
    return db_error(db, rc, reterr_err, "cannot checkpoint");
}
