/*
 * The states of a run, as stored, shown and moved between. The daemon's state machine is the only
 * writer; this file only knows names and classes. Pure; any thread.
 */
#ifndef STORE_RUN_STATE_H
#define STORE_RUN_STATE_H

#include <stdbool.h>
#include <stdint.h>

/* X(code, name, terminal, has a worker process) */
#define RUN_STATE_MAP(X)                                                                           \
    X(HELD, "held", false, false)                                                                  \
    X(QUEUED, "queued", false, false)                                                              \
    X(STARTING, "starting", false, true)                                                           \
    X(RUNNING, "running", false, true)                                                             \
    X(PAUSING, "pausing", false, true)                                                             \
    X(PAUSED, "paused", false, false)                                                              \
    X(STOPPING, "stopping", false, true)                                                           \
    X(BACKOFF, "backoff", false, false)                                                            \
    X(SUCCEEDED, "succeeded", true, false)                                                         \
    X(FAILED, "failed", true, false)                                                               \
    X(CANCELED, "canceled", true, false)                                                           \
    X(QUARANTINED, "quarantined", true, false)

enum run_state {
#define X(code, name, terminal, process) RUN_STATE_##code,
    RUN_STATE_MAP(X)
#undef X
        RUN_STATE_COUNT
};

/* What the user last asked for. */
#define RUN_STATE_DESIRE_MAP(X)                                                                    \
    X(RUN, "run")                                                                                  \
    X(HOLD, "hold")                                                                                \
    X(PAUSE, "pause")                                                                              \
    X(CANCEL, "cancel")                                                                            \
    X(KILL, "kill")

enum run_state_desire {
#define X(code, name) RUN_STATE_DESIRE_##code,
    RUN_STATE_DESIRE_MAP(X)
#undef X
        RUN_STATE_DESIRE_COUNT
};

#define RUN_STATE_BIT(state) (1u << (state))

const char *run_state_name(enum run_state state); /* "queued"; static */
bool run_state_from_name(const char *name, enum run_state *ret_state);
bool run_state_is_terminal(enum run_state state);
bool run_state_is_live(enum run_state state);     /* not terminal */
bool run_state_has_process(enum run_state state); /* a worker may be alive */
uint32_t run_state_live_mask(void);               /* RUN_STATE_BIT of every live state */

const char *run_state_desire_name(enum run_state_desire desire); /* static */
bool run_state_desire_from_name(const char *name, enum run_state_desire *ret_desire);

#endif
