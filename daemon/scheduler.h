/*
 * Which waiting runs start now, on which devices, whom they push aside, and why the others wait: a
 * pure function of the queue and the devices, no clock, no I/O.
 *
 * The order is that of scheduler_rank.h. A run that cannot start for a reason of its own (a
 * dependency, back-off, its sweep's or its user's limit, devices that are cordoned or used by
 * others) does not hold up those behind it. One that only lacks free devices keeps every device
 * that it could use from those behind it, so that a big run is not starved by small ones.
 *
 * Preemption: such a run takes the devices of preemptible runs of lower priority (age does not
 * count), those of the lowest priority and the latest start first, if that makes enough of them;
 * never of a run that was preempted preempt_max times or that has run for less than preempt_min_ms.
 * The victim is told to save and give way; the devices are given out once it has.
 */
#ifndef DAEMON_SCHEDULER_H
#define DAEMON_SCHEDULER_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "store/run_state.h"

#define SCHEDULER_DEVICES_MAX  128
#define SCHEDULER_WANTED_MAX   64
#define SCHEDULER_BLOCKING_MAX 8
#define SCHEDULER_DETAILS_MAX  32 /* runs of which it is told in detail what they wait for */

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
    int64_t queued_ms;                               /* wall clock: since when it waits */
    int32_t slots;                                   /* devices wanted, 1..SCHEDULER_WANTED_MAX */
    bool gpu;                                        /* GPUs, not host slots */
    uint64_t memory_bytes;                           /* of each, at least */
    const char *user;                                /* whose it is; borrowed; NULL: nobody's */
    int64_t sweep;                                   /* 0: none */
    int32_t sweep_max;                               /* runs of it at a time */
    int64_t not_before_ms;                           /* backoff: wall clock */
    const struct scheduler_dependency *dependencies; /* borrowed */
    size_t dependency_count;
};

/* A run that holds devices. */
struct scheduler_active {
    int64_t id;
    double eta_s; /* NaN: unknown */
    int64_t sweep;
    int32_t slots;    /* devices that it holds */
    const char *user; /* borrowed; NULL: nobody's */
    int32_t priority, preemptions;
    bool preemptible;
    bool ending;        /* pausing or stopping: its devices come free */
    int64_t started_ms; /* wall clock: this attempt */
};

struct scheduler_device {
    bool absent; /* only its place is kept */
    bool gpu;
    uint64_t memory_bytes;
    bool usable;         /* may be given out when nobody holds it */
    const char *trouble; /* not usable: why, for people; borrowed */
    int64_t run;         /* who holds it; 0: nobody */
};

struct scheduler_input {
    const struct scheduler_run *runs; /* any order */
    size_t run_count;
    const struct scheduler_active *active;
    size_t active_count;
    const struct scheduler_device *devices; /* at most SCHEDULER_DEVICES_MAX */
    size_t device_count;
    bool draining;       /* start nothing: the daemon stops */
    const char *blocked; /* start nothing, and the reason for people; NULL: nothing is wrong */
    const char *blocked_code;
    int64_t now_ms;         /* wall clock */
    int64_t age_ms;         /* waiting so long counts as one of priority; 0: nothing */
    int64_t preempt_min_ms; /* a run is left alone for so long after its start */
    int32_t preempt_max;    /* times that a run may be preempted; 0: never */
    int32_t user_max;       /* devices that the runs of one user hold at a time; 0: any number */
};

struct scheduler_decision {
    int64_t id;
    size_t index; /* into input->runs */
    bool start;
    uint8_t devices[SCHEDULER_WANTED_MAX]; /* start: places in input->devices, one per slot */
    char code[48]; /* why it waits: "backoff", "dependency", "dependency_failed", "sweep", "quota",
                      "no_slots", "no_gpus", "unavailable", "too_big", "draining" or
                      blocked_code; "" when it starts */
    char text[256];
    double eta_s;                             /* until it may start; NaN: unknown */
    int64_t blocking[SCHEDULER_BLOCKING_MAX]; /* runs that it waits for, as far as told */
    size_t blocking_count;
};

/* A run that is to save and give way. */
struct scheduler_victim {
    size_t index;    /* into input->active */
    int64_t for_run; /* who wants its devices */
};

struct scheduler_plan {
    struct scheduler_decision *decisions; /* the caller's, room for run_count */
    struct scheduler_victim *victims;     /* the caller's, room for active_count */
    size_t decision_count, victim_count;  /* filled */
};

/* One decision per queued or backoff run, in scheduling order. IJ_NO_MEMORY: nothing is filled. */
IJ_MUST_USE enum ij_status scheduler_decide(const struct scheduler_input *input,
                                            struct scheduler_plan *plan, struct ij_err *reterr_err);

#endif
