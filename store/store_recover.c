/* See store_recover.h. */
#include "store/store_recover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "store/handle.h"
#include "store/schema.h"

#define PATH_BYTES 1200
#define COPY_BYTES 65536
#define ID_GAP     10000 /* more numbers than an hour can use up */

static const char *file_name(bool metrics)
{
    return metrics ? STORE_METRICS_FILE : STORE_STATE_FILE;
}

/* ---- Looking --------------------------------------------------------------------------------- */

/* *ret_empty: it holds nothing, not even a schema. SQLite's plain errors on a file of ours ("un-
 * supported file format") come from damage too. */
static enum ij_status look_at(const char *path, bool metrics, bool thorough, bool *ret_empty,
                              struct ij_err *reterr_err)
{
    struct ij_err err = IJ_ERR_INIT;
    struct db db = {.handle = NULL};
    int version = 0;
    enum ij_status status = db_open(&db, path, DB_WRITER, &err);
    if (status == IJ_OK)
        status = schema_look(&db, metrics ? &schema_metrics : &schema_state, &version, &err);
    if (status == IJ_OK && thorough)
        status = db_quick_check(&db, &err);
    db_close(&db);
    *ret_empty = status == IJ_OK && version == 0;
    if (status == IJ_INTERNAL)
        err.code = status = IJ_CORRUPT;
    if (status != IJ_OK && reterr_err)
        *reterr_err = err;
    return status;
}

static bool has_backup(const char *directory, bool metrics)
{
    mem_auto struct backup_set_entry *entries = NULL;
    size_t count = 0;
    bool found = false;
    if (backup_set_list(directory, &entries, &count, NULL) != IJ_OK)
        return false;
    for (size_t i = 0; i < count; i++)
        found |= entries[i].metrics == metrics;
    return found;
}

enum ij_status store_recover_look(const char *directory, bool metrics, bool thorough,
                                  struct ij_err *reterr_err)
{
    char path[PATH_BYTES];
    struct stat st;
    bool empty = true;
    snprintf(path, sizeof path, "%s/%s", directory, file_name(metrics));
    if (stat(path, &st) == 0)
        IJ_TRY(look_at(path, metrics, thorough, &empty, reterr_err));
    else if (errno != ENOENT)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot look at %s", path);
    if (empty && has_backup(directory, metrics))
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, path,
                            "%s is missing or empty although there are backups of it", path);
    return IJ_OK;
}

/* ---- Restoring ------------------------------------------------------------------------------- */

static enum ij_status copy_bytes(int from, int to, const char *path, struct ij_err *reterr_err)
{
    mem_auto char *buffer = mem_alloc_zero(1, COPY_BYTES);
    ssize_t n;
    if (!buffer)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to copy a backup");
    while ((n = read(from, buffer, COPY_BYTES)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return IJ_ERR_SYS(reterr_err, errno, path, "cannot read the backup");
        IJ_TRY(file_write_all(to, buffer, (size_t)n, path, reterr_err));
    }
    if (fsync(to) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot sync %s", path);
    return IJ_OK;
}

/* A durable copy at `to`, checked there. */
static enum ij_status copy_backup(const char *from, const char *to, bool metrics,
                                  struct ij_err *reterr_err)
{
    fd_auto int in = open(from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (in < 0)
        return IJ_ERR_SYS(reterr_err, errno, from, "cannot open %s", from);
    fd_auto int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (out < 0)
        return IJ_ERR_SYS(reterr_err, errno, to, "cannot create %s", to);
    bool empty = false;
    enum ij_status status = copy_bytes(in, out, to, reterr_err);
    if (status == IJ_OK)
        status = look_at(to, metrics, true, &empty, reterr_err);
    if (status == IJ_OK && empty)
        status = IJ_ERR(reterr_err, IJ_CORRUPT, "%s is empty", from);
    if (status != IJ_OK)
        (void)unlink(to);
    return status;
}

/* The newest backup that is whole, as a file at `to`. None: `done` stays without one. */
static enum ij_status choose(const char *directory, const char *to, struct store_recover *done,
                             struct ij_err *reterr_err)
{
    mem_auto struct backup_set_entry *entries = NULL;
    size_t count;
    IJ_TRY(backup_set_list(directory, &entries, &count, reterr_err));
    for (size_t i = 0; i < count && !done->restored[0]; i++) {
        char path[PATH_BYTES];
        struct ij_err ignored = IJ_ERR_INIT;
        if (entries[i].metrics != done->metrics)
            continue;
        backup_set_path(directory, entries[i].name, path, sizeof path);
        enum ij_status status = copy_backup(path, to, done->metrics, &ignored);
        if (status == IJ_NO_SPACE || status == IJ_IO) {
            if (reterr_err)
                *reterr_err = ignored;
            return status;
        }
        if (status != IJ_OK)
            continue; /* an older one, then */
        snprintf(done->restored, sizeof done->restored, "%s", entries[i].name);
        done->restored_ms = entries[i].made_ms;
    }
    return IJ_OK;
}

/* Keeps `path` with `suffix` under another name as well. */
static enum ij_status keep(const char *path, const char *kept, const char *suffix,
                           struct ij_err *reterr_err)
{
    char from[PATH_BYTES + 8], to[PATH_BYTES + 8];
    snprintf(from, sizeof from, "%s%s", path, suffix);
    snprintf(to, sizeof to, "%s%s", kept, suffix);
    if (link(from, to) == 0 || errno == ENOENT || errno == EEXIST)
        return IJ_OK;
    return IJ_ERR_SYS(reterr_err, errno, to, "cannot keep %s as %s", from, to);
}

static enum ij_status drop(const char *path, const char *suffix, struct ij_err *reterr_err)
{
    char name[PATH_BYTES + 8];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    if (unlink(name) == 0 || errno == ENOENT)
        return IJ_OK;
    return IJ_ERR_SYS(reterr_err, errno, name, "cannot remove %s", name);
}

/* The old log must be gone before the new file is there: it would be played into it. */
static enum ij_status exchange(const char *directory, const char *path, const char *kept,
                               const char *fresh, struct ij_err *reterr_err)
{
    IJ_TRY(keep(path, kept, "", reterr_err));
    IJ_TRY(keep(path, kept, "-wal", reterr_err));
    IJ_TRY(file_fsync_dir(directory, reterr_err));
    IJ_TRY(drop(path, "-wal", reterr_err));
    IJ_TRY(drop(path, "-shm", reterr_err));
    IJ_TRY(file_fsync_dir(directory, reterr_err));
    if (!fresh)
        IJ_TRY(drop(path, "", reterr_err));
    else if (rename(fresh, path) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot put the backup in place of %s", path);
    return file_fsync_dir(directory, reterr_err);
}

enum ij_status store_recover(const char *directory, bool metrics, int64_t now_ms,
                             struct store_recover *ret_done, struct ij_err *reterr_err)
{
    char path[PATH_BYTES], fresh[PATH_BYTES + 16], kept[PATH_BYTES + 64];
    struct store_recover done = {.metrics = metrics};
    snprintf(path, sizeof path, "%s/%s", directory, file_name(metrics));
    snprintf(fresh, sizeof fresh, "%s.restored", path);
    snprintf(done.damaged, sizeof done.damaged, "%s.damaged-%lld", file_name(metrics),
             (long long)now_ms);
    snprintf(kept, sizeof kept, "%s/%s", directory, done.damaged);
    IJ_TRY(choose(directory, fresh, &done, reterr_err));
    if (!done.restored[0] && !metrics)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, path,
                            "%s is damaged and there is no backup of it that is whole; it was left "
                            "as it is",
                            path);
    IJ_TRY(exchange(directory, path, kept, done.restored[0] ? fresh : NULL, reterr_err));
    *ret_done = done;
    return IJ_OK;
}

/* ---- Afterwards ------------------------------------------------------------------------------ */

/* Tables that never had a row are not in sqlite_sequence yet. */
static enum ij_status fill_sequence(struct store *store, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(db_start(&store->state,
                    "INSERT INTO sqlite_sequence(name,seq) SELECT name,0 FROM sqlite_schema"
                    " WHERE type='table' AND sql LIKE '%AUTOINCREMENT%'"
                    " AND name NOT IN(SELECT name FROM sqlite_sequence)",
                    &q, reterr_err));
    return db_run(&q, NULL, reterr_err);
}

enum ij_status store_recover_raise(struct store *store, struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(fill_sequence(store, reterr_err));
    IJ_TRY(db_start(&store->state, "UPDATE sqlite_sequence SET seq=seq+? WHERE name<>'run'", &q,
                    reterr_err));
    db_put_int(&q, ID_GAP);
    return db_run(&q, NULL, reterr_err);
}

enum ij_status store_recover_raise_runs(struct store *store, int64_t last_run,
                                        struct ij_err *reterr_err)
{
    db_auto struct db_query q = DB_QUERY_INIT;
    IJ_TRY(fill_sequence(store, reterr_err));
    IJ_TRY(db_start(&store->state, "UPDATE sqlite_sequence SET seq=max(seq,?) WHERE name='run'", &q,
                    reterr_err));
    db_put_int(&q, last_run);
    return db_run(&q, NULL, reterr_err);
}

enum ij_status store_recover_last_run(struct store *store, int64_t *ret_run,
                                      struct ij_err *reterr_err)
{
    return db_value(&store->metrics, "SELECT coalesce(max(run),0) FROM stream", ret_run,
                    reterr_err);
}
