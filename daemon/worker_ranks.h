/*
 * The other ranks of a run: processes that the first worker starts, in its own process group, so
 * that whoever ends the worker ends them all.
 *
 * The worker that the daemon started is rank 0. It hands the others the run's description and a
 * memfd through which they work together (gpu/comm); they have no link to the daemon, what they
 * print goes to the worker's own output. A rank is killed by the kernel when rank 0 ends.
 */
#ifndef DAEMON_WORKER_RANKS_H
#define DAEMON_WORKER_RANKS_H

#include <jansson.h>

#include "base/status.h"
#include "gpu/engine.h"

#define WORKER_RANKS_SPEC_FD   3 /* of a rank: its description */
#define WORKER_RANKS_SHARED_FD 4 /* the memory of all */

/* Starts ranks 1 .. spec->ranks.count - 1 and fills spec->ranks for rank 0, and shares out
 * spec->threads. `object` is what spec was read from. One rank: nothing to do. Call it from the
 * thread that lives longest, before the worker is confined. */
IJ_MUST_USE enum ij_status worker_ranks_start(struct engine_spec *spec, const json_t *object,
                                              struct ij_err *reterr_err);
/* After rank 0's end with `status`: waits a little for the others. Where one was killed by a signal
 * and the run failed for that, this process ends by the same signal: it was a crash of the run. */
void worker_ranks_end(const struct engine_spec *spec, enum ij_status status);

/* In a rank other than 0: what `rank` makes of the description. */
void worker_ranks_join(struct engine_spec *spec, uint32_t rank);
/* What such a rank tells: warnings to stderr. */
struct engine_sink worker_ranks_sink(struct engine_spec *spec);

#endif
