/*
 * What can fail under a test, at its n-th time: a system call of our own code about files, one
 * of our allocations, of jansson's, of SQLite's, a step of SQLite's machine, a write or sync of its
 * files (fault_vfs.h).
 *
 * The program's own definitions of the calls stand before the C library's; they fail only where our
 * code calls them, in the thread of the test. Each test is its own process, so the statics are its
 * own.
 */
#ifndef TESTS_UNIT_FAILING_H
#define TESTS_UNIT_FAILING_H

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/mem.h"
#include "base/status.h"
#include "tests/unit/fault_vfs.h"

enum failing_kind {
    FAILING_CALL,
    FAILING_MEMORY,
    FAILING_JSON,
    FAILING_SQLITE_MEMORY,
    FAILING_STEP,
    FAILING_WRITE,
    FAILING_KINDS
};

static const char *const failing_names[] = {
    "call", "memory", "JSON's memory", "SQLite's memory", "step", "SQLite's write"};

static struct {
    enum failing_kind kind;
    long countdown; /* times until it fails; negative: never */
    int sys;
    bool struck, lasting;
} failing = {.countdown = -1, .sys = EIO};

static sqlite3_mem_methods failing_real;
extern const char __executable_start, etext; /* by the linker */

static inline bool failing_now(enum failing_kind kind)
{
    if (failing.kind != kind || failing.countdown < 0 || gettid() != getpid())
        return false;
    if (failing.countdown > 0) {
        failing.countdown--;
        return false;
    }
    if (!failing.lasting)
        failing.countdown = -1;
    failing.struck = true;
    errno = failing.sys;
    return true;
}

/* ---- Calls ----------------------------------------------------------------------------------- */

#define FAILING_HERE()                                                                             \
    __extension__({                                                                                \
        const char *from_ = __builtin_return_address(0);                                           \
        from_ >= &__executable_start &&from_ < &etext &&failing_now(FAILING_CALL);                 \
    })

int fsync(int fd)
{
    return FAILING_HERE() ? -1 : (int)syscall(SYS_fsync, fd);
}
ssize_t write(int fd, const void *data, size_t size)
{
    return fd > 2 && FAILING_HERE() ? -1 : syscall(SYS_write, fd, data, size);
}
ssize_t read(int fd, void *data, size_t size)
{
    return FAILING_HERE() ? -1 : syscall(SYS_read, fd, data, size);
}
int open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    return FAILING_HERE() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
ssize_t pread(int fd, void *data, size_t size, off_t at)
{
    return FAILING_HERE() ? -1 : syscall(SYS_pread64, fd, data, size, at);
}
int fstat(int fd, struct stat *ret_info)
{
    return FAILING_HERE() ? -1 : (int)syscall(SYS_fstat, fd, ret_info);
}
void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    long memory = FAILING_HERE() ? -1 : syscall(SYS_mmap, at, size, protection, flags, fd, offset);
    return memory == -1 ? MAP_FAILED : (void *)memory;
}
int rename(const char *from, const char *to)
{
    return FAILING_HERE() ? -1 : (int)syscall(SYS_rename, from, to);
}
int unlink(const char *path)
{
    return FAILING_HERE() ? -1 : (int)syscall(SYS_unlink, path);
}
int unlinkat(int fd, const char *path, int flags)
{
    return FAILING_HERE() ? -1 : (int)syscall(SYS_unlinkat, fd, path, flags);
}
int link(const char *from, const char *to)
{
    return FAILING_HERE() ? -1 : (int)syscall(SYS_link, from, to);
}
int mkdir(const char *path, mode_t mode)
{
    return FAILING_HERE() ? -1 : (int)syscall(SYS_mkdir, path, mode);
}
int access(const char *path, int mode)
{
    return FAILING_HERE() ? -1 : (int)syscall(SYS_access, path, mode);
}
int stat(const char *path, struct stat *ret_info)
{
    return FAILING_HERE() ? -1 : (int)syscall(SYS_stat, path, ret_info);
}
int lstat(const char *path, struct stat *ret_info)
{
    return FAILING_HERE() ? -1 : (int)syscall(SYS_lstat, path, ret_info);
}
int fstatat(int fd, const char *path, struct stat *ret_info, int flags)
{
    return FAILING_HERE() ? -1 : (int)syscall(SYS_newfstatat, fd, path, ret_info, flags);
}
DIR *opendir(const char *path)
{
    int fd = FAILING_HERE()
                 ? -1
                 : (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    return fd < 0 ? NULL : fdopendir(fd);
}

/* ---- Memory and steps ------------------------------------------------------------------------ */

static inline void *failing_json_alloc(size_t size)
{
    return failing_now(FAILING_JSON) ? NULL : malloc(size);
}
static inline void *failing_sqlite_alloc(int size)
{
    return failing_now(FAILING_SQLITE_MEMORY) ? NULL : failing_real.xMalloc(size);
}
static inline void *failing_sqlite_grow(void *old, int size)
{
    return failing_now(FAILING_SQLITE_MEMORY) ? NULL : failing_real.xRealloc(old, size);
}
static inline int failing_step(void *user)
{
    (void)user;
    return failing_now(FAILING_STEP);
}

/* Before SQLite and jansson are used. */
static inline void failing_install(void)
{
    sqlite3_mem_methods methods;
    cr_assert_eq(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &failing_real), SQLITE_OK);
    methods = failing_real;
    methods.xMalloc = failing_sqlite_alloc;
    methods.xRealloc = failing_sqlite_grow;
    cr_assert_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods), SQLITE_OK);
    cr_assert_eq(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK);
    json_set_alloc_funcs(failing_json_alloc, free);
    fault_install();
}

/* The steps of this connection can fail. */
static inline void failing_watch(sqlite3 *handle)
{
    sqlite3_progress_handler(handle, 1, failing_step, NULL);
}

/* ---- One after the other --------------------------------------------------------------------- */

static inline void failing_arm(enum failing_kind kind, long n)
{
    failing.kind = kind;
    failing.struck = false;
    if (kind == FAILING_MEMORY)
        mem_fail_after(n);
    else if (kind == FAILING_WRITE)
        fault_after(n, failing.lasting, SQLITE_IOERR_WRITE);
    else
        failing.countdown = n;
}

/* True: something failed since. */
static inline bool failing_disarm(void)
{
    failing.countdown = -1;
    bool struck = failing.struck;
    if (failing.kind == FAILING_MEMORY)
        struck = mem_fail_after(-1) < 0;
    if (failing.kind == FAILING_WRITE)
        struck = fault.hits > 0;
    fault.countdown = -1;
    return struck;
}

/* After a commit that failed so it is not known what was stored: SQLite looks whether it is to be
 * interrupted after its last step too. */
static inline bool failing_is_vague(enum failing_kind kind)
{
    return kind == FAILING_WRITE || kind == FAILING_STEP;
}

struct failing_scene {
    const char *what;
    void (*prepare)(void); /* before each call; NULL: nothing */
    enum ij_status (*call)(struct ij_err *err);
    void (*check)(enum ij_status status, enum failing_kind kind); /* after each; NULL: nothing */
};

#define FAILING_MAX 20000

static inline long failing_stride(enum failing_kind kind, long n)
{
    return kind == FAILING_STEP ? 1 + n / 16 : kind == FAILING_SQLITE_MEMORY ? 1 + n / 64 : 1;
}

/* The scene with the n-th of a kind failing, for n = 0, 1 … until nothing failed any more; of
 * SQLite's many steps and allocations ever fewer. Returns the last n. */
static inline long failing_each(const struct failing_scene *scene, enum failing_kind kind)
{
    for (long n = 0; n < FAILING_MAX; n += failing_stride(kind, n)) {
        struct ij_err err = IJ_ERR_INIT;
        if (scene->prepare)
            scene->prepare();
        failing_arm(kind, n);
        enum ij_status status = scene->call(&err);
        bool struck = failing_disarm();
        cr_assert(struck || status == IJ_OK, "%s after %ld of %s: %s", scene->what, n,
                  failing_names[kind], err.text);
        cr_assert(status == IJ_OK || err.text[0], "%s, %s %ld: %d without a word", scene->what,
                  failing_names[kind], n, status);
        if (scene->check)
            scene->check(status, kind);
        if (!struck)
            return n;
    }
    cr_assert_fail("%s never goes without a failure", scene->what);
    return 0;
}

static inline long failing_sweep(const struct failing_scene *scene)
{
    long count = 0;
    for (int kind = 0; kind < FAILING_KINDS; kind++)
        count += failing_each(scene, (enum failing_kind)kind);
    return count;
}

#endif
