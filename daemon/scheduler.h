/*
 * Which waiting runs start now, and why the others do not: a pure function of the queue, no clock,
 * no I/O. Higher priority first, then smaller queue position, then smaller id. A run that cannot
 * start for a reason of its own (a dependency, back-off, its sweep's limit) does not hold up those
 * behind it; one that only lacks a slot does, so that a big run is not starved by small ones.
 */
#ifndef DAEMON_SCHEDULER_H
#define DAEMON_SCHEDULER_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "store/run_state.h"

struct scheduler_dependency {
    int64_t run;
    bool any;             /* wait for its end only; false: it must succeed */
    enum run_state state; /* its state now */
};

struct scheduler_run {
    int64_t id;
    enum run_state state; /* queued or backoff; others are ignored */
    int32_t priority;
    double queue_pos;
    int32_t slots;
    int64_t sweep;                                   /* 0: none */
    int32_t sweep_max;                               /* runs of it at a time */
    int64_t not_before_ms;                           /* backoff: wall clock */
    const struct scheduler_dependency *dependencies; /* borrowed */
    size_t dependency_count;
};

/* A run that holds slots. */
struct scheduler_active {
    int64_t id;
    int32_t slots;
    double eta_s; /* NaN: unknown */
    int64_t sweep;
};

struct scheduler_input {
    const struct scheduler_run *runs; /* any order */
    size_t run_count;
    const struct scheduler_active *active;
    size_t active_count;
    int32_t slots;       /* in all */
    bool draining;       /* start nothing: the daemon stops */
    const char *blocked; /* start nothing, and the reason for people; NULL: nothing is wrong */
    const char *blocked_code;
    int64_t now_ms; /* wall clock */
};

struct scheduler_decision {
    int64_t id;
    size_t index; /* into input->runs */
    bool start;
    char code
        [48]; /* why it waits: "backoff", "dependency", "dependency_failed", "sweep", "no_slots",
                      "too_big", "draining" or blocked_code; "" when it starts */
    char text[256];
    double eta_s; /* until it may start; NaN: unknown */
};

/* Fills one decision per queued or backoff run, in scheduling order; `ret_decisions` has room for
 * run_count. IJ_NO_MEMORY: nothing is filled. */
IJ_MUST_USE enum ij_status scheduler_decide(const struct scheduler_input *input,
                                            struct scheduler_decision *ret_decisions,
                                            size_t *ret_count, struct ij_err *reterr_err);

#endif
