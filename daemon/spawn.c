/*
 * See spawn.h. The child may only make async-signal-safe calls between fork and exec. A
 * close-on-exec pipe carries its errno if something fails; end of file on it means that exec has
 * happened.
 */
#include "daemon/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "daemon/wire.h"

#define OOM_SCORE "500" /* a worker goes before the daemon when memory runs out */

/* Does "NAME=value" set the variable of `entry`, "NAME=other"? */
static bool same_name(const char *entry, const char *setting)
{
    size_t length = strcspn(setting, "=") + 1;
    return strncmp(entry, setting, length) == 0;
}

static bool is_hidden(const char *entry, const char *const *extra)
{
    static const char *const private_names[] = {
        "NOTIFY_SOCKET=",  "LISTEN_",        "WATCHDOG_",
        "JOURNAL_STREAM=", "INVOCATION_ID=", "CREDENTIALS_"};
    for (size_t i = 0; i < COUNT_OF(private_names); i++)
        if (strncmp(entry, private_names[i], strlen(private_names[i])) == 0)
            return true;
    for (; extra && *extra; extra++)
        if (same_name(entry, *extra))
            return true;
    return false;
}

const char **spawn_environment(const char *const *extra)
{
    size_t count = 0, extras = 0, kept = 0;
    while (environ[count])
        count++;
    while (extra && extra[extras])
        extras++;
    const char **copy = mem_array(const char *, count + extras + 1);
    for (size_t i = 0; copy && i < count; i++)
        if (!is_hidden(environ[i], extra))
            copy[kept++] = environ[i];
    for (size_t i = 0; copy && i < extras; i++)
        copy[kept++] = extra[i];
    return copy;
}

static void child_reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int signal = 1; signal < NSIG; signal++)
        sigaction(signal, &action, NULL); /* fails for KILL and STOP, which is fine */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void child_set_oom_score(void)
{
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n = write(fd, OOM_SCORE, sizeof(OOM_SCORE) - 1);
    (void)n; /* a wish, not a need */
    close(fd);
}

/* Puts the descriptors where the program expects them. The sources are first moved out of the way,
 * because one of them may already have the number of another's target. */
static int child_move_fds(const struct spawn_options *options, int *error_fd)
{
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int in = fcntl(null_fd, F_DUPFD_CLOEXEC, 10);
    int out = fcntl(options->output_fd, F_DUPFD_CLOEXEC, 10);
    int socket = options->socket_fd < 0 ? null_fd : options->socket_fd;
    socket = fcntl(socket, F_DUPFD_CLOEXEC, 10);
    int error = fcntl(*error_fd, F_DUPFD_CLOEXEC, 10);
    if (in < 0 || out < 0 || socket < 0 || error < 0)
        return -1;
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 || dup2(socket, WIRE_FD) < 0 ||
        dup3(error, WIRE_FD + 1, O_CLOEXEC) < 0)
        return -1;
    *error_fd = WIRE_FD + 1;
    return (int)syscall(SYS_close_range, WIRE_FD + 2, ~0u, 0);
}

__attribute__((noreturn)) static void child(const struct spawn_options *options, pid_t parent,
                                            int error_fd)
{
    child_reset_signals();
    bool ok = setsid() >= 0 && prctl(PR_SET_PDEATHSIG, SIGKILL) == 0;
    if (getppid() != parent) /* it ended before the line above took effect */
        _exit(1);
    child_set_oom_score();
    if (ok && child_move_fds(options, &error_fd) == 0)
        execve(options->program, (char *const *)options->arguments,
               (char *const *)options->environment);
    int error = errno;
    ssize_t n = write(error_fd, &error, sizeof(error));
    (void)n;
    _exit(127);
}

/* The errno that the child reported, 0 if it has become the program. */
static int read_error(int fd)
{
    int error = 0;
    ssize_t n;
    do
        n = read(fd, &error, sizeof(error));
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(error) ? error : 0;
}

static pid_t fork_child(const struct spawn_options *options, int error_fd)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* no handler of ours may run in the child */
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        child(options, parent, error_fd);
    int error = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = error;
    return pid;
}

enum ij_status spawn_start(const struct spawn_options *options, pid_t *ret_pid, int *ret_pidfd,
                           struct ij_err *reterr_err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return IJ_ERR_SYS(reterr_err, errno, "", "cannot make a pipe");
    fd_auto int error_fd = ends[0];
    pid_t pid = fork_child(options, ends[1]);
    int error = pid < 0 ? errno : 0;
    close(ends[1]);
    if (pid < 0)
        return IJ_ERR_SYS(reterr_err, error, options->program, "cannot fork");
    error = read_error(error_fd);
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (!error && pidfd < 0) {
        error = errno;
        kill(pid, SIGKILL); /* not reaped yet: the number is still its own */
    }
    if (error) {
        if (pidfd >= 0)
            close(pidfd);
        waitpid(pid, NULL, 0);
        return IJ_ERR_SYS(reterr_err, error, options->program, "cannot start %s", options->program);
    }
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return IJ_OK;
}

uint64_t spawn_oom_kills(void)
{
    char line[256];
    unsigned long long count = 0;
    file_auto FILE *counters = fopen("/proc/vmstat", "re");
    while (counters && fgets(line, sizeof(line), counters))
        if (sscanf(line, "oom_kill %llu", &count) == 1)
            break;
    return count;
}

void spawn_signal(int pidfd, pid_t pid, int signal, bool group)
{
    if (group)
        kill(-pid, signal);
    syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}
