/*
 * A run's description as JSON, {"kind", "params", "directory"?, "resume"?, "gpus"?}, into an
 * engine_spec. "gpus" is how many ranks the run has, or the list of their devices;
 * "rank_timeout_s" how long they wait for one of them.
 */
#ifndef DAEMON_WORKER_SPEC_H
#define DAEMON_WORKER_SPEC_H

#include <jansson.h>

#include "base/status.h"
#include "gpu/engine.h"

/* "run" and "attempt" are allowed and ignored; any other key is an error that names the nearest. */
IJ_MUST_USE enum ij_status worker_spec_parse(const json_t *object, struct engine_spec *ret_spec,
                                             struct ij_err *reterr_err);
/* The same from a file of at most 1 MiB; *ret_object (NULL: not wanted) is a new reference to
 * it. */
IJ_MUST_USE enum ij_status worker_spec_load(const char *path, struct engine_spec *ret_spec,
                                            json_t **ret_object, struct ij_err *reterr_err);

#endif
