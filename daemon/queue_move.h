/* MOVE: a waiting run takes another place in the queue. Loop thread. */
#ifndef DAEMON_QUEUE_MOVE_H
#define DAEMON_QUEUE_MOVE_H

#include "daemon/control.h"
#include "daemon/run.h"

/*
 * Body: one of {"top": true} (before every run of its priority), {"before": "r3"} and
 * {"after": "r3"}, which also take over the priority of r3. IJ_CONFLICT: it has a worker, is paused
 * or has ended, or the other one does not wait. The run's row and those that had to make room are
 * written in one transaction.
 */
IJ_MUST_USE enum ij_status queue_move(struct run *run, const struct control_request *request,
                                      struct control_reply *reply);

#endif
