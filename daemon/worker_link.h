/*
 * The worker's end of the socket to the daemon (daemon/wire.h).
 *
 * Any thread may send; a thread of its own receives. When the daemon is gone every call gives
 * IJ_STOPPED, worker_link_command gives ENGINE_ABORT, and a process that is still there
 * WORKER_LINK_ORPHAN_MS later is ended: nothing may go on that nobody watches.
 */
#ifndef DAEMON_WORKER_LINK_H
#define DAEMON_WORKER_LINK_H

#include <jansson.h>

#include "base/status.h"
#include "daemon/wire.h"
#include "gpu/engine.h"

#define WORKER_LINK_ORPHAN_MS 5000

struct worker_link;

/* Takes `fd`, says hello and waits for the SPEC message, a new reference in *ret_spec. */
IJ_MUST_USE enum ij_status worker_link_open(int fd, struct worker_link **ret_link,
                                            json_t **ret_spec, struct ij_err *reterr_err);
void worker_link_close(struct worker_link *link); /* NULL is fine */

/* Sends one JSON frame; releases `object`. Waits while too much is unacknowledged. */
IJ_MUST_USE enum ij_status worker_link_send(struct worker_link *link, enum wire_type type,
                                            json_t *object);
/* Sends one frame of metrics, and before the first of its kind the stream's declaration. */
IJ_MUST_USE enum ij_status worker_link_metrics(struct worker_link *link, const char *stream,
                                               uint64_t step, const char *const *keys,
                                               const float *values, size_t count);
/* Until everything sent so far is acknowledged. IJ_TIMEOUT after `timeout_ms`. */
IJ_MUST_USE enum ij_status worker_link_drain(struct worker_link *link, int64_t timeout_ms);
/* What the daemon asks for; ENGINE_CHECKPOINT_NOW is given once. */
enum engine_command worker_link_command(struct worker_link *link);

#endif
