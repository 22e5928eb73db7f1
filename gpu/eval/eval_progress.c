/* See eval_progress.h. */
#include "gpu/eval/eval_progress.h"

#include <math.h>

#include "base/clock.h"

#define REPORT_EVERY_MS 500

void eval_progress_init(struct eval_progress *progress, const struct engine_sink *sink,
                        uint64_t total)
{
    *progress =
        (struct eval_progress){.sink = sink, .total = total, .start_ms = clock_monotonic_ms()};
}

static enum ij_status report(struct eval_progress *progress, const char *phase, int64_t now_ms)
{
    double elapsed_s = (double)(now_ms - progress->start_ms) / 1000;
    double rate = elapsed_s > 0 ? (double)progress->done / elapsed_s : 0;
    uint64_t left = progress->total > progress->done ? progress->total - progress->done : 0;
    const struct engine_progress text = {.step = progress->done < progress->total ? progress->done
                                                                                  : progress->total,
                                         .steps = progress->total,
                                         .images_per_s = rate,
                                         .eta_s = rate > 0 ? (double)left / rate : (double)NAN,
                                         .phase = phase};
    return progress->sink->progress(progress->sink->user, &text);
}

enum ij_status eval_progress_add(struct eval_progress *progress, uint64_t units, const char *phase,
                                 struct ij_err *reterr_err)
{
    const struct engine_sink *sink = progress->sink;
    int64_t now_ms = clock_monotonic_ms();
    progress->done += units;
    if (sink && sink->poll) {
        enum engine_command command = sink->poll(sink->user);
        if (command == ENGINE_STOP || command == ENGINE_ABORT)
            return IJ_ERR(reterr_err, IJ_STOPPED, "stopped on request");
    }
    if (!sink || !sink->progress || now_ms - progress->reported_ms < REPORT_EVERY_MS)
        return IJ_OK;
    progress->reported_ms = now_ms;
    enum ij_status status = report(progress, phase, now_ms);
    return status == IJ_OK ? IJ_OK
                           : IJ_ERR(reterr_err, status, "the host refused a progress report");
}
