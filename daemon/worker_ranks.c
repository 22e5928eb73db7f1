/* See worker_ranks.h. Between fork and exec only async-signal-safe calls are made: the worker may
 * already have a thread. */
#include "daemon/worker_ranks.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#define END_WAIT_MS 5000

/* ---- Starting -------------------------------------------------------------------------------- */

/* The description in memory that a rank reads as a file. */
static enum ij_status write_description(const json_t *object, int *ret_fd,
                                        struct ij_err *reterr_err)
{
    char *text = json_dumps(object, JSON_COMPACT);
    int fd = memfd_create("ijepad-run", MFD_CLOEXEC);
    enum ij_status status = IJ_OK;
    if (!text)
        status = IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a rank");
    else if (fd < 0)
        status = IJ_ERR_SYS(reterr_err, errno, "", "cannot make memory for a rank");
    else
        status = file_write_all(fd, text, strlen(text), "a rank's description", reterr_err);
    free(text);
    if (status != IJ_OK && fd >= 0)
        close(fd);
    *ret_fd = fd;
    return status;
}

__attribute__((noreturn)) static void child(pid_t parent, int spec_fd, int shared_fd,
                                            const char *rank)
{
    char spec_path[] = "/proc/self/fd/3", name[] = "ijepad-worker", run[] = "run";
    char spec_option[] = "--spec", rank_option[] = "--rank";
    char *const arguments[] = {name, run, spec_option, spec_path, rank_option, (char *)rank, NULL};
    bool ok = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
    if (getppid() != parent) /* it ended before the line above took effect */
        _exit(1);
    int spec = fcntl(spec_fd, F_DUPFD, 10), shared = fcntl(shared_fd, F_DUPFD, 10);
    ok = ok && dup2(spec, WORKER_RANKS_SPEC_FD) >= 0 && dup2(shared, WORKER_RANKS_SHARED_FD) >= 0 &&
         syscall(SYS_close_range, WORKER_RANKS_SHARED_FD + 1, ~0u, 0) == 0;
    if (ok)
        execv("/proc/self/exe", arguments);
    _exit(ij_status_exit_code(IJ_INTERNAL));
}

static enum ij_status start_all(struct engine_spec *spec, int spec_fd, struct ij_err *reterr_err)
{
    pid_t parent = getpid();
    for (uint32_t r = 1; r < spec->ranks.count; r++) {
        char rank[16];
        snprintf(rank, sizeof(rank), "%u", r);
        pid_t pid = fork();
        if (pid == 0)
            child(parent, spec_fd, spec->ranks.fd, rank);
        if (pid < 0)
            return IJ_ERR_SYS(reterr_err, errno, "", "cannot start rank %u", r);
        spec->ranks.pids[r] = pid;
    }
    return IJ_OK;
}

/* The run's threads are those of all ranks. */
static void share_threads(struct engine_spec *spec)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t all = spec->threads ? spec->threads : (uint32_t)(cores > 0 ? cores : 1);
    spec->threads = all > spec->ranks.count ? all / spec->ranks.count : 1;
}

enum ij_status worker_ranks_start(struct engine_spec *spec, const json_t *object,
                                  struct ij_err *reterr_err)
{
    int spec_fd;
    if (spec->ranks.count <= 1)
        return IJ_OK;
    IJ_TRY(write_description(object, &spec_fd, reterr_err));
    enum ij_status status = IJ_OK;
    spec->ranks.fd = memfd_create("ijepad-ranks", MFD_CLOEXEC);
    if (spec->ranks.fd < 0)
        status = IJ_ERR_SYS(reterr_err, errno, "", "cannot make memory for the ranks");
    if (status == IJ_OK)
        status = start_all(spec, spec_fd, reterr_err);
    close(spec_fd);
    share_threads(spec);
    return status;
}

void worker_ranks_join(struct engine_spec *spec, uint32_t rank)
{
    spec->ranks.rank = rank;
    spec->ranks.fd = WORKER_RANKS_SHARED_FD;
    share_threads(spec);
}

/* ---- Ending ---------------------------------------------------------------------------------- */

/* The signal that ended the rank, 0 if none did; false: it still runs. */
static bool has_ended(pid_t pid, int *ret_signal)
{
    siginfo_t info = {.si_pid = 0};
    *ret_signal = 0;
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
        return true;
    if (info.si_pid != 0 && info.si_code != CLD_EXITED)
        *ret_signal = info.si_status;
    return info.si_pid != 0;
}

void worker_ranks_end(const struct engine_spec *spec, enum ij_status status)
{
    const struct timespec nap = {.tv_nsec = 10000000};
    bool well = status == IJ_OK || status == IJ_STOPPED;
    int64_t deadline_ms = clock_monotonic_ms() + (well ? END_WAIT_MS : END_WAIT_MS / 5);
    int killed_by = 0;
    for (uint32_t r = 1; r < spec->ranks.count; r++) {
        int signal = 0;
        while (spec->ranks.pids[r] > 0 && !has_ended(spec->ranks.pids[r], &signal) &&
               clock_monotonic_ms() < deadline_ms)
            nanosleep(&nap, NULL);
        if (signal) {
            fprintf(stderr, "ijepad-worker: rank %u was ended by signal %d\n", r, signal);
            killed_by = signal;
        }
    }
    if (well || !killed_by)
        return;
    fflush(NULL);
    signal(killed_by, SIG_DFL);
    raise(killed_by);
}

/* ---- A rank's own host ----------------------------------------------------------------------- */

static enum ij_status on_warning(void *user, const char *code, const char *text)
{
    const struct engine_spec *spec = user;
    fprintf(stderr, "ijepad-worker: rank %u: %s: %s\n", spec->ranks.rank, code, text);
    return IJ_OK;
}

struct engine_sink worker_ranks_sink(struct engine_spec *spec)
{
    return (struct engine_sink){.user = spec, .warning = on_warning};
}
