/*
 * LD_PRELOAD: the Nth allocation of the program fails, once or from there on.
 *
 * IJEPAD_FAIL_ALLOC=N or N+ chooses which, counted from 1 in every process that has the library
 * (a worker counts for itself); IJEPAD_ALLOC_COUNT=FILE takes the number made, when the program
 * ends. The allocator that glibc provides under its internal names does the work.
 *
 * Calls by the C++ runtime, oneDNN and OpenMP are not counted: they end the program by themselves
 * (std::bad_alloc, "Out of memory"), and nothing in this repository could prevent it. Nor are those
 * by libseccomp, which does not survive a failure inside seccomp_load (2.5.4), nor those by
 * libjansson, whose parser does not either (2.14).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

#define RANGES_MAX 8

static atomic_long made;
static atomic_long chosen; /* 0: none */
static int onwards, count_fd = -1;
static struct {
    uintptr_t begin, end;
} foreign[RANGES_MAX];
static int foreign_count;

static int is_foreign_library(const char *path)
{
    static const char *const names[] = {"libdnnl",   "libstdc++",  "libgomp",   "libtbb",
                                        "libOpenCL", "libseccomp", "libjansson"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strstr(path, names[i]))
            return 1;
    return 0;
}

static int note_library(struct dl_phdr_info *info, size_t size, void *user)
{
    (void)size;
    (void)user;
    if (!is_foreign_library(info->dlpi_name) || foreign_count == RANGES_MAX)
        return 0;
    uintptr_t end = info->dlpi_addr;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            uintptr_t last =
                info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
            end = last > end ? last : end;
        }
    foreign[foreign_count].begin = info->dlpi_addr;
    foreign[foreign_count++].end = end;
    return 0;
}

/* What constructors allocate before main, like the CUDA runtime's, is not counted either. What
 * destructors allocate after it does not fail: libgcov's would not survive that. */
static int (*program)(int, char **, char **);

static int begin(int argc, char **argv, char **environment)
{
    const char *text = getenv("IJEPAD_FAIL_ALLOC"), *file = getenv("IJEPAD_ALLOC_COUNT");
    dl_iterate_phdr(note_library, NULL);
    if (file) /* now: later the program may have locked itself in */
        count_fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    atomic_store(&made, 0);
    onwards = text && strchr(text, '+') != NULL;
    atomic_store(&chosen, text ? atol(text) : 0);
    int code = program(argc, argv, environment);
    atomic_store(&chosen, 0);
    return code;
}

typedef int (*start_main)(int (*main)(int, char **, char **), int argc, char **argv,
                          void (*init)(void), void (*fini)(void), void (*rtld_fini)(void),
                          void *stack_end);

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
                      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
    start_main real = (start_main)dlsym(RTLD_NEXT, "__libc_start_main");
    program = main;
    return real(begin, argc, argv, init, fini, rtld_fini, stack_end);
}

static int fails(const void *caller)
{
    for (int i = 0; i < foreign_count; i++)
        if ((uintptr_t)caller >= foreign[i].begin && (uintptr_t)caller < foreign[i].end)
            return 0;
    long n = atomic_fetch_add(&made, 1) + 1;
    long first = atomic_load(&chosen);
    if (first == 0 || (onwards ? n < first : n != first))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(memory, size);
}

int posix_memalign(void **ret_memory, size_t alignment, size_t size)
{
    void *memory = fails(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
    if (!memory)
        return ENOMEM;
    *ret_memory = memory;
    return 0;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_memalign(alignment, size);
}

__attribute__((destructor)) static void tell(void)
{
    char text[32];
    int length = snprintf(text, sizeof(text), "%ld\n", atomic_load(&made));
    if (count_fd >= 0 && write(count_fd, text, (size_t)length) < 0)
        perror("allocations");
}
