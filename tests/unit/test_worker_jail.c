/* The worker's jail: what a worker on the host backend cannot do any more, and what it can. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/worker_jail.h"

#define FREE_STATUS 7
#define NO_JAIL     8

static char folder[64], run[96], elsewhere[96];
static struct ij_err err;

static void set_up(void)
{
    strcpy(folder, "/var/tmp/ijepad-jail-XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(run, sizeof(run), "%s/run", folder);
    snprintf(elsewhere, sizeof(elsewhere), "%s/other", folder);
    cr_assert_eq(mkdir(run, 0700), 0);
    int fd = open(elsewhere, O_WRONLY | O_CREAT, 0600);
    cr_assert(fd >= 0 && write(fd, "kept", 4) == 4);
    close(fd);
}

static void tear_down(void)
{
    char path[128];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", run, i ? "renamed" : "file");
        unlink(path);
    }
    rmdir(run);
    unlink(elsewhere);
    rmdir(folder);
}

TestSuite(worker_jail, .init = set_up, .fini = tear_down, .timeout = 60);

/* Wait status of a process that enters the jail and then does `deed`; its result is its code. */
static int fate_of(int (*deed)(void))
{
    int status = 0;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        _exit(worker_jail_enter(run, &err) == IJ_OK ? deed() : NO_JAIL);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_JAIL)
        cr_skip_test("no seccomp or no landlock here");
    return status;
}

static void expect_death(const char *name, int (*deed)(void))
{
    int status = fate_of(deed);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s: status %x", name, status);
}

static void expect_fine(const char *name, int (*deed)(void))
{
    int status = fate_of(deed);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == FREE_STATUS, "%s: status %x", name,
              status);
}

static int deed_execve(void)
{
    return execl("/bin/true", "true", NULL);
}
static int deed_fork(void)
{
    return fork() == 0 ? 0 : 1;
}
static int deed_network(void)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}
static int deed_kill(void)
{
    return kill(getppid(), 0);
}
static int deed_ptrace(void)
{
    return (int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}
static int deed_io_uring(void)
{
    return (int)syscall(SYS_io_uring_setup, 1, NULL);
}

Test(worker_jail, whoever_reaches_out_dies)
{
    expect_death("execve", deed_execve);
    expect_death("fork", deed_fork);
    expect_death("network", deed_network);
    expect_death("kill", deed_kill);
    expect_death("ptrace", deed_ptrace);
    expect_death("io_uring", deed_io_uring);
}

static int deed_change_elsewhere(void)
{
    char path[128];
    bool refused = open(elsewhere, O_WRONLY | O_CLOEXEC) < 0 && errno == EACCES;
    refused = refused && unlink(elsewhere) < 0 && errno == EACCES;
    snprintf(path, sizeof(path), "%s/new", folder);
    refused = refused && open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) < 0 && errno == EACCES;
    refused = refused && mkdir(path, 0700) < 0 && errno == EACCES;
    snprintf(path, sizeof(path), "%s/stolen", run);
    refused = refused && rename(elsewhere, path) < 0;
    return refused ? FREE_STATUS : 1;
}

static int deed_work(void)
{
    char from[128], to[128];
    snprintf(from, sizeof(from), "%s/file", run);
    snprintf(to, sizeof(to), "%s/renamed", run);
    int fd = open(from, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    bool done = fd >= 0 && write(fd, "x", 1) == 1 && fsync(fd) == 0 && close(fd) == 0;
    done = done && rename(from, to) == 0 && truncate(to, 0) == 0 && unlink(to) == 0;
    int read_fd = open(elsewhere, O_RDONLY | O_CLOEXEC); /* reading is free */
    int unix_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    done = done && read_fd >= 0 && unix_fd >= 0 && open("/dev/null", O_WRONLY | O_CLOEXEC) >= 0;
    return done && kill(getpid(), 0) == 0 ? FREE_STATUS : 1;
}

static void *thread_body(void *result)
{
    *(int *)result = deed_work() == FREE_STATUS && deed_change_elsewhere() == FREE_STATUS;
    return NULL;
}

static int deed_in_a_thread(void)
{
    pthread_t thread;
    int fine = 0;
    if (pthread_create(&thread, NULL, thread_body, &fine) || pthread_join(thread, NULL))
        return 1;
    return fine ? FREE_STATUS : 1;
}

Test(worker_jail, files_change_below_the_run_only)
{
    expect_fine("elsewhere", deed_change_elsewhere);
    cr_expect_eq(access(elsewhere, F_OK), 0);
    expect_fine("the run's own", deed_work);
    expect_fine("threads started later", deed_in_a_thread);
}
