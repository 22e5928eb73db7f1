/* See histogram.h. */
#include "base/histogram.h"

const double histogram_bounds_s[HISTOGRAM_BOUNDS] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                     0.05,   0.1,   0.25,   0.5,   1,    10};

void histogram_add(struct histogram *histogram, int64_t nanoseconds)
{
    int64_t duration = nanoseconds > 0 ? nanoseconds : 0;
    unsigned bucket = 0;
    while (bucket < HISTOGRAM_BOUNDS && (double)duration > histogram_bounds_s[bucket] * 1e9)
        bucket++;
    atomic_fetch_add(&histogram->counts[bucket], 1);
    atomic_fetch_add(&histogram->nanoseconds, (uint64_t)duration);
}

double histogram_read(const struct histogram *histogram,
                      uint64_t ret_cumulative[HISTOGRAM_BOUNDS + 1])
{
    uint64_t sum = 0;
    for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        sum += atomic_load(&histogram->counts[i]);
        ret_cumulative[i] = sum;
    }
    return (double)atomic_load(&histogram->nanoseconds) / 1e9;
}
