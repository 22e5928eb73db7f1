/*
 * What training tells its host: metrics, progress, warnings; and what the host asks.
 *
 * Calls that the host does not provide are left out. A refusal by the host ends the run.
 */
#ifndef GPU_TRAIN_TRAIN_SINK_H
#define GPU_TRAIN_TRAIN_SINK_H

#include "gpu/engine.h"

#define TRAIN_SINK_WATCH_S    60.0
#define TRAIN_SINK_WAIT_SHARE 0.1

#define TRAIN_SINK_WINDOW 16 /* progress reports that the rate is measured over */

struct train_sink {
    const struct engine_sink *sink; /* borrowed */
    uint64_t steps, steps_per_epoch, images_per_step;
    double watched_s, waited_s; /* of steps, and of them for data, since data was last judged */
    bool wait_told;
    int64_t reported_ns; /* last progress */
    size_t marks;        /* reports so far; the last ones lie in the ring */
    struct {
        int64_t ns;
        uint64_t step;
    } ring[TRAIN_SINK_WINDOW];
};

/* What one step gave. */
struct train_sink_step {
    uint64_t step; /* from 1 */
    double loss, cosine, lr, weight_decay, ema_momentum;
    double grad_norm, grad_norm_first, grad_norm_last;
    double context_patches, target_patches; /* means over the micro-batches */
    double seconds, data_wait_s;
};

/* One frame on the stream "train". Once per attempt it is followed by the warning "data_wait",
 * where more than TRAIN_SINK_WAIT_SHARE of TRAIN_SINK_WATCH_S seconds of steps went by waiting
 * for data. */
IJ_MUST_USE enum ij_status train_sink_step(struct train_sink *sink,
                                           const struct train_sink_step *step,
                                           struct ij_err *reterr_err);
/* At most two reports a second unless `now`. *ret_reported may be NULL. */
IJ_MUST_USE enum ij_status train_sink_progress(struct train_sink *sink, uint64_t step,
                                               const char *phase, bool now, bool *ret_reported,
                                               struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status train_sink_warning(struct train_sink *sink, const char *code,
                                              const char *text, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status train_sink_rewind(struct train_sink *sink,
                                             const struct engine_rewind *rewind,
                                             struct ij_err *reterr_err);
enum engine_command train_sink_poll(struct train_sink *sink);

#endif
