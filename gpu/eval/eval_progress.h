/* Progress and stop requests of an evaluation: one counter of work units against a plan. */
#ifndef GPU_EVAL_EVAL_PROGRESS_H
#define GPU_EVAL_EVAL_PROGRESS_H

#include "gpu/engine.h"

struct eval_progress {
    const struct engine_sink *sink; /* borrowed; may be NULL */
    uint64_t done, total;           /* work units: about one image through the encoder */
    int64_t start_ms, reported_ms;
};

void eval_progress_init(struct eval_progress *progress, const struct engine_sink *sink,
                        uint64_t total);
/* Adds finished units, tells the host at most twice a second, and asks it: IJ_STOPPED where it
 * wants the run to end. */
IJ_MUST_USE enum ij_status eval_progress_add(struct eval_progress *progress, uint64_t units,
                                             const char *phase, struct ij_err *reterr_err);

#endif
