/* See text.h. */
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX 64

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Levenshtein distance over two rows; words longer than WORD_MAX are never near. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t na = strlen(a), nb = strlen(b), row[WORD_MAX + 1];
    if (na > WORD_MAX || nb > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t above = row[j];
            row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[nb];
}

const char *text_nearest(const char *word, const char *const *names, size_t count)
{
    const char *best = NULL;
    if (strlen(word) > WORD_MAX)
        return NULL;
    size_t best_distance = strlen(word) / 2 + 1; /* more than half wrong is no typo */
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(word, names[i]);
        if (distance < best_distance) {
            best_distance = distance;
            best = names[i];
        }
    }
    return best;
}

bool text_to_u64(const char *text, uint64_t *ret_value)
{
    if (!isdigit((unsigned char)text[0]))
        return false;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end)
        return false;
    *ret_value = value;
    return true;
}

bool text_to_double(const char *text, double *ret_value)
{
    if (!text[0] || isspace((unsigned char)text[0]))
        return false;
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (errno || *end || !isfinite(value))
        return false;
    *ret_value = value;
    return true;
}

const char *text_below(const char *folder, const char *path)
{
    size_t size = strlen(folder);
    if (size == 0)
        return NULL;
    while (size > 0 && folder[size - 1] == '/')
        size--;
    bool below = strncmp(folder, path, size) == 0 && (path[size] == '/' || path[size] == '\0');
    return below ? path + size : NULL;
}

bool text_is_name(const char *text)
{
    size_t n = strlen(text);
    if (n < 1 || n > 64 || text[0] == '.')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("._-", text[i]))
            return false;
    return true;
}

bool text_is_utf8(const char *text, size_t size)
{
    const unsigned char *s = (const unsigned char *)text, *end = s + size;
    while (s < end) {
        if (*s < 0x80) {
            s++;
            continue;
        }
        int extra = (*s & 0xe0) == 0xc0 ? 1 : (*s & 0xf0) == 0xe0 ? 2 : (*s & 0xf8) == 0xf0 ? 3 : 0;
        if (!extra || end - s <= extra)
            return false;
        uint32_t code = *s & (0x3fu >> extra);
        for (int i = 1; i <= extra; i++) {
            if ((s[i] & 0xc0) != 0x80)
                return false;
            code = code << 6 | (s[i] & 0x3f);
        }
        static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
        if (code < smallest[extra] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
            return false;
        s += extra + 1;
    }
    return true;
}

void text_make_utf8(char *text)
{
    for (char *at = text; *at;) {
        size_t left = strnlen(at, 4), size = 1;
        while (size <= left && !text_is_utf8(at, size))
            size++;
        if (size > left) {
            *at = '?';
            size = 1;
        }
        at += size;
    }
}
