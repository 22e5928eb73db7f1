/* See scheduler_rank.h. */
#include "daemon/scheduler_rank.h"

#include <stdlib.h>

/* Within one priority. */
static int by_place(const struct scheduler_rank *a, const struct scheduler_rank *b)
{
    if (a->queue_pos != b->queue_pos)
        return a->queue_pos < b->queue_pos ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

static int by_priority(const void *left, const void *right)
{
    const struct scheduler_rank *a = left, *b = right;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    return by_place(a, b);
}

static int by_standing(const void *left, const void *right)
{
    const struct scheduler_rank *a = left, *b = right;
    if (a->standing != b->standing)
        return a->standing > b->standing ? -1 : 1;
    return by_priority(a, b);
}

static int32_t age_of(const struct scheduler_rank *run, int64_t now_ms, int64_t age_ms)
{
    if (!run->ages || age_ms <= 0 || run->queued_ms >= now_ms)
        return 0;
    int64_t age = (now_ms - run->queued_ms) / age_ms;
    return age > SCHEDULER_RANK_AGE_MAX ? SCHEDULER_RANK_AGE_MAX : (int32_t)age;
}

void scheduler_rank(struct scheduler_rank *runs, size_t count, int64_t now_ms, int64_t age_ms)
{
    int32_t longest = 0;
    if (!count)
        return;
    qsort(runs, count, sizeof(*runs), by_priority);
    for (size_t i = count; i > 0; i--) {
        struct scheduler_rank *run = &runs[i - 1];
        bool last = i == count || runs[i].priority != run->priority;
        int32_t age = age_of(run, now_ms, age_ms);
        longest = last || age > longest ? age : longest;
        run->standing = run->priority + longest;
    }
    qsort(runs, count, sizeof(*runs), by_standing);
}
