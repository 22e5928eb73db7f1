/*
 * Checkpoints when the system fails: every fsync, write, fallocate, mkdir, rename and read in turn,
 * and SIGKILL at any moment.
 *
 * The program's own definitions of these calls stand before the C library's, so the code under test
 * calls them; each can be told to fail at its n-th use.
 */
#include "tests/unit/checkpoint_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/rng.h"
#include "gpu/checkpoint/checkpoint_writer.h"

TestSuite(checkpoint_faults, .init = fixture_open, .fini = fixture_close);

#define SHORT_MIN 64 /* the test runner's own small messages stay whole */

enum call { CALL_FSYNC, CALL_WRITE, CALL_FALLOCATE, CALL_MKDIR, CALL_RENAME, CALL_READ, CALLS };

static struct fault {
    enum call call;
    long countdown; /* uses until it fails; negative: never */
    int sys;
    bool is_short, is_flipped; /* halves writes and reads; flips a bit of what is read */
} fault = {.countdown = -1};
static long uses[CALLS];

static bool fails(enum call call)
{
    uses[call]++;
    if (fault.call != call || fault.countdown < 0 || fault.countdown-- > 0)
        return false;
    errno = fault.sys;
    return true;
}

int fsync(int fd)
{
    return fails(CALL_FSYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}
ssize_t write(int fd, const void *data, size_t size)
{
    if (fd > 2 && fails(CALL_WRITE))
        return -1;
    return syscall(SYS_write, fd, data, fault.is_short && size > SHORT_MIN ? size / 2 : size);
}
int fallocate(int fd, int mode, off_t offset, off_t size)
{
    return fails(CALL_FALLOCATE) ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, size);
}
int mkdir(const char *path, mode_t mode)
{
    return fails(CALL_MKDIR) ? -1 : (int)syscall(SYS_mkdir, path, mode);
}
int rename(const char *from, const char *to)
{
    return fails(CALL_RENAME) ? -1 : (int)syscall(SYS_rename, from, to);
}
ssize_t read(int fd, void *data, size_t size)
{
    if (!fault.is_flipped && fd > 2 && fails(CALL_READ))
        return -1;
    ssize_t n = syscall(SYS_read, fd, data, fault.is_short && size > SHORT_MIN ? size / 2 : size);
    if (fault.is_flipped && n > 0 && fails(CALL_READ))
        ((uint8_t *)data)[n / 2] ^= 1;
    return n;
}

static enum ij_status write_step(uint64_t step, struct ij_err *err)
{
    struct checkpoint_content content = fixture_content(step);
    struct checkpoint_info info;
    return checkpoint_write(run, &content, NULL, &info, err);
}

static uint64_t newest_step(void)
{
    struct checkpoint *checkpoint = NULL;
    cr_assert_eq(checkpoint_find_newest(run, NULL, NULL, &checkpoint, NULL), IJ_OK);
    uint64_t step = checkpoint ? checkpoint_get_state(checkpoint)->step : 0;
    checkpoint_free(checkpoint);
    return step;
}

static size_t temporary_count(void)
{
    char parent[CHECKPOINT_PATH_MAX];
    size_t count = 0;
    snprintf(parent, sizeof parent, "%s/checkpoints", run);
    DIR *dir = opendir(parent);
    for (struct dirent *e; dir && (e = readdir(dir));)
        count += strstr(e->d_name, ".tmp-") != NULL;
    if (dir)
        closedir(dir);
    return count;
}

/* Lets the n-th use of `call` fail for n = 0, 1, ... until the write succeeds. */
static long fail_each(enum call call, int sys, enum ij_status expected)
{
    cr_assert_eq(write_step(5, NULL), IJ_OK);
    for (long n = 0;; n++) {
        struct ij_err err = IJ_ERR_INIT;
        cr_assert_lt(n, 100, "the write never succeeds");
        uses[CALL_FSYNC] = 0;
        fault = (struct fault){.call = call, .countdown = n, .sys = sys};
        enum ij_status status = write_step(6, &err);
        bool failed = fault.countdown < 0;
        fault.countdown = -1;
        if (!failed) {
            cr_assert_eq(status, IJ_OK, "%s", err.text);
            cr_assert_eq(newest_step(), 6);
            return n;
        }
        cr_assert_eq(status, expected, "use %ld: %s (%s)", n, ij_status_name(status), err.text);
        cr_assert_eq(temporary_count(), 0, "use %ld leaves a temporary directory", n);
        if (call == CALL_FSYNC)
            cr_assert_eq(uses[CALL_FSYNC], n + 1, "use %ld: an fsync after the failed one", n);
        cr_assert_geq(newest_step(), 5, "use %ld", n);
        struct checkpoint *five = NULL;
        char path[CHECKPOINT_PATH_MAX];
        cr_assert_eq(checkpoint_path(run, 5, path, NULL), IJ_OK);
        cr_assert_eq(checkpoint_open(path, CHECKPOINT_CHECK_ALL, &five, NULL), IJ_OK);
        checkpoint_free(five);
    }
}

Test(checkpoint_faults, every_fsync)
{
    /* The run's directory, three files, the temporary directory and its parent. */
    cr_assert_eq(fail_each(CALL_FSYNC, EIO, IJ_IO), 6);
}

Test(checkpoint_faults, every_write_on_a_full_disk)
{
    cr_assert_geq(fail_each(CALL_WRITE, ENOSPC, IJ_NO_SPACE), 3);
}

Test(checkpoint_faults, every_reservation)
{
    cr_assert_eq(fail_each(CALL_FALLOCATE, ENOSPC, IJ_NO_SPACE), 3);
}

Test(checkpoint_faults, a_quota_is_a_full_disk)
{
    fail_each(CALL_FALLOCATE, EDQUOT, IJ_NO_SPACE);
}

Test(checkpoint_faults, every_rename)
{
    cr_assert_eq(fail_each(CALL_RENAME, EIO, IJ_IO), 1);
}

Test(checkpoint_faults, every_read_of_the_verification)
{
    cr_assert_geq(fail_each(CALL_READ, EIO, IJ_IO), 3);
}

Test(checkpoint_faults, every_mkdir)
{
    cr_assert_geq(fail_each(CALL_MKDIR, EACCES, IJ_FORBIDDEN), 2);
}

Test(checkpoint_faults, a_file_system_without_reservation_is_fine)
{
    fault = (struct fault){.call = CALL_FALLOCATE, .countdown = 0, .sys = EOPNOTSUPP};
    cr_assert_eq(write_step(6, NULL), IJ_OK);
    cr_assert_eq(newest_step(), 6);
}

Test(checkpoint_faults, short_writes_and_reads_are_continued)
{
    struct checkpoint_info info = fixture_write(7);
    fault = (struct fault){.countdown = -1, .is_short = true};
    struct checkpoint_info again = fixture_write(7);
    cr_assert_str_eq(info.hash, again.hash);
    cr_assert_eq(newest_step(), 7);
}

/* A device that gives back something else than it got is found before the rename. */
Test(checkpoint_faults, a_lying_device_is_found)
{
    cr_assert_eq(write_step(5, NULL), IJ_OK);
    for (long n = 0; n < 3; n++) {
        struct ij_err err = IJ_ERR_INIT;
        fault = (struct fault){.call = CALL_READ, .countdown = n, .is_flipped = true};
        cr_assert_eq(write_step(6, &err), IJ_IO, "read %ld", n);
        cr_assert_not_null(strstr(err.text, "does not read back"), "%s", err.text);
        fault = (struct fault){.countdown = -1};
        cr_assert_eq(temporary_count(), 0);
        cr_assert_eq(newest_step(), 5);
    }
}

/* ---- SIGKILL --------------------------------------------------------------------------------- */

static enum ij_status on_checkpoint(void *user, const struct engine_checkpoint *checkpoint)
{
    uint64_t step = checkpoint->step;
    return write(*(int *)user, &step, sizeof step) == sizeof step ? IJ_OK : IJ_IO;
}

/* Writes checkpoints as fast as it can and tells the pipe of each. */
static void write_for_ever(int pipe_fd, uint64_t step)
{
    const struct engine_sink sink = {.user = &pipe_fd, .checkpoint = on_checkpoint};
    struct checkpoint_writer *writer = NULL;
    if (checkpoint_remove_stale(run, NULL) != IJ_OK ||
        checkpoint_writer_new(run, &sink, 2, &writer, NULL) != IJ_OK)
        _exit(2);
    for (;; step++) {
        struct checkpoint_content content = fixture_content(step);
        if (checkpoint_writer_submit(writer, &content, NULL, NULL) != IJ_OK)
            _exit(3);
    }
}

static void kill_after(pid_t child, int64_t delay_ns)
{
    const struct timespec delay = {.tv_nsec = delay_ns};
    int status;
    nanosleep(&delay, NULL);
    kill(child, SIGKILL);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status %x", status);
}

/* Whatever was reported is there, or a later one is; and there is always a whole one to go on with.
 * When the kill comes does not matter to the promise, so the delay only spreads it. */
Test(checkpoint_faults, killed_at_any_moment, .timeout = 120)
{
    uint64_t reported = 0, step;
    struct rng rng;
    rng_init(&rng, (uint64_t)clock_wall_ms(), RNG_TEST, 0, 0);
    for (int cycle = 0; cycle < 40; cycle++) {
        int ends[2];
        cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
        uint64_t start = newest_step() + 1;
        cr_assert_geq(start, reported + 1, "cycle %d lost a reported checkpoint", cycle);
        pid_t child = fork();
        if (child == 0)
            write_for_ever(ends[1], start);
        close(ends[1]);
        kill_after(child, (int64_t)rng_below(&rng, 60000000));
        while (read(ends[0], &step, sizeof step) == sizeof step)
            reported = step;
        close(ends[0]);
        uint64_t newest = newest_step();
        cr_assert_geq(newest, reported, "cycle %d: reported %d, newest %d", cycle, (int)reported,
                      (int)newest);
    }
    cr_assert_gt(reported, 0, "no cycle ever finished a checkpoint");
    cr_assert_eq(checkpoint_remove_stale(run, NULL), IJ_OK);
    cr_assert_eq(temporary_count(), 0);
}
