/* Time as text and its monotonic source. */
#include <criterion/criterion.h>
#include <stdint.h>

#include "base/clock.h"

static void check(int64_t wall_ms, const char *expected)
{
    char text[CLOCK_RFC3339_SIZE];
    clock_rfc3339(wall_ms, text);
    cr_assert_str_eq(text, expected);
}

Test(clock, known_times)
{
    check(0, "1970-01-01T00:00:00.000Z");
    check(1, "1970-01-01T00:00:00.001Z");
    check(-1, "1969-12-31T23:59:59.999Z");
    check(951782399999, "2000-02-28T23:59:59.999Z");
    check(951782400000, "2000-02-29T00:00:00.000Z");
    check(2147483648000, "2038-01-19T03:14:08.000Z");
    check(253402300799999, "9999-12-31T23:59:59.999Z");
}

Test(clock, years_are_padded_and_clamped)
{
    check(253402300800000, "9999-12-31T23:59:59.999Z");
    check(INT64_MAX, "9999-12-31T23:59:59.999Z");
    check(-62135596800000, "0001-01-01T00:00:00.000Z");
    check(-46000000000000 - 1000, "0512-04-26T14:13:19.000Z");
    check(-62167219200000, "0000-01-01T00:00:00.000Z");
    check(-62167219200001, "0000-01-01T00:00:00.000Z");
    check(INT64_MIN, "0000-01-01T00:00:00.000Z");
}

Test(clock, monotonic_never_goes_back)
{
    int64_t last = clock_monotonic_ns();
    for (int i = 0; i < 10000; i++) {
        int64_t now = clock_monotonic_ns();
        cr_assert_geq(now, last);
        last = now;
    }
    cr_assert_leq(clock_monotonic_ms(), clock_monotonic_ns() / 1000000);
    cr_assert_gt(clock_wall_ms(), 1700000000000);
}
