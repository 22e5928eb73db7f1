/* SUBMIT: a checked body becomes a queued run, once per idempotency key. Loop thread. */
#ifndef DAEMON_RUN_SUBMIT_H
#define DAEMON_RUN_SUBMIT_H

#include "daemon/control.h"
#include "daemon/daemon.h"

IJ_MUST_USE enum ij_status run_submit(struct daemon *daemon, const struct control_request *request,
                                      struct control_reply *reply);

/* A sweep and all its runs, or nothing. The reply's run is the sweep's number. Errors point into
 * the first run that is wrong. */
IJ_MUST_USE enum ij_status run_submit_sweep(struct daemon *daemon,
                                            const struct control_request *request,
                                            struct control_reply *reply);

#endif
