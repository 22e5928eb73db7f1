/*
 * One worker process: started, listened to, watched, stopped, buried. Loop thread only.
 *
 * Stop ladder: a message at once, SIGTERM after three quarters of the grace time, SIGKILL to the
 * whole group when it is over; a process that the kernel does not let go of even so, in a call to a
 * broken driver or disk, is told of once (`unkillable`) and asked again. Hang watch: any frame is
 * a sign of progress, because the worker sends none by timer; without one for the longer of
 * `hang_timeout_ms` and ten times the longest pause seen so far it is killed, after a look at where
 * its threads are for its log (thread_look.h, worker_stacks.h). When the process has
 * ended, what it had still sent is delivered first and `ended` comes last; the owner then calls
 * supervisor_free (inside `ended` is fine). Signals go through the pidfd, or to the group while
 * its leader is not yet reaped: never to a number that might have been reused.
 */
#ifndef DAEMON_SUPERVISOR_H
#define DAEMON_SUPERVISOR_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/status.h"
#include "daemon/run_machine.h"
#include "daemon/wire.h"

struct supervisor_worker;

struct supervisor_end {
    enum run_machine_cause cause; /* why the daemon ended it, or BY_ITSELF */
    int exit_code, signal;        /* exit_code -1: killed by `signal` */
    bool escalated;               /* SIGKILL was needed */
    bool out_of_memory;           /* the kernel killed a process for that meanwhile */
    char text[IJ_ERR_TEXT_MAX];   /* what was wrong with a message, or "" */
};

struct supervisor_callbacks {
    void *user;
    /* A frame in order, HELLO first. Not IJ_OK: the worker is killed for `ret_cause` (preset to
     * RUN_MACHINE_PROTOCOL) and gets no more frames delivered. */
    enum ij_status (*message)(void *user, const struct wire_frame *frame,
                              enum run_machine_cause *ret_cause, struct ij_err *reterr_err);
    void (*ended)(void *user, const struct supervisor_end *end);
    /* Still there `unkillable_ms` after SIGKILL; `ended` comes if it ever goes. */
    void (*unkillable)(void *user);
};

struct supervisor_options {
    const char *program, *name; /* name: "r42-a1", in log lines */
    const char *log_path;
    const char *visible_gpus; /* UUIDs parted by commas: all that it may see; "" none */
    uint64_t log_bytes_max;
    int64_t start_timeout_ms, hang_timeout_ms, unkillable_ms;
    const json_t *spec; /* payload of the SPEC frame */
    long long run;      /* for log lines */
};

IJ_MUST_USE enum ij_status supervisor_start(sd_event *event,
                                            const struct supervisor_options *options,
                                            const struct supervisor_callbacks *callbacks,
                                            struct supervisor_worker **ret_worker,
                                            struct ij_err *reterr_err);
/* Kills it if it still lives, and waits for that. NULL is fine. */
void supervisor_free(struct supervisor_worker *worker);

pid_t supervisor_pid(const struct supervisor_worker *worker);
/* Begins the ladder, or shortens one that has begun; the first cause stays. */
void supervisor_stop(struct supervisor_worker *worker, enum run_machine_cause cause,
                     int64_t grace_ms);
void supervisor_kill(struct supervisor_worker *worker, enum run_machine_cause cause);
void supervisor_checkpoint(struct supervisor_worker *worker);
/* Frames up to `seq` are safe. */
void supervisor_ack(struct supervisor_worker *worker, uint64_t seq);

#endif
