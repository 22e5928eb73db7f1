/* See log_text.h. */
#include "api/log_text.h"

#include <stdbool.h>

#include "base/text.h"

/* Bytes of the character at `text` that may be shown as they are; 0: escape one byte. */
static size_t shown_bytes(const char *text, size_t size)
{
    unsigned char c = (unsigned char)text[0];
    if (c < 0x80)
        return (c >= ' ' && c != 0x7f) || c == '\n' || c == '\t';
    size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (need > size || !text_is_utf8(text, need))
        return 0;
    bool control = c == 0xc2 && (unsigned char)text[1] < 0xa0; /* U+0080 to U+009F */
    return control ? 0 : need;
}

void log_text_escape(const char *text, size_t size, struct buf *buf)
{
    size_t start = 0, at = 0;
    while (at < size) {
        size_t bytes = shown_bytes(text + at, size - at);
        if (bytes) {
            at += bytes;
            continue;
        }
        buf_append(buf, text + start, at - start);
        buf_printf(buf, "\\x%02x", (unsigned char)text[at]);
        start = ++at;
    }
    buf_append(buf, text + start, size - start);
}

size_t log_text_tail(const char *text, size_t size, size_t lines)
{
    size_t at = size;
    if (at && text[at - 1] == '\n')
        at--;
    while (at > 0) {
        if (text[at - 1] == '\n' && --lines == 0)
            return at;
        at--;
    }
    return 0;
}
