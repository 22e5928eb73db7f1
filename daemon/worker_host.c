/* See worker_host.h. */
#include "daemon/worker_host.h"

#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static volatile sig_atomic_t signals_seen; /* the handler's only word to the program */
static pthread_mutex_t stdout_lock = PTHREAD_MUTEX_INITIALIZER; /* keeps lines whole */

static void on_signal(int signal)
{
    (void)signal;
    if (signals_seen < 2)
        signals_seen++;
}

void worker_host_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

enum engine_command worker_host_signal_command(void)
{
    return signals_seen == 0 ? ENGINE_CONTINUE : signals_seen == 1 ? ENGINE_STOP : ENGINE_ABORT;
}

/* ---- JSON lines ------------------------------------------------------------------------------ */

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* Prints and releases `object`. */
static enum ij_status say(json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text)
        return IJ_NO_MEMORY;
    pthread_mutex_lock(&stdout_lock);
    bool ok = printf("%s\n", text) > 0 && fflush(stdout) == 0;
    pthread_mutex_unlock(&stdout_lock);
    free(text);
    return ok ? IJ_OK : IJ_IO;
}

static enum ij_status on_metrics(void *user, const char *stream, uint64_t step,
                                 const char *const *keys, const float *values, size_t count)
{
    (void)user;
    json_t *map = json_object();
    for (size_t i = 0; i < count; i++)
        json_object_set_new(map, keys[i], number_or_null((double)values[i]));
    return say(json_pack("{s:s, s:s, s:I, s:o}", "event", "metrics", "stream", stream, "step",
                         (json_int_t)step, "values", map));
}

static enum ij_status on_progress(void *user, const struct engine_progress *progress)
{
    (void)user;
    return say(json_pack("{s:s, s:s, s:I, s:I, s:o, s:o, s:o}", "event", "progress", "phase",
                         progress->phase, "step", (json_int_t)progress->step, "steps",
                         (json_int_t)progress->steps, "epoch", number_or_null(progress->epoch),
                         "images_per_s", number_or_null(progress->images_per_s), "eta_s",
                         number_or_null(progress->eta_s)));
}

static enum ij_status on_barrier(void *user, uint64_t step)
{
    (void)user;
    (void)step; /* lines already printed are as safe as stdout is */
    return IJ_OK;
}

static enum ij_status on_checkpoint(void *user, const struct engine_checkpoint *checkpoint)
{
    (void)user;
    return say(json_pack("{s:s, s:s, s:I, s:o, s:I, s:s}", "event", "checkpoint", "path",
                         checkpoint->path, "step", (json_int_t)checkpoint->step, "epoch",
                         number_or_null(checkpoint->epoch), "bytes", (json_int_t)checkpoint->bytes,
                         "hash", checkpoint->hash));
}

static enum ij_status on_result(void *user, const char *name, const char *json)
{
    (void)user;
    return say(json_pack("{s:s, s:s, s:o?}", "event", "result", "name", name, "result",
                         json_loads(json, 0, NULL)));
}

static enum ij_status on_warning(void *user, const char *code, const char *text)
{
    (void)user;
    return say(json_pack("{s:s, s:s, s:s}", "event", "warning", "code", code, "text", text));
}

static enum ij_status on_rewind(void *user, const struct engine_rewind *rewind)
{
    (void)user;
    return say(json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "event", "rewind", "why",
                         rewind->why, "failed_step", (json_int_t)rewind->failed_step, "back_to",
                         (json_int_t)rewind->back_to, "skip_first", (json_int_t)rewind->skip_first,
                         "skip_count", (json_int_t)rewind->skip_count, "number",
                         (json_int_t)rewind->number, "max", (json_int_t)rewind->max));
}

static enum engine_command on_poll(void *user)
{
    (void)user;
    return worker_host_signal_command();
}

struct engine_sink worker_host_stdout_sink(void)
{
    return (struct engine_sink){.metrics = on_metrics,
                                .progress = on_progress,
                                .checkpoint_barrier = on_barrier,
                                .checkpoint = on_checkpoint,
                                .result = on_result,
                                .warning = on_warning,
                                .rewind = on_rewind,
                                .poll = on_poll};
}
