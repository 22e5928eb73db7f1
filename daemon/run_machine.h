/*
 * The rules by which a run moves between states: pure data and functions, no store, no processes.
 *
 *              hold / release
 *     held <------------------> queued --------> starting ----------> running --------> succeeded
 *                                ^  ^               |                 |  |  |  exit 0
 *                                |  +-- backoff <---+-----------------+  |  |
 *                                |        |  |          crash, hang      |  |
 *                                |        |  +--> failed, quarantined    |  |
 *               paused <---------|--------|-------- pausing <------------+  |
 *                  |   resume    |        |                                 |
 *                  +-------------+        +---- canceled <---- stopping <---+
 *
 * starting, pausing and stopping are transitional: each has a deadline after which the supervisor
 * escalates, so no run stays in them. run_set_state (run.c) is the only caller that changes a run.
 */
#ifndef DAEMON_RUN_MACHINE_H
#define DAEMON_RUN_MACHINE_H

#include <stdint.h>

#include "base/status.h"
#include "daemon/control.h"
#include "store/run_state.h"

/* Is `from` -> `to` an arrow of the diagram? (Staying is not.) */
bool run_machine_allowed(enum run_state from, enum run_state to);

/* ---- What people ask for --------------------------------------------------------------------- */

enum run_machine_effect {
    RUN_MACHINE_REFUSE,    /* illegal in this state: IJ_CONFLICT */
    RUN_MACHINE_SATISFIED, /* holds already: IJ_OK, nothing to do */
    RUN_MACHINE_MOVE,      /* change to `to` now */
    RUN_MACHINE_PAUSE,     /* has a worker: begin to pause it */
    RUN_MACHINE_STOP,      /* has a worker: begin to stop it */
    RUN_MACHINE_KILL,      /* has a worker: end it at once */
    RUN_MACHINE_WISH,      /* only what is desired changes: the exit decides by it */
    RUN_MACHINE_SAVE,      /* tell the worker to save a checkpoint */
};

struct run_machine_answer {
    enum run_machine_effect effect;
    enum run_state to; /* for RUN_MACHINE_MOVE */
};

/* verb: CONTROL_CANCEL .. CONTROL_CHECKPOINT. */
struct run_machine_answer run_machine_verb(enum control_verb verb, enum run_state state,
                                           enum run_state_desire desired);
/* The verbs that are not refused in this state, in the order of the enum; returns how many. */
size_t run_machine_verbs_allowed(enum run_state state, enum run_state_desire desired,
                                 enum control_verb ret_verbs[CONTROL_VERB_COUNT]);

/* ---- What a worker's end means --------------------------------------------------------------- */

struct run_machine_policy {
    uint32_t failures_max;   /* failures of the same cause in a row, progress or not: failed */
    uint32_t stuck_max;      /* failures in a row without a newer checkpoint: quarantined */
    int64_t base_ms, cap_ms; /* wait: base * 2^(n-1), at most cap, 10 % jitter */
};

/* Why the daemon itself made the worker end, if it did. */
enum run_machine_cause {
    RUN_MACHINE_BY_ITSELF,
    RUN_MACHINE_BY_USER,       /* pause, cancel or kill */
    RUN_MACHINE_BY_SHUTDOWN,   /* the daemon stops */
    RUN_MACHINE_BY_PREEMPTION, /* a run of higher priority gets its devices */
    RUN_MACHINE_BY_EVICTION,   /* its device is taken out of use */
    RUN_MACHINE_GPU_FAULT,     /* its device broke: not the run's fault */
    RUN_MACHINE_START_TIMEOUT, /* no first message in time */
    RUN_MACHINE_HUNG,          /* no progress in time */
    RUN_MACHINE_PROTOCOL,      /* it sent what it must not */
    RUN_MACHINE_STORAGE,       /* the daemon could not store what it sent */
};

struct run_machine_end {
    enum run_state state; /* starting, running, pausing or stopping */
    enum run_state_desire desired;
    enum run_machine_cause cause;
    int exit_code; /* -1: killed by `signal` */
    int signal;
    enum ij_status
        status;         /* exit_code >= 0: what its last message said, else what the code means */
    bool escalated;     /* the daemon had to send SIGKILL */
    bool out_of_memory; /* the kernel killed a process for that while it ran */
    bool rewound;       /* it has noted that its next start goes back, and leaves out data */
    bool newer_checkpoint;    /* the attempt left a checkpoint newer than the one it began with */
    const char *text;         /* the worker's own last words, or "" */
    uint32_t xid;             /* that its GPU reported, of the run's own doing; 0: none */
    const char *xid_text;     /* what that means */
    uint32_t failures, stuck; /* counted before this end */
    const char *last_cause;   /* of the failure before; "" none */
    uint32_t random;          /* for the jitter */
};

struct run_machine_verdict {
    enum run_state to;
    char reason[48];          /* machine code */
    char text[512];           /* for a person */
    char cause[48];           /* of the attempt */
    uint32_t failures, stuck; /* to store; 0 after a success */
    int64_t delay_ms;         /* backoff: wait this long */
    bool failed;              /* counts as a failure of the run */
    bool first;               /* queued: before the others of its priority, its age anew */
};

void run_machine_judge(const struct run_machine_end *end, const struct run_machine_policy *policy,
                       struct run_machine_verdict *ret_verdict);

/* The wait after the n-th failure in a row, n >= 1. */
int64_t run_machine_delay_ms(const struct run_machine_policy *policy, uint32_t n, uint32_t random);

#endif
