/* See live_feed.h. */
#include "daemon/live_feed.h"

#include <math.h>

#include "base/clock.h"
#include "daemon/daemon.h"

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* When the next may be told. One that was told late does not make the next one late as well. */
static int64_t told_at(int64_t before_ms, int64_t now_ms)
{
    return now_ms - before_ms < 2 * LIVE_FEED_MS ? before_ms + LIVE_FEED_MS : now_ms;
}

static void tell_metrics(struct run *run, struct run_stream *stream, int64_t now_ms)
{
    json_t *values = json_array();
    for (uint32_t i = 0; i < stream->count; i++)
        json_array_append_new(values, number_or_null((double)stream->last[i]));
    json_t *body = json_pack(
        "{s:o, s:s, s:I, s:O, s:o}", "run", json_sprintf("r%lld", (long long)run->row.id), "stream",
        stream->name, "step", (json_int_t)stream->step, "keys", stream->keys, "values", values);
    event_bus_publish(run->daemon->bus, 0, run->row.id, "metric.frame", body);
    json_decref(body);
    stream->told_ms = told_at(stream->told_ms, now_ms);
    stream->untold = false;
}

static void tell_progress(struct run *run, int64_t now_ms)
{
    json_object_set_new(run->untold_progress, "run", json_sprintf("r%lld", (long long)run->row.id));
    event_bus_publish(run->daemon->bus, 0, run->row.id, "run.progress", run->untold_progress);
    json_decref(run->untold_progress);
    run->untold_progress = NULL;
    run->progress_told_ms = told_at(run->progress_told_ms, now_ms);
}

/* What is due at now_ms; `all`: what waits, due or not. */
static void tell_due(struct run *run, int64_t now_ms, bool all)
{
    for (size_t i = 0; i < run->stream_count; i++) {
        struct run_stream *stream = &run->streams[i];
        if (stream->untold && (all || now_ms - stream->told_ms >= LIVE_FEED_MS))
            tell_metrics(run, stream, now_ms);
    }
    if (run->untold_progress && (all || now_ms - run->progress_told_ms >= LIVE_FEED_MS))
        tell_progress(run, now_ms);
}

void live_feed_metrics(struct run *run, struct run_stream *stream)
{
    int64_t now_ms = clock_monotonic_ms();
    stream->untold = true;
    if (now_ms - stream->told_ms >= LIVE_FEED_MS)
        tell_metrics(run, stream, now_ms);
}

void live_feed_progress(struct run *run, json_t *message)
{
    json_decref(run->untold_progress);
    run->untold_progress = json_incref(message);
    tell_due(run, clock_monotonic_ms(), false);
}

void live_feed_flush(struct daemon *daemon)
{
    int64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < daemon->run_count; i++)
        tell_due(daemon->runs[i], now_ms, false);
}

void live_feed_end(struct run *run)
{
    tell_due(run, clock_monotonic_ms(), true);
}
