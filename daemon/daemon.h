/*
 * The running daemon: what the loop thread owns. Nothing here is touched by another thread but
 * `control`, `bus`, `devices` and `condition`, made for it. Made by daemon_open, run by daemon_run,
 * both called by main.c; the files run*.c, queue.c and recorder.c work on it.
 */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/status.h"
#include "daemon/config.h"
#include "store/cordon_row.h"
#include "daemon/control.h"
#include "daemon/device.h"
#include "daemon/event_bus.h"
#include "store/store.h"

struct gpu_inventory;
struct reaper;
struct run;
struct backup;
struct condition;
struct tally;
struct webhook;

struct daemon {
    struct config config;
    sd_event *event;
    struct store *store; /* the writer */
    struct control *control;
    struct event_bus *bus;
    struct device_table *devices;
    struct condition *condition;
    struct tally *tally;
    struct backup *backup;
    struct gpu_inventory *inventory; /* NULL: GPUs are not looked for */
    struct gpu_sample *samples;      /* NULL likewise */
    struct webhook *webhook;
    struct run **runs; /* every live run, and ended ones whose worker is still being buried */
    size_t run_count, run_capacity;
    sd_event_source *schedule; /* defer: a scheduling pass is due */
    sd_event_source *tick;     /* once a second: progress rows, upkeep */
    sd_event_source *due;      /* the next back-off ends */
    sd_event_source *commit;   /* group commit of metrics */
    sd_event_source *erase;    /* a slice of a deleted run's metrics */
    struct reaper *reaper;     /* removes trees of files */
    int64_t *erased;           /* runs whose rows are gone and whose metrics are not */
    size_t erased_count;
    struct cordon_row drain; /* nothing is started, by order (drain.h); ts_ms 0: no */
    bool draining;           /* nothing is started any more: the daemon stops */
    bool storage_failed; /* a commit's outcome is unknown: stop, and recover by starting again */
    bool life_noted;     /* the file that says that a daemon runs is there */
    int64_t storage_retry_ms; /* monotonic: no state change is tried before; 0: all is well */
    int64_t maintained_ms;    /* monotonic: last store_maintain */
};

/* Opens the store, brings the rows of the last life in order and attaches the control queue. The
 * state directory must be locked by the caller. *daemon is filled; release with daemon_close in any
 * case. */
IJ_MUST_USE enum ij_status daemon_open(struct daemon *daemon, const struct config *config,
                                       struct ij_err *reterr_err);
/* Runs the loop until daemon_stop or a storage failure has emptied it. */
IJ_MUST_USE enum ij_status daemon_run(struct daemon *daemon, struct ij_err *reterr_err);
/* Starts nothing more and stops every worker: gracefully, or at once. The loop ends with the last.
 */
void daemon_stop(struct daemon *daemon, bool at_once);
void daemon_close(struct daemon *daemon);

/* "2 running, 5 queued" for people. */
void daemon_summary(const struct daemon *daemon, char *ret_text, size_t size);
/* A failed write to state.db: logs it, and for IJ_IO and IJ_CORRUPT begins the end of this life. */
void daemon_storage_error(struct daemon *daemon, const char *what, const struct ij_err *err);

#endif
