/* PATCH: name, notes, tags and priority of a run, in any state. Loop thread. */
#ifndef DAEMON_RUN_PATCH_H
#define DAEMON_RUN_PATCH_H

#include "daemon/control.h"
#include "daemon/run.h"

/* Everything or nothing. IJ_CONFLICT: request->if_version is not the row's. */
IJ_MUST_USE enum ij_status run_patch(struct run *run, const struct control_request *request,
                                     struct control_reply *reply);

#endif
