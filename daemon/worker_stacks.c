/*
 * See worker_stacks.h. backtrace() allocates and takes locks only when it first loads the unwinder,
 * which worker_stacks_prepare makes it do; backtrace_symbols_fd allocates nothing. So nothing here
 * waits for a lock that a hung thread may hold.
 */
#include "daemon/worker_stacks.h"

#include <dirent.h>
#include <execinfo.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

#define FRAMES_MAX  64
#define THREADS_MAX 512
#define ANSWER_MS   100 /* a thread that can run answers in microseconds */
#define NOTE_SIGNAL SIGUSR2
#define STACK_BYTES ((size_t)256 * 1024)

static void *noted[FRAMES_MAX]; /* by the thread that was asked; read once `answered` is its id */
static int noted_count;
static _Atomic pid_t asked, answered;

static void on_note(int signal)
{
    (void)signal;
    pid_t self = (pid_t)syscall(SYS_gettid);
    if (atomic_load(&asked) != self)
        return; /* too late: another one is asked by now */
    noted_count = backtrace(noted, FRAMES_MAX);
    atomic_store(&answered, self);
}

/* ---- What the kernel says -------------------------------------------------------------------- */

/* The first line of /proc/self/task/<thread>/<name>; "" if it cannot be read. */
static void read_line(pid_t thread, const char *name, char *ret_text, size_t size)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/task/%d/%s", (int)thread, name);
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret_text, size - 1);
    ret_text[n > 0 ? n : 0] = '\0';
    ret_text[strcspn(ret_text, "\n")] = '\0';
}

/* The letter behind the name in brackets: R, S, D, T, ... */
static char state_of(pid_t thread)
{
    char text[256];
    read_line(thread, "stat", text, sizeof(text));
    const char *end = strrchr(text, ')');
    return end && end[1] == ' ' && end[2] ? end[2] : '?';
}

static void describe(pid_t thread)
{
    char name[32], place[64];
    read_line(thread, "comm", name, sizeof(name));
    read_line(thread, "wchan", place, sizeof(place));
    dprintf(STDERR_FILENO, "thread %d \"%s\", state %c%s%s\n", (int)thread, name, state_of(thread),
            place[0] && strcmp(place, "0") != 0 ? ", in the kernel at " : "",
            strcmp(place, "0") != 0 ? place : "");
}

/* ---- Asking ---------------------------------------------------------------------------------- */

static bool ask(pid_t thread)
{
    struct timespec pause = {.tv_nsec = 1000000};
    atomic_store(&answered, 0);
    atomic_store(&asked, thread);
    if (syscall(SYS_tgkill, getpid(), thread, NOTE_SIGNAL) < 0)
        return false;
    for (int i = 0; i < ANSWER_MS; i++) {
        if (atomic_load(&answered) == thread)
            return true;
        nanosleep(&pause, NULL);
    }
    atomic_store(&asked, 0);
    return false;
}

static void write_one(pid_t thread)
{
    describe(thread);
    if (ask(thread))
        backtrace_symbols_fd(noted, noted_count, STDERR_FILENO);
    else
        dprintf(STDERR_FILENO, "  it does not answer\n");
}

/* Of every thread but this one, into the caller's array; without opendir, which allocates. */
static size_t list_threads(pid_t *ret_threads)
{
    char entries[4096];
    size_t count = 0;
    fd_auto int fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ssize_t n;
    while (fd >= 0 && (n = getdents64(fd, entries, sizeof(entries))) > 0)
        for (ssize_t at = 0; at < n && count < THREADS_MAX;) {
            const struct dirent64 *entry = (const struct dirent64 *)(entries + at);
            pid_t thread = (pid_t)strtol(entry->d_name, NULL, 10);
            if (thread > 0 && thread != (pid_t)syscall(SYS_gettid))
                ret_threads[count++] = thread;
            at += entry->d_reclen;
        }
    return count;
}

static void write_all(void)
{
    pid_t threads[THREADS_MAX];
    size_t count = list_threads(threads);
    dprintf(STDERR_FILENO, "--- stacks of process %d, %zu threads ---\n", (int)getpid(), count);
    for (size_t i = 0; i < count; i++)
        write_one(threads[i]);
    dprintf(STDERR_FILENO, "--- end of stacks ---\n");
}

__attribute__((noreturn)) static void *watch(void *unused)
{
    (void)unused;
    sigset_t wanted;
    int signal;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGQUIT);
    for (;;)
        if (sigwait(&wanted, &signal) == 0)
            write_all();
}

void worker_stacks_prepare(void)
{
    struct sigaction action = {.sa_handler = on_note, .sa_flags = SA_RESTART};
    sigset_t blocked;
    noted_count = backtrace(noted, FRAMES_MAX);
    sigaction(NOTE_SIGNAL, &action, NULL);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGQUIT);
    pthread_sigmask(SIG_BLOCK, &blocked, NULL);
}

void worker_stacks_watch(void)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, watch, NULL) == 0)
        (void)pthread_setname_np(thread, "stacks");
    pthread_attr_destroy(&attributes);
}
