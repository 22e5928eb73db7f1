/* The Range header of RFC 9110, one range of bytes. Pure. */
#ifndef API_BYTE_RANGE_H
#define API_BYTE_RANGE_H

#include <stdint.h>

enum byte_range_result {
    BYTE_RANGE_WHOLE, /* none asked for, or a form that may be ignored: send everything */
    BYTE_RANGE_PART,
    BYTE_RANGE_OUTSIDE, /* 416 */
};

/* `header` may be NULL. On PART: first byte and count, count > 0. */
enum byte_range_result byte_range_parse(const char *header, uint64_t size, uint64_t *ret_first,
                                        uint64_t *ret_count);

#endif
