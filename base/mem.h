/*
 * Allocation with overflow checks, and scope-bound cleanup.
 *
 * mem_new/mem_array return NULL on failure and zeroed memory on success; every caller checks.
 * `mem_fail_after(n)` makes the n-th allocation from now fail (tests only; negative: never) and
 * returns what was left of the last countdown; negative: none is left.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>
#include <stdlib.h>
#include <stdio.h>
#include <unistd.h>

void *mem_alloc_zero(size_t count, size_t size);         /* free with mem_free */
void *mem_grow(void *memory, size_t count, size_t size); /* realloc; NULL: old one is intact */
void *mem_alloc_aligned(size_t alignment, size_t bytes); /* not zeroed; free with mem_free */
char *mem_strdup(const char *text);
__attribute__((format(printf, 1, 2))) char *mem_printf(const char *format,
                                                       ...); /* NULL: no memory */
void mem_free(void *memory);                                 /* NULL is fine */
long mem_fail_after(long n);

#define mem_new(type)          ((type *)mem_alloc_zero(1, sizeof(type)))
#define mem_array(type, count) ((type *)mem_alloc_zero((count), sizeof(type)))

/* Scoped cleanup: `mem_auto char *p = ...;` frees at scope end; MEM_TAKE(p) hands ownership on. */
static inline void mem_free_at(void *p)
{
    mem_free(*(void **)p);
}
static inline void mem_close_fd_at(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
static inline void mem_close_file_at(FILE **file)
{
    if (*file)
        fclose(*file);
}
#define mem_auto  __attribute__((cleanup(mem_free_at)))
#define fd_auto   __attribute__((cleanup(mem_close_fd_at)))
#define file_auto __attribute__((cleanup(mem_close_file_at)))
#define MEM_TAKE(p)                                                                                \
    __extension__({                                                                                \
        __typeof__(p) taken_ = (p);                                                                \
        (p) = NULL;                                                                                \
        taken_;                                                                                    \
    })
#define FD_TAKE(fd)                                                                                \
    __extension__({                                                                                \
        int taken_ = (fd);                                                                         \
        (fd) = -1;                                                                                 \
        taken_;                                                                                    \
    })
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
