/* What people ask of the daemon: control_handler, verb by verb. Loop thread. */
#ifndef DAEMON_RUN_VERB_H
#define DAEMON_RUN_VERB_H

#include "daemon/control.h"

/* `user` is the struct daemon. */
void run_verb_handle(void *user, const struct control_request *request,
                     struct control_reply *ret_reply);

#endif
