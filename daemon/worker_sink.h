/* The engine's sink over the link to the daemon. */
#ifndef DAEMON_WORKER_SINK_H
#define DAEMON_WORKER_SINK_H

#include "daemon/worker_link.h"
#include "gpu/engine.h"

struct engine_sink worker_sink_make(struct worker_link *link); /* borrows `link` */

#endif
