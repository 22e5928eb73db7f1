/*
 * Removes trees of files in a thread of its own: unlinking many gigabytes must not hold up the
 * loop.
 *
 * The loop submits what is doomed, and hears of each end in the loop thread, in the order of
 * submission. The queue is bounded. Nothing here is durable: what a stop or a crash leaves undone
 * must be seen again by who submitted it, at the next start. All functions: loop thread.
 */
#ifndef DAEMON_REAPER_H
#define DAEMON_REAPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/status.h"

#define REAPER_QUEUE_MAX 1024
#define REAPER_PATH_MAX  1152

enum reaper_kind { REAPER_CHECKPOINT, REAPER_RUN };

struct reaper_job {
    enum reaper_kind kind;
    int64_t id; /* of the checkpoint, of the run */
    char path[REAPER_PATH_MAX];
    /* What must succeed first, in the reaper's thread, or the tree stays; NULL: nothing. It may use
     * what follows. */
    enum ij_status (*guard)(const struct reaper_job *job, struct ij_err *reterr_err);
    char from[REAPER_PATH_MAX];    /* the tree's name before it is doomed */
    char witness[REAPER_PATH_MAX]; /* the checkpoint that must be whole for this one to go */
    int64_t witness_id;
};

/* `err` is NULL when all of it is gone. */
typedef void (*reaper_done)(void *user, const struct reaper_job *job, const struct ij_err *err);

struct reaper;

IJ_MUST_USE enum ij_status reaper_new(sd_event *event, reaper_done done, void *user,
                                      struct reaper **ret_reaper, struct ij_err *reterr_err);
/* Ends the thread after the tree that it is at; what waits is forgotten. NULL is fine. */
void reaper_free(struct reaper *reaper);
/* IJ_BUSY: REAPER_QUEUE_MAX trees wait already. A job that waits or is worked on is not taken
 * twice: IJ_OK. */
IJ_MUST_USE enum ij_status reaper_submit(struct reaper *reaper, const struct reaper_job *job,
                                         struct ij_err *reterr_err);
/* Trees that wait or are being removed. */
size_t reaper_waiting(struct reaper *reaper);

#endif
