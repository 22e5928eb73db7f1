/* The worker's tools `export` and `import`. Each takes the arguments after its name and prints one
 * line of JSON. */
#ifndef DAEMON_WORKER_INTEROP_H
#define DAEMON_WORKER_INTEROP_H

#include "base/status.h"

/* --checkpoint DIR --format hf|timm|official [--encoder target|context] [--result FILE] OUT */
IJ_MUST_USE enum ij_status worker_interop_export(int argc, char **argv, struct ij_err *reterr_err);
/* FILE --out DIR [--heads N] [--normalization file|imagenet|half] */
IJ_MUST_USE enum ij_status worker_interop_import(int argc, char **argv, struct ij_err *reterr_err);

#endif
