/* Training's reports. See train_sink.h. */
#include "gpu/train/train_sink.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define PROGRESS_EVERY_NS 500000000

static enum ij_status refused(enum ij_status status, const char *what, struct ij_err *reterr_err)
{
    if (status == IJ_OK)
        return IJ_OK;
    return IJ_ERR(reterr_err, status, "the host refused %s", what);
}

static enum ij_status watch_data(struct train_sink *sink, const struct train_sink_step *s,
                                 struct ij_err *reterr_err)
{
    char text[192];
    sink->watched_s += s->seconds;
    sink->waited_s += s->data_wait_s;
    if (sink->wait_told || sink->watched_s < TRAIN_SINK_WATCH_S)
        return IJ_OK;
    double share = sink->waited_s / sink->watched_s;
    sink->watched_s = sink->waited_s = 0;
    if (share <= TRAIN_SINK_WAIT_SHARE)
        return IJ_OK;
    sink->wait_told = true;
    snprintf(text, sizeof text,
             "%.0f %% of the time is spent waiting for images: raise loader_threads, or put the "
             "data on a faster disk",
             100 * share);
    return train_sink_warning(sink, "data_wait", text, reterr_err);
}

static enum ij_status send_step(struct train_sink *sink, const struct train_sink_step *s,
                                struct ij_err *reterr_err)
{
    static const char *const keys[] = {"loss",           "lr",           "weight_decay",
                                       "ema_momentum",   "grad_norm",    "grad_norm_first",
                                       "grad_norm_last", "cosine",       "context_patches",
                                       "target_patches", "images_per_s", "data_wait_s"};
    double rate = (double)sink->images_per_step / fmax(s->seconds, 1e-9);
    const float values[] = {
        (float)s->loss,           (float)s->lr,        (float)s->weight_decay,
        (float)s->ema_momentum,   (float)s->grad_norm, (float)s->grad_norm_first,
        (float)s->grad_norm_last, (float)s->cosine,    (float)s->context_patches,
        (float)s->target_patches, (float)rate,         (float)s->data_wait_s};
    _Static_assert(COUNT_OF(keys) == COUNT_OF(values), "a value for each key");
    if (!sink->sink->metrics)
        return IJ_OK;
    return refused(
        sink->sink->metrics(sink->sink->user, "train", s->step, keys, values, COUNT_OF(keys)),
        "metrics", reterr_err);
}

enum ij_status train_sink_step(struct train_sink *sink, const struct train_sink_step *step,
                               struct ij_err *reterr_err)
{
    IJ_TRY(send_step(sink, step, reterr_err));
    return watch_data(sink, step, reterr_err);
}

/* Steps per second over the ring; NaN before the second report. */
static double rate(const struct train_sink *sink)
{
    size_t held = sink->marks < TRAIN_SINK_WINDOW ? sink->marks : TRAIN_SINK_WINDOW;
    if (held < 2)
        return NAN;
    size_t newest = (sink->marks - 1) % TRAIN_SINK_WINDOW;
    size_t oldest = (sink->marks - held) % TRAIN_SINK_WINDOW;
    double seconds = (double)(sink->ring[newest].ns - sink->ring[oldest].ns) / 1e9;
    double steps = (double)(sink->ring[newest].step - sink->ring[oldest].step);
    return seconds > 0 && steps > 0 ? steps / seconds : NAN;
}

enum ij_status train_sink_progress(struct train_sink *sink, uint64_t step, const char *phase,
                                   bool now, bool *ret_reported, struct ij_err *reterr_err)
{
    int64_t ns = clock_monotonic_ns();
    bool due = now || sink->marks == 0 || ns - sink->reported_ns >= PROGRESS_EVERY_NS;
    if (ret_reported)
        *ret_reported = due;
    if (!due)
        return IJ_OK;
    sink->reported_ns = ns;
    if (strcmp(phase, "loading") != 0) { /* a resume then jumps to its step: that is no speed */
        sink->ring[sink->marks % TRAIN_SINK_WINDOW].ns = ns;
        sink->ring[sink->marks++ % TRAIN_SINK_WINDOW].step = step;
    }
    double per_s = rate(sink);
    struct engine_progress progress = {
        .step = step,
        .steps = sink->steps,
        .epoch = (double)step / (double)sink->steps_per_epoch,
        .images_per_s = isnan(per_s) ? 0 : per_s * (double)sink->images_per_step,
        .eta_s = step < sink->steps ? (double)(sink->steps - step) / per_s : 0,
        .phase = phase,
    };
    if (!sink->sink->progress)
        return IJ_OK;
    return refused(sink->sink->progress(sink->sink->user, &progress), "progress", reterr_err);
}

enum ij_status train_sink_warning(struct train_sink *sink, const char *code, const char *text,
                                  struct ij_err *reterr_err)
{
    if (!sink->sink->warning)
        return IJ_OK;
    return refused(sink->sink->warning(sink->sink->user, code, text), "a warning", reterr_err);
}

enum ij_status train_sink_rewind(struct train_sink *sink, const struct engine_rewind *rewind,
                                 struct ij_err *reterr_err)
{
    if (!sink->sink->rewind)
        return IJ_OK;
    return refused(sink->sink->rewind(sink->sink->user, rewind), "a rewind", reterr_err);
}

enum engine_command train_sink_poll(struct train_sink *sink)
{
    return sink->sink->poll ? sink->sink->poll(sink->sink->user) : ENGINE_CONTINUE;
}
