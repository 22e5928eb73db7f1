/*
 * One live run in memory: its row, what it waits for, and its worker while it has one.
 *
 * run_set_state is the only writer of the state. It commits the change with its event (and the
 * attempt's row, and the audit row of whoever asked) in one transaction before it returns, so the
 * caller acts on what is durable. Loop thread only.
 */
#ifndef DAEMON_RUN_H
#define DAEMON_RUN_H

#include <jansson.h>
#include <stdint.h>

#include "base/status.h"
#include "daemon/control.h"
#include "daemon/run_machine.h"
#include "daemon/scheduler.h"
#include "daemon/supervisor.h"
#include "store/attempt_row.h"
#include "store/run_row.h"

struct daemon;

/* A stream that the worker has declared. */
struct run_stream {
    uint32_t number; /* the worker's */
    uint32_t count;  /* keys */
    int64_t id;      /* the store's */
    char *name;
    json_t *keys;
    float *last; /* newest values, of `step` */
    uint64_t step;
    int64_t told_ms; /* monotonic; live_feed.h */
    bool untold;
};

struct run {
    struct daemon *daemon;
    struct run_row
        row; /* as committed, but for the progress block, which runs ahead of the store */
    struct scheduler_dependency *dependencies;
    size_t dependency_count;
    int32_t sweep_max; /* runs of its sweep that may have a worker at a time; 0: no sweep */

    /* While it has a worker. */
    struct supervisor_worker *worker;
    struct attempt_row attempt;
    struct run_stream *streams;
    size_t stream_count;
    uint64_t seq_seen, seq_acked;
    int64_t backoff_end_ms;  /* monotonic; 0: the back-off began in an earlier life */
    uint32_t worker_keep;    /* checkpoints that the worker leaves alone; 0: it has none to keep */
    json_t *untold_progress; /* live_feed.h */
    int64_t progress_told_ms;
    bool superseded;       /* frames of older attempts beyond the resume step are marked */
    bool newer_checkpoint; /* this attempt saved one */
    bool progress_dirty;   /* the progress block is newer than the store */
    uint32_t xid;          /* of the run's own doing, told about its GPU; 0: none */
    bool rewound;          /* its worker has noted that the next start goes back */
    bool stop_wanted;      /* a stop is being forwarded to the worker (for repeated verbs) */
    /* What its last message said; status IJ_STATUS_COUNT: nothing. */
    enum ij_status finished;
    char finished_text[IJ_ERR_TEXT_MAX];

    /* The worker has ended but the store could not take it yet. */
    bool end_waiting;
    struct supervisor_end end;
};

/* Takes over *row's contents and leaves it zeroed; reads the dependencies. */
IJ_MUST_USE enum ij_status run_new(struct daemon *daemon, struct run_row *row, struct run **ret_run,
                                   struct ij_err *reterr_err);
void run_free(struct run *run); /* NULL is fine; kills a worker */

struct run_change {
    enum run_state to;
    enum run_state_desire desired;
    const char *reason, *text; /* machine code and sentence */
    int64_t deadline_ms;       /* wall clock; 0: none */
    int64_t not_before_ms;
    uint32_t failures, stuck; /* as the row's same_failures and failures */
    const char *failure;      /* fingerprint */
    double queue_pos;
    bool attempt_begins, attempt_ends;     /* write run->attempt in the same transaction */
    bool queues_anew;                      /* its age begins now */
    bool preempts;                         /* counts as a preemption */
    bool from_scratch;                     /* the next attempt begins a history of its own */
    const struct control_request *request; /* whose audit row goes along, or NULL */
};

/* A change that leaves everything but the state and its reason as it is. */
struct run_change run_change_of(const struct run *run, enum run_state to, const char *reason,
                                const char *text);
IJ_MUST_USE enum ij_status run_set_state(struct run *run, const struct run_change *change,
                                         struct ij_err *reterr_err);
/* Writes only why it waits and until when (0: unknown), inside a transaction of the caller's, who
 * stores *ret_row into run->row once that is committed. */
IJ_MUST_USE enum ij_status run_write_pending(const struct run *run,
                                             const struct scheduler_decision *decision,
                                             int64_t start_eta_ms, struct run_row *ret_row,
                                             struct ij_err *reterr_err);
/* JSON array like ["r1","r2"] of the runs that a decision names, as the row holds it. */
void run_blocking_text(const struct scheduler_decision *decision, char *ret_text, size_t size);

/* Checks what must hold in the run's state; aborts where it does not. */
void run_assert_state(const struct run *run);

/* Appends an event inside the caller's transaction, or in its own; *ret_id for run_publish. */
IJ_MUST_USE enum ij_status run_append_event(struct run *run, const char *type, json_t *body,
                                            int64_t *ret_id, struct ij_err *reterr_err);
/* {"run", "state", "reason", ...}: body of run.state events. New reference. */
json_t *run_state_json(const struct run *run);

/* The run's directory, <state_dir>/runs/r<id>. */
void run_directory(const struct run *run, char *ret_path, size_t size);
/* Where its worker works: that directory, or a folder in it for a history that was begun anew, so
 * that the checkpoints of the one before are neither found nor touched. */
void run_work_directory(const struct run *run, char *ret_path, size_t size);

#endif
