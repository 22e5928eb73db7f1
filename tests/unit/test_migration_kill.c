/*
 * A migration from an older schema, killed at each of its calls that change files: what is left
 * opens, is whole, has the version of one of the steps, and is brought to the newest.
 *
 * The program's own definitions of these calls stand before the C library's, so SQLite calls them.
 */
#include "tests/unit/store_fixture.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "store/handle.h"
#include "store/schema.h"

TestSuite(migration_kill, .init = fixture_new_dir, .fini = fixture_close, .timeout = 240);

static long countdown; /* calls until SIGKILL; 0: never */

static void count_call(void)
{
    if (countdown > 0 && --countdown == 0)
        raise(SIGKILL);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset)
{
    count_call();
    return syscall(SYS_pwrite64, fd, data, size, offset);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    count_call();
    return syscall(SYS_pwrite64, fd, data, size, offset);
}
int fdatasync(int fd)
{
    count_call();
    return (int)syscall(SYS_fdatasync, fd);
}
int fsync(int fd)
{
    count_call();
    return (int)syscall(SYS_fsync, fd);
}
int ftruncate(int fd, off_t size)
{
    count_call();
    return (int)syscall(SYS_ftruncate, fd, size);
}
int unlink(const char *path)
{
    count_call();
    return (int)syscall(SYS_unlink, path);
}
int rename(const char *from, const char *to)
{
    count_call();
    return (int)syscall(SYS_rename, from, to);
}

/* A state folder as a release with that schema left it. */
static void make_old(int version)
{
    struct schema old = schema_state;
    old.version = version;
    OK(file_remove_tree(fixture_dir, &err));
    OK(file_make_dirs(fixture_dir, 0700, &err));
    OK(store_open_as(fixture_dir, &old, &schema_metrics, &store, &err));
    store_close(store);
    store = NULL;
}

/* False: it came to its end before the n-th call. */
static bool killed_at(long n)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        struct store *mine = NULL;
        countdown = n;
        enum ij_status opened = store_open(fixture_dir, &mine, NULL);
        countdown = 0;
        _exit(opened == IJ_OK ? 0 : 1);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0, "it ended with %d",
              WEXITSTATUS(status));
    return WIFSIGNALED(status);
}

static long kill_each(int version)
{
    for (long n = 1;; n++) {
        make_old(version);
        if (!killed_at(n))
            return n - 1;
        int64_t left = fixture_value("state.db", "PRAGMA user_version");
        cr_assert(left >= version && left <= schema_state.version, "version %lld", (long long)left);
        cr_assert_eq(fixture_value("state.db", "SELECT count(*) FROM pragma_integrity_check"
                                               " WHERE integrity_check='ok'"),
                     1);
        OK(store_open(fixture_dir, &store, &err));
        OK(store_check(store, &err));
        store_close(store);
        store = NULL;
        cr_assert_eq(fixture_value("state.db", "PRAGMA user_version"), schema_state.version);
    }
}

Test(migration_kill, from_the_first_version)
{
    cr_expect_gt(kill_each(1), 30);
}

Test(migration_kill, from_the_last_version)
{
    cr_expect_gt(kill_each(schema_state.version - 1), 5);
}
