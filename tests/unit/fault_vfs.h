/*
 * A VFS over the default one whose n-th write, sync or truncation fails with a chosen code, once or
 * from then on: each I/O of a scenario is failed in turn.
 */
#ifndef TESTS_UNIT_FAULT_VFS_H
#define TESTS_UNIT_FAULT_VFS_H

#include <criterion/criterion.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <string.h>

struct fault_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct */
};

static struct {
    long countdown; /* operations until the fault; negative: none */
    bool lasting;
    int code;
    long hits;
} fault = {.countdown = -1};

static sqlite3_vfs fault_vfs, *fault_real;
static sqlite3_io_methods fault_methods;

static inline void fault_after(long n, bool lasting, int code)
{
    fault.countdown = n;
    fault.lasting = lasting;
    fault.code = code;
    fault.hits = 0;
}

static inline bool fault_strikes(void)
{
    if (fault.countdown < 0 || (fault.countdown > 0 && fault.countdown--))
        return false;
    if (!fault.lasting)
        fault.countdown = -1;
    fault.hits++;
    return true;
}

#define FAULT_REAL(file)       (((struct fault_file *)(file))->real)
#define FAULT_CALL(file, name) FAULT_REAL(file)->pMethods->name

static inline int fault_close(sqlite3_file *f)
{
    return FAULT_CALL(f, xClose)(FAULT_REAL(f));
}
static inline int fault_read(sqlite3_file *f, void *data, int n, sqlite3_int64 at)
{
    return FAULT_CALL(f, xRead)(FAULT_REAL(f), data, n, at);
}
static inline int fault_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 at)
{
    return fault_strikes() ? fault.code : FAULT_CALL(f, xWrite)(FAULT_REAL(f), data, n, at);
}
static inline int fault_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return fault_strikes() ? fault.code : FAULT_CALL(f, xTruncate)(FAULT_REAL(f), size);
}
static inline int fault_sync(sqlite3_file *f, int flags)
{
    return fault_strikes() ? SQLITE_IOERR_FSYNC : FAULT_CALL(f, xSync)(FAULT_REAL(f), flags);
}
static inline int fault_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return FAULT_CALL(f, xFileSize)(FAULT_REAL(f), size);
}
static inline int fault_lock(sqlite3_file *f, int level)
{
    return FAULT_CALL(f, xLock)(FAULT_REAL(f), level);
}
static inline int fault_unlock(sqlite3_file *f, int level)
{
    return FAULT_CALL(f, xUnlock)(FAULT_REAL(f), level);
}
static inline int fault_reserved(sqlite3_file *f, int *result)
{
    return FAULT_CALL(f, xCheckReservedLock)(FAULT_REAL(f), result);
}
static inline int fault_control(sqlite3_file *f, int op, void *arg)
{
    return FAULT_CALL(f, xFileControl)(FAULT_REAL(f), op, arg);
}
static inline int fault_sector(sqlite3_file *f)
{
    return FAULT_CALL(f, xSectorSize)(FAULT_REAL(f));
}
static inline int fault_device(sqlite3_file *f)
{
    return FAULT_CALL(f, xDeviceCharacteristics)(FAULT_REAL(f));
}
static inline int fault_shm_map(sqlite3_file *f, int page, int size, int extend,
                                void volatile **memory)
{
    return FAULT_CALL(f, xShmMap)(FAULT_REAL(f), page, size, extend, memory);
}
static inline int fault_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return FAULT_CALL(f, xShmLock)(FAULT_REAL(f), offset, n, flags);
}
static inline void fault_shm_barrier(sqlite3_file *f)
{
    FAULT_CALL(f, xShmBarrier)(FAULT_REAL(f));
}
static inline int fault_shm_unmap(sqlite3_file *f, int remove)
{
    return FAULT_CALL(f, xShmUnmap)(FAULT_REAL(f), remove);
}

static inline int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                             int *ret_flags)
{
    struct fault_file *f = (struct fault_file *)file;
    (void)vfs;
    f->real = (sqlite3_file *)(f + 1);
    int rc = fault_real->xOpen(fault_real, name, f->real, flags, ret_flags);
    f->base.pMethods = f->real->pMethods ? &fault_methods : NULL;
    return rc;
}

/* Makes it the default for connections opened from now on. */
static inline void fault_install(void)
{
    fault_real = sqlite3_vfs_find(NULL);
    fault_vfs = *fault_real;
    fault_vfs.zName = "fault";
    fault_vfs.szOsFile += (int)sizeof(struct fault_file);
    fault_vfs.xOpen = fault_open;
    fault_vfs.pNext = NULL;
    fault_methods = (sqlite3_io_methods){
        .iVersion = 2,
        .xClose = fault_close,
        .xRead = fault_read,
        .xWrite = fault_write,
        .xTruncate = fault_truncate,
        .xSync = fault_sync,
        .xFileSize = fault_size,
        .xLock = fault_lock,
        .xUnlock = fault_unlock,
        .xCheckReservedLock = fault_reserved,
        .xFileControl = fault_control,
        .xSectorSize = fault_sector,
        .xDeviceCharacteristics = fault_device,
        .xShmMap = fault_shm_map,
        .xShmLock = fault_shm_lock,
        .xShmBarrier = fault_shm_barrier,
        .xShmUnmap = fault_shm_unmap,
    };
    cr_assert_eq(sqlite3_vfs_register(&fault_vfs, 1), SQLITE_OK);
}

#endif
