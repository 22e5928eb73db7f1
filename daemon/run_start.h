/* Starts a queued run: one more attempt. Loop thread. */
#ifndef DAEMON_RUN_START_H
#define DAEMON_RUN_START_H

#include "daemon/run.h"

/* queued or backoff -> starting, with a worker; or -> failed or backoff where that cannot be done.
 * Not IJ_OK only if the store could not take the change: then nothing has happened. */
IJ_MUST_USE enum ij_status run_start(struct run *run, struct ij_err *reterr_err);

#endif
