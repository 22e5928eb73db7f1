/* Ranges of RFC 9110, section 14, over a file of 100 bytes. */
#include <criterion/criterion.h>

#include "api/byte_range.h"
#include "base/mem.h"

struct expectation {
    const char *header;
    enum byte_range_result result;
    uint64_t first, count;
};

static const struct expectation expectations[] = {
    {NULL, BYTE_RANGE_WHOLE, 0, 0},
    {"bytes=0-", BYTE_RANGE_PART, 0, 100},
    {"bytes=0-0", BYTE_RANGE_PART, 0, 1},
    {"bytes=99-", BYTE_RANGE_PART, 99, 1},
    {"bytes=99-99", BYTE_RANGE_PART, 99, 1},
    {"bytes=10-19", BYTE_RANGE_PART, 10, 10},
    {"bytes=10-1000", BYTE_RANGE_PART, 10, 90},
    {"Bytes=5-", BYTE_RANGE_PART, 5, 95},
    {"bytes=-1", BYTE_RANGE_PART, 99, 1},
    {"bytes=-100", BYTE_RANGE_PART, 0, 100},
    {"bytes=-1000", BYTE_RANGE_PART, 0, 100},
    {"bytes=100-", BYTE_RANGE_OUTSIDE, 0, 0},
    {"bytes=18446744073709551615-", BYTE_RANGE_OUTSIDE, 0, 0},
    {"bytes=-0", BYTE_RANGE_OUTSIDE, 0, 0},
    {"bytes=5-4", BYTE_RANGE_WHOLE, 0, 0},
    {"bytes=0-1,5-6", BYTE_RANGE_WHOLE, 0, 0},
    {"bytes=", BYTE_RANGE_WHOLE, 0, 0},
    {"bytes=-", BYTE_RANGE_WHOLE, 0, 0},
    {"bytes=a-b", BYTE_RANGE_WHOLE, 0, 0},
    {"bytes= 0-1", BYTE_RANGE_WHOLE, 0, 0},
    {"items=0-1", BYTE_RANGE_WHOLE, 0, 0},
    {"bytes=99999999999999999999-", BYTE_RANGE_WHOLE, 0, 0},
};

Test(byte_range, table)
{
    for (size_t i = 0; i < COUNT_OF(expectations); i++) {
        const struct expectation *e = &expectations[i];
        uint64_t first = 0, count = 0;
        cr_expect_eq(byte_range_parse(e->header, 100, &first, &count), e->result, "%s", e->header);
        cr_expect_eq(first, e->first, "%s", e->header);
        cr_expect_eq(count, e->count, "%s", e->header);
    }
}

Test(byte_range, an_empty_file_has_no_part)
{
    uint64_t first, count;
    cr_expect_eq(byte_range_parse("bytes=0-", 0, &first, &count), BYTE_RANGE_OUTSIDE);
    cr_expect_eq(byte_range_parse("bytes=-5", 0, &first, &count), BYTE_RANGE_OUTSIDE);
    cr_expect_eq(byte_range_parse(NULL, 0, &first, &count), BYTE_RANGE_WHOLE);
}
