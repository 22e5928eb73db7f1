/*
 * The devices during one scheduling pass: who may take which, what is kept for whom, when enough of
 * them come free, and who could be made to give way. Pure; used by scheduler.c alone.
 */
#ifndef DAEMON_SCHEDULER_POOL_H
#define DAEMON_SCHEDULER_POOL_H

#include "daemon/scheduler.h"

struct scheduler_pool {
    const struct scheduler_input *input;
    int64_t holder[SCHEDULER_DEVICES_MAX];   /* now, with what this pass gave out; 0: free */
    int64_t reserver[SCHEDULER_DEVICES_MAX]; /* who waits for it, first in line; 0: nobody */
    bool promised[SCHEDULER_DEVICES_MAX];    /* some estimate counts on it already */
    bool *ending;                            /* by active run: gives way; the caller's */
};

void scheduler_pool_init(struct scheduler_pool *pool, const struct scheduler_input *input,
                         bool *ending);

struct scheduler_pool_count {
    int32_t fitting; /* of the kind and size, whatever their condition */
    int32_t usable;  /* of those: may be given out, now or later */
    int32_t idle;    /* of those: held by nobody */
    int32_t open;    /* of those: also kept for nobody in front */
};

struct scheduler_pool_count scheduler_pool_count(const struct scheduler_pool *pool,
                                                 const struct scheduler_run *run);
/* Gives run->slots open devices, the smallest that do; there must be as many. */
void scheduler_pool_take(struct scheduler_pool *pool, const struct scheduler_run *run,
                         uint8_t ret_places[SCHEDULER_WANTED_MAX]);
/* Keeps every usable device that fits from those behind; *ret_ahead: who kept one first, or 0. */
void scheduler_pool_reserve(struct scheduler_pool *pool, const struct scheduler_run *run,
                            int64_t *ret_ahead);
/* Seconds until enough usable devices that no estimate counts on are free; NaN: unknown. Those
 * then are counted on. */
double scheduler_pool_eta(struct scheduler_pool *pool, const struct scheduler_run *run);
/* Those who hold what the run could use; returns how many. */
size_t scheduler_pool_holders(const struct scheduler_pool *pool, const struct scheduler_run *run,
                              int64_t ret_runs[SCHEDULER_BLOCKING_MAX]);
/* The first unusable device that would fit, for people; NULL: none. */
const char *scheduler_pool_trouble(const struct scheduler_pool *pool,
                                   const struct scheduler_run *run);
/* Appends the runs that must give way so that `run` gets its devices; call before reserving. */
void scheduler_pool_preempt(struct scheduler_pool *pool, const struct scheduler_run *run,
                            struct scheduler_plan *plan);

#endif
