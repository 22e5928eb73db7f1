/* A running run saves and gives its devices back, then waits again, at the front of its priority.
 * Loop thread. */
#ifndef DAEMON_RUN_YIELD_H
#define DAEMON_RUN_YIELD_H

#include "daemon/run.h"

/* `preempts`: for another run, and counted. `text` says for what, to people. The same ladder as for
 * a pause: a worker that does not save in time is killed, and goes on from its newest checkpoint.
 * A run that is ending already is left as it is. */
IJ_MUST_USE enum ij_status run_yield(struct run *run, bool preempts, const char *text,
                                     struct ij_err *reterr_err);

#endif
