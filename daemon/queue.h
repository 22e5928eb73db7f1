/* The live runs in memory, and the scheduling pass over them. Loop thread. */
#ifndef DAEMON_QUEUE_H
#define DAEMON_QUEUE_H

#include "daemon/daemon.h"
#include "daemon/run.h"

IJ_MUST_USE enum ij_status queue_add(struct daemon *daemon, struct run *run,
                                     struct ij_err *reterr_err); /* takes the run on success */
void queue_remove(struct daemon *daemon, struct run *run);       /* hands it back to the caller */
struct run *queue_find(const struct daemon *daemon, int64_t id); /* NULL: not live */

/* A pass becomes due as soon as the loop is idle. */
void queue_schedule(struct daemon *daemon);
/* Starts what may start and records why the rest waits. */
void queue_pass(struct daemon *daemon);
/* A position before every live run of this priority. */
double queue_front(const struct daemon *daemon, int32_t priority);

#endif
