/* Time. Durations use the monotonic clock; the wall clock is for display and records. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_RFC3339_SIZE 25 /* "2026-11-23T02:41:10.000Z" and NUL */

int64_t clock_monotonic_ns(void);
int64_t clock_monotonic_ms(void);
int64_t clock_wall_ms(void);   /* since 1970-01-01 UTC */
int64_t clock_thread_ns(void); /* processor time of the calling thread */

/* RFC 3339 in UTC with milliseconds; years outside 0..9999 are clamped. */
void clock_rfc3339(int64_t wall_ms, char ret_text[CLOCK_RFC3339_SIZE]);

#endif
