/* Draining: for maintenance, nothing new is started on any device until an operator says so; what
 * runs goes on, what is submitted waits. Survives restarts, as a row of the cordons with a name
 * that no device has. Loop thread. */
#ifndef DAEMON_DRAIN_H
#define DAEMON_DRAIN_H

#include "daemon/control.h"
#include "daemon/daemon.h"
#include "store/cordon_row.h"

/* At the start: takes the machine's row out of the `*count` rows, if it is there. */
void drain_load(struct daemon *daemon, struct cordon_row *rows, size_t *count);
/* DRAIN, UNDRAIN. Asking for what is already so is fine. */
IJ_MUST_USE enum ij_status drain_handle(struct daemon *daemon,
                                        const struct control_request *request,
                                        struct control_reply *reply);

#endif
