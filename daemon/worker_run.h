/* `ijepad-worker run`: one run, for the daemon (--fd N) or by hand (--spec FILE). */
#ifndef DAEMON_WORKER_RUN_H
#define DAEMON_WORKER_RUN_H

#include "base/status.h"

/* The arguments after "run". */
IJ_MUST_USE enum ij_status worker_run(int argc, char **argv, struct ij_err *reterr_err);

#endif
