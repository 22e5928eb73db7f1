/* What follows when a run's worker has ended. Loop thread. */
#ifndef DAEMON_RUN_END_H
#define DAEMON_RUN_END_H

#include "daemon/run.h"

/* supervisor_callbacks.ended: judges the end, commits the next state, buries the worker. Where the
 * store cannot take it, it is kept and tried again by run_end_retry. */
void run_end_of_worker(void *user, const struct supervisor_end *end);
/* supervisor_callbacks.unkillable: a warning of the run, and its GPUs are cordoned for good. */
void run_end_is_overdue(void *user);
/* A worker that could not even be started; the run is in "starting". */
void run_end_before_start(struct run *run, const struct ij_err *err);
/* Tries a waiting end again; true if nothing waits any more. */
bool run_end_retry(struct run *run);
/* Takes an ended run without a worker out of the queue and frees it later. */
void run_end_forget(struct run *run);

#endif
