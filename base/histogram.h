/*
 * Durations counted in fixed buckets, as Prometheus takes them. Zeroed memory is an empty one. Any
 * thread adds, any thread reads: each figure is atomic by itself, so a reader may see one of two
 * that belong together.
 */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define HISTOGRAM_BOUNDS 12

struct histogram {
    _Atomic uint64_t counts[HISTOGRAM_BOUNDS + 1]; /* of this bucket alone; the last: beyond all */
    _Atomic uint64_t nanoseconds;                  /* sum */
};

/* Upper bounds in seconds, 0.5 ms to 10 s; a duration of exactly a bound counts below it. */
extern const double histogram_bounds_s[HISTOGRAM_BOUNDS];

void histogram_add(struct histogram *histogram, int64_t nanoseconds); /* negative: 0 */
/* ret_cumulative[i]: durations up to bound i; the last: all. Returns the sum in seconds. */
double histogram_read(const struct histogram *histogram,
                      uint64_t ret_cumulative[HISTOGRAM_BOUNDS + 1]);

#endif
