/* Durations fall into the bucket of the next bound, and sums add up. */
#include <criterion/criterion.h>

#include "base/histogram.h"

Test(histogram, an_empty_one_reads_zero)
{
    struct histogram histogram = {0};
    uint64_t cumulative[HISTOGRAM_BOUNDS + 1];
    cr_assert_eq(histogram_read(&histogram, cumulative), 0);
    cr_assert_eq(cumulative[HISTOGRAM_BOUNDS], 0);
}

Test(histogram, bounds_rise_and_a_bound_counts_below_itself)
{
    for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
        struct histogram histogram = {0};
        uint64_t cumulative[HISTOGRAM_BOUNDS + 1];
        int64_t bound_ns = (int64_t)(histogram_bounds_s[i] * 1e9);
        cr_assert(i == 0 || histogram_bounds_s[i] > histogram_bounds_s[i - 1]);
        histogram_add(&histogram, bound_ns);
        histogram_add(&histogram, bound_ns + 1);
        (void)histogram_read(&histogram, cumulative);
        cr_assert_eq(cumulative[i], 1, "bound %u", i);
        cr_assert_eq(cumulative[i + 1], 2, "bound %u", i);
    }
}

Test(histogram, what_is_beyond_all_bounds_and_below_zero_counts_too)
{
    struct histogram histogram = {0};
    uint64_t cumulative[HISTOGRAM_BOUNDS + 1];
    histogram_add(&histogram, 30 * (int64_t)1000000000);
    histogram_add(&histogram, -5);
    cr_assert_float_eq(histogram_read(&histogram, cumulative), 30, 1e-9);
    cr_assert_eq(cumulative[0], 1);
    cr_assert_eq(cumulative[HISTOGRAM_BOUNDS - 1], 1);
    cr_assert_eq(cumulative[HISTOGRAM_BOUNDS], 2);
}
