/*
 * The order of the queue: a pure function of priorities, places and waiting times.
 *
 *     standing = priority + whole(longest wait / age_ms)
 *
 * Larger standing first, then larger priority, then smaller place, then smaller id. The wait that
 * counts is that of the run itself and of every run behind it in its own priority: whoever has
 * waited long lifts those in front of it, so that age never overtakes within one priority, where
 * people arrange the order by hand. Every standing grows without bound, so no priority starves
 * another. Runs that could not start anyway (`ages` false) add no wait.
 */
#ifndef DAEMON_SCHEDULER_RANK_H
#define DAEMON_SCHEDULER_RANK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCHEDULER_RANK_AGE_MAX 4000 /* twice the range of priorities */

struct scheduler_rank {
    int64_t id;
    int32_t priority;
    double queue_pos;
    int64_t queued_ms; /* wall clock: since when it waits */
    bool ages;
    size_t index;     /* the caller's */
    int32_t standing; /* filled */
};

/* Sorts in place. age_ms 0: waiting counts for nothing. */
void scheduler_rank(struct scheduler_rank *runs, size_t count, int64_t now_ms, int64_t age_ms);

#endif
