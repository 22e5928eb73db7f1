/* See mem.h. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static _Atomic long mem_fail_countdown = -1;

static bool mem_should_fail(void)
{
    if (atomic_load_explicit(&mem_fail_countdown, memory_order_relaxed) < 0)
        return false;
    return atomic_fetch_sub(&mem_fail_countdown, 1) == 0;
}

long mem_fail_after(long n)
{
    return atomic_exchange(&mem_fail_countdown, n);
}

void *mem_alloc_zero(size_t count, size_t size)
{
    size_t bytes;
    if (mem_should_fail() || __builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return calloc(bytes ? bytes : 1, 1);
}

void *mem_grow(void *memory, size_t count, size_t size)
{
    size_t bytes;
    if (mem_should_fail() || __builtin_mul_overflow(count, size, &bytes))
        return NULL;
    return realloc(memory, bytes ? bytes : 1);
}

void *mem_alloc_aligned(size_t alignment, size_t bytes)
{
    if (mem_should_fail() || bytes > SIZE_MAX - alignment)
        return NULL;
    size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    return aligned_alloc(alignment, rounded ? rounded : alignment);
}

char *mem_strdup(const char *text)
{
    size_t n = strlen(text) + 1;
    char *copy = mem_alloc_zero(n, 1);
    if (copy)
        memcpy(copy, text, n);
    return copy;
}

char *mem_printf(const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = n < 0 ? NULL : mem_alloc_zero((size_t)n + 1, 1);
    if (text)
        vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

void mem_free(void *memory)
{
    free(memory);
}
