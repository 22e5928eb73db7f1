/*
 * A growable byte buffer that is born with a maximum.
 *
 * After a failure (out of memory, maximum reached) the buffer keeps its content, remembers the
 * failure and ignores further appends: callers check `buf_status` once at the end.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>

#include "base/status.h"

struct buf {
    char *data; /* owned; always NUL-terminated once non-NULL */
    size_t size, capacity, max;
    enum ij_status status;
};

void buf_init(struct buf *buf, size_t max);
void buf_done(struct buf *buf); /* frees the content; the buffer can be initialised again */
void buf_append(struct buf *buf, const void *data, size_t size);
void buf_append_text(struct buf *buf, const char *text);
__attribute__((format(printf, 2, 3))) void buf_printf(struct buf *buf, const char *format, ...);
enum ij_status buf_status(const struct buf *buf);
/* Hands the NUL-terminated content to the caller (mem_free) and empties the buffer. */
char *buf_take(struct buf *buf);

#endif
