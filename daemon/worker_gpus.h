/* The probe of the GPUs, `ijepad-worker gpus [--watch]`: a line of JSON (gpu_report.h) per look. */
#ifndef DAEMON_WORKER_GPUS_H
#define DAEMON_WORKER_GPUS_H

#include "base/status.h"

/* Without --watch one look; with it one a second, and at once after a critical error, until stdout
 * is closed. A machine without GPU gives one line whose state is "absent", and IJ_OK. */
IJ_MUST_USE enum ij_status worker_gpus(int argc, char **argv, struct ij_err *reterr_err);

#endif
