/* See log_search.h. */
#include "api/log_search.h"

#include <string.h>
#include <strings.h>

static bool holds(const char *line, size_t size, const char *wanted)
{
    size_t length = strlen(wanted);
    for (size_t i = 0; i + length <= size; i++)
        if (strncasecmp(line + i, wanted, length) == 0)
            return true;
    return false;
}

size_t log_search(const char *text, size_t size, bool ended, const char *wanted, size_t bytes_max,
                  struct buf *lines)
{
    size_t at = 0;
    while (at < size) {
        const char *feed = memchr(text + at, '\n', size - at);
        size_t line = feed ? (size_t)(feed - text) - at + 1 : size - at;
        if (!feed && !ended)
            break;
        if (holds(text + at, line, wanted)) {
            if (lines->size + line > bytes_max && lines->size > 0)
                break;
            buf_append(lines, text + at, line < bytes_max ? line : bytes_max);
        }
        at += line;
    }
    return at;
}
