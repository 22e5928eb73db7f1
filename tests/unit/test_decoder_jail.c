/* The decoders' jail: what dies in it, what still works, and that loader threads are in it. */
#include "tests/unit/loader_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "gpu/data/decoder_jail.h"
#include "gpu/data/image_reader.h"

TestSuite(decoder_jail, .init = loader_set_up, .fini = loader_tear_down, .timeout = 60);

#define FREE_STATUS 7 /* the deed was done and nobody minded */
#define NO_JAIL     8

static void (*deed)(void);

static void *jailed_thread(void *unused)
{
    (void)unused;
    if (decoder_jail_enter(&err) != IJ_OK)
        _exit(NO_JAIL);
    deed();
    return NULL;
}

/* Does `what` in a jailed thread of a process of its own; the process's wait status. */
static int fate_of(void (*what)(void))
{
    int status = 0;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        pthread_t thread;
        deed = what;
        decoder_jail_prepare();
        if (pthread_create(&thread, NULL, jailed_thread, NULL) || pthread_join(thread, NULL))
            _exit(1);
        _exit(FREE_STATUS);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_JAIL)
        cr_skip_test("no seccomp here, or a sanitizer");
    return status;
}

static void expect_death(const char *name, void (*what)(void))
{
    int status = fate_of(what);
    cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS, "%s: status %x", name, status);
}

static void deed_open(void)
{
    syscall(SYS_open, "/etc/hostname", O_RDONLY);
}
static void deed_openat(void)
{
    open("/etc/hostname", O_RDONLY);
}
static void deed_write_open(void)
{
    open("/tmp/never", O_WRONLY | O_CREAT, 0600);
}
static void deed_socket(void)
{
    socket(AF_UNIX, SOCK_STREAM, 0);
}
static void deed_execve(void)
{
    execl("/bin/true", "true", NULL);
}
static void deed_fork(void)
{
    fork();
}
static void deed_kill(void)
{
    kill(getppid(), 0);
}
static void deed_ptrace(void)
{
    ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}
static void deed_write(void)
{
    if (write(STDIN_FILENO, "x", 1) < 0)
        return;
}
static void deed_executable_pages(void)
{
    mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}
static void deed_make_executable(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(page, 4096, PROT_READ | PROT_EXEC);
}
static void deed_map_file(void)
{
    mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, STDIN_FILENO, 0);
}
static void deed_other_memory(void)
{
    struct iovec io = {.iov_base = &err, .iov_len = 1};
    if (process_vm_readv(getppid(), &io, 1, &io, 1, 0) < 0)
        return;
}

Test(decoder_jail, whoever_reaches_out_dies)
{
    expect_death("open", deed_open);
    expect_death("openat", deed_openat);
    expect_death("open to write", deed_write_open);
    expect_death("socket", deed_socket);
    expect_death("execve", deed_execve);
    expect_death("fork", deed_fork);
    expect_death("kill", deed_kill);
    expect_death("ptrace", deed_ptrace);
    expect_death("write to a file", deed_write);
    expect_death("executable pages", deed_executable_pages);
    expect_death("memory made executable", deed_make_executable);
    expect_death("mapping a file", deed_map_file);
    expect_death("memory of another process", deed_other_memory);
}

/* Big and small memory, given back in an order that makes the allocator trim. */
static void deed_memory(void)
{
    void *blocks[64];
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < COUNT_OF(blocks); i++) {
            blocks[i] = malloc((size_t)64 << (i % 17));
            memset(blocks[i], 1, (size_t)64 << (i % 17));
        }
        for (size_t i = COUNT_OF(blocks); i-- > 0;)
            free(blocks[i]);
    }
}
static void deed_words(void)
{
    if (write(STDERR_FILENO, "", 0) < 0)
        _exit(1);
}
static void deed_abort(void)
{
    abort();
}

Test(decoder_jail, memory_words_and_assertions_work)
{
    int memory = fate_of(deed_memory), words = fate_of(deed_words), aborted = fate_of(deed_abort);
    cr_expect(WIFEXITED(memory) && WEXITSTATUS(memory) == FREE_STATUS, "status %x", memory);
    cr_expect(WIFEXITED(words) && WEXITSTATUS(words) == FREE_STATUS, "status %x", words);
    cr_expect(WIFSIGNALED(aborted) && WTERMSIG(aborted) == SIGABRT, "status %x", aborted);
}

Test(decoder_jail, every_decoder_of_a_loader_is_in_it)
{
    if (fate_of(deed_words) != FREE_STATUS << 8)
        cr_skip_test("no seccomp here, or a sanitizer");
    struct loader_options options = train_options();
    struct loader_stats stats;
    options.threads = 3;
    struct loader *loader = must_start(&options);
    const struct loader_batch *batch;
    do { /* a thread that is late to start is counted when it does */
        cr_assert_eq(loader_next(loader, &batch, &err), IJ_OK);
        loader_release(loader);
        loader_stats(loader, &stats);
    } while (stats.confined < stats.threads);
    cr_expect_eq(stats.confined, 3);
    loader_free(loader);
}
