/* Taking devices out of use and back: by people (cordon, uncordon) and by the daemon itself. Loop
 * thread. */
#ifndef DAEMON_DEVICE_VERB_H
#define DAEMON_DEVICE_VERB_H

#include "daemon/control.h"
#include "daemon/daemon.h"

/* CORDON, UNCORDON. IJ_NOT_FOUND: no such device. Asking for what is already so is fine. */
IJ_MUST_USE enum ij_status device_verb_handle(struct daemon *daemon,
                                              const struct control_request *request,
                                              struct control_reply *reply);
/* The daemon's own cordon, after a fault: stored, in the audit table and told. */
IJ_MUST_USE enum ij_status device_verb_fault(struct daemon *daemon, size_t place,
                                             const char *reason, struct ij_err *reterr_err);
/* Tells who listens that a device is not what it was. */
void device_verb_publish(struct daemon *daemon, const struct device *device, int64_t event_id);

#endif
