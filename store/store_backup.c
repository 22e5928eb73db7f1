/* store_backup of store.h: page by page through SQLite's online backup, checked, then durable. */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "store/handle.h"

#define PAGES_PER_STEP 1024

/* A reader copies in one go: a commit between two steps would make it begin again. */
static enum ij_status copy_pages(struct db *from, struct db *to, struct ij_err *reterr_err)
{
    sqlite3_backup *backup = sqlite3_backup_init(to->handle, "main", from->handle, "main");
    if (!backup)
        return db_error(to, sqlite3_errcode(to->handle), reterr_err, "cannot start the backup");
    int rc;
    do
        rc = sqlite3_backup_step(backup, from->reader ? -1 : PAGES_PER_STEP);
    while (rc == SQLITE_OK);
    int finish = sqlite3_backup_finish(backup);
    if (rc == SQLITE_DONE && finish == SQLITE_OK)
        return IJ_OK;
    return db_error(to, finish != SQLITE_OK ? finish : rc, reterr_err, "cannot copy");
}

/* The copy is one file: without a write-ahead log beside it. */
static enum ij_status fill(struct db *from, const char *path, struct ij_err *reterr_err)
{
    struct db to;
    IJ_TRY(db_open(&to, path, DB_WRITER, reterr_err));
    enum ij_status status = copy_pages(from, &to, reterr_err);
    if (status == IJ_OK)
        status = db_exec(&to, "PRAGMA journal_mode=DELETE", reterr_err);
    if (status == IJ_OK)
        status = db_quick_check(&to, reterr_err);
    db_close(&to);
    return status;
}

static enum ij_status sync_file(const char *path, struct ij_err *reterr_err)
{
    char directory[1100];
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot sync %s", path);
    snprintf(directory, sizeof directory, "%s", path);
    return file_fsync_dir(dirname(directory), reterr_err);
}

enum ij_status store_backup(struct store *store, bool metrics, const char *path,
                            struct ij_err *reterr_err)
{
    struct db *from = metrics ? &store->metrics : &store->state;
    if (from->begun)
        return IJ_ERR_FIELD(reterr_err, IJ_BUSY, from->path, "%s is in the middle of a transaction",
                            from->path);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot create the backup %s", path);
    close(fd);
    enum ij_status status = fill(from, path, reterr_err);
    if (status == IJ_OK)
        status = sync_file(path, reterr_err);
    if (status != IJ_OK)
        (void)unlink(path);
    return status;
}
