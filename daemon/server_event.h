/* Events that are about no run: what happened to the server itself. Loop thread. */
#ifndef DAEMON_SERVER_EVENT_H
#define DAEMON_SERVER_EVENT_H

#include "daemon/daemon.h"

/* Stores and publishes; takes `body`. Not inside a transaction. */
IJ_MUST_USE enum ij_status server_event_put(struct daemon *daemon, const char *type, json_t *body,
                                            struct ij_err *reterr_err);

#endif
