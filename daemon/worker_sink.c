/* See worker_sink.h. */
#include "daemon/worker_sink.h"

#include <math.h>
#include <stdlib.h>

#define BARRIER_MS 30000

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static enum ij_status on_metrics(void *user, const char *stream, uint64_t step,
                                 const char *const *keys, const float *values, size_t count)
{
    return worker_link_metrics(user, stream, step, keys, values, count);
}

static enum ij_status on_progress(void *user, const struct engine_progress *progress)
{
    return worker_link_send(user, WIRE_PROGRESS,
                            json_pack("{s:s, s:I, s:I, s:o, s:o, s:o}", "phase", progress->phase,
                                      "step", (json_int_t)progress->step, "steps",
                                      (json_int_t)progress->steps, "epoch",
                                      number_or_null(progress->epoch), "images_per_s",
                                      number_or_null(progress->images_per_s), "eta_s",
                                      number_or_null(progress->eta_s)));
}

static enum ij_status on_warning(void *user, const char *code, const char *text)
{
    return worker_link_send(user, WIRE_WARNING,
                            json_pack("{s:s, s:s}", "code", code, "text", text));
}

/* A daemon that is there but slow does not stop training; one that is gone does. */
static enum ij_status on_barrier(void *user, uint64_t step)
{
    IJ_TRY(worker_link_send(user, WIRE_BARRIER, json_pack("{s:I}", "step", (json_int_t)step)));
    enum ij_status status = worker_link_drain(user, BARRIER_MS);
    if (status != IJ_TIMEOUT)
        return status;
    return on_warning(user, "metrics_late",
                      "the metrics before a checkpoint were not stored within 30 s");
}

/* Returns when the daemon has stored it: only then older ones may go. A slow daemon is waited for
 * as above. */
static enum ij_status on_checkpoint(void *user, const struct engine_checkpoint *checkpoint)
{
    IJ_TRY(worker_link_send(user, WIRE_CHECKPOINT,
                            json_pack("{s:s, s:I, s:o, s:I, s:s}", "path", checkpoint->path, "step",
                                      (json_int_t)checkpoint->step, "epoch",
                                      number_or_null(checkpoint->epoch), "bytes",
                                      (json_int_t)checkpoint->bytes, "hash", checkpoint->hash)));
    enum ij_status status = worker_link_drain(user, BARRIER_MS);
    return status == IJ_TIMEOUT ? IJ_OK : status;
}

static enum ij_status on_result(void *user, const char *name, const char *json)
{
    json_t *result = json_loads(json, 0, NULL);
    if (!result)
        return IJ_INTERNAL;
    return worker_link_send(user, WIRE_RESULT,
                            json_pack("{s:s, s:o}", "name", name, "result", result));
}

static enum ij_status on_rewind(void *user, const struct engine_rewind *rewind)
{
    return worker_link_send(user, WIRE_REWIND,
                            json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "why", rewind->why,
                                      "failed_step", (json_int_t)rewind->failed_step, "back_to",
                                      (json_int_t)rewind->back_to, "skip_first",
                                      (json_int_t)rewind->skip_first, "skip_count",
                                      (json_int_t)rewind->skip_count, "number",
                                      (json_int_t)rewind->number, "max", (json_int_t)rewind->max));
}

static enum engine_command on_poll(void *user)
{
    return worker_link_command(user);
}

struct engine_sink worker_sink_make(struct worker_link *link)
{
    return (struct engine_sink){.user = link,
                                .metrics = on_metrics,
                                .progress = on_progress,
                                .checkpoint_barrier = on_barrier,
                                .checkpoint = on_checkpoint,
                                .result = on_result,
                                .warning = on_warning,
                                .rewind = on_rewind,
                                .poll = on_poll};
}
