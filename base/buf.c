/* See buf.h. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

void buf_init(struct buf *buf, size_t max)
{
    *buf = (struct buf){.max = max < SIZE_MAX / 4 ? max : SIZE_MAX / 4}; /* doubling stays whole */
}

void buf_done(struct buf *buf)
{
    mem_free(buf->data);
    *buf = (struct buf){.max = buf->max};
}

/* Room for `more` bytes and a NUL. */
static bool buf_reserve(struct buf *buf, size_t more)
{
    if (buf->status != IJ_OK)
        return false;
    if (more > buf->max - buf->size) {
        buf->status = IJ_TOO_LARGE;
        return false;
    }
    size_t need = buf->size + more + 1;
    if (need <= buf->capacity)
        return true;
    size_t next = buf->capacity ? buf->capacity : 256;
    while (next < need)
        next *= 2;
    char *data = mem_grow(buf->data, next, 1);
    if (!data) {
        buf->status = IJ_NO_MEMORY;
        return false;
    }
    buf->data = data;
    buf->capacity = next;
    return true;
}

void buf_append(struct buf *buf, const void *data, size_t size)
{
    if (!buf_reserve(buf, size))
        return;
    if (size)
        memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    buf->data[buf->size] = '\0';
}

void buf_append_text(struct buf *buf, const char *text)
{
    buf_append(buf, text, strlen(text));
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n >= 0 && buf_reserve(buf, (size_t)n)) {
        vsnprintf(buf->data + buf->size, (size_t)n + 1, format, again);
        buf->size += (size_t)n;
    }
    va_end(again);
}

enum ij_status buf_status(const struct buf *buf)
{
    return buf->status;
}

char *buf_take(struct buf *buf)
{
    if (!buf->data && !buf_reserve(buf, 0))
        return NULL;
    buf->data[buf->size] = '\0';
    char *data = buf->data;
    *buf = (struct buf){.max = buf->max};
    return data;
}
