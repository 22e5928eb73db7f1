/* Commands on webhooks: make, switch, delete, test. Loop thread. */
#ifndef DAEMON_WEBHOOK_VERB_H
#define DAEMON_WEBHOOK_VERB_H

#include "daemon/daemon.h"

IJ_MUST_USE enum ij_status webhook_verb_handle(struct daemon *daemon,
                                               const struct control_request *request,
                                               struct control_reply *reply);

#endif
