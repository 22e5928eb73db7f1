/* See byte_range.h. */
#include "api/byte_range.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool take_number(const char **text, uint64_t *ret_value)
{
    if (!isdigit((unsigned char)**text))
        return false;
    char *end;
    errno = 0;
    *ret_value = strtoull(*text, &end, 10);
    *text = end;
    return errno == 0;
}

/* "-n": the last n bytes. */
static enum byte_range_result suffix(const char *text, uint64_t size, uint64_t *ret_first,
                                     uint64_t *ret_count)
{
    uint64_t count;
    text++;
    if (!take_number(&text, &count) || *text)
        return BYTE_RANGE_WHOLE;
    if (count == 0 || size == 0)
        return BYTE_RANGE_OUTSIDE;
    *ret_count = count < size ? count : size;
    *ret_first = size - *ret_count;
    return BYTE_RANGE_PART;
}

enum byte_range_result byte_range_parse(const char *header, uint64_t size, uint64_t *ret_first,
                                        uint64_t *ret_count)
{
    if (!header || strncasecmp(header, "bytes=", 6) != 0)
        return BYTE_RANGE_WHOLE;
    const char *text = header + 6;
    if (*text == '-')
        return suffix(text, size, ret_first, ret_count);
    uint64_t first, last = UINT64_MAX;
    if (!take_number(&text, &first) || *text++ != '-')
        return BYTE_RANGE_WHOLE;
    if (*text && (!take_number(&text, &last) || *text || last < first))
        return BYTE_RANGE_WHOLE;
    if (first >= size)
        return BYTE_RANGE_OUTSIDE;
    if (last >= size)
        last = size - 1;
    *ret_first = first;
    *ret_count = last - first + 1;
    return BYTE_RANGE_PART;
}
