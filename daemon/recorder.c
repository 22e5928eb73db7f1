/* See recorder.h. */
#include "daemon/recorder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/seed_bug.h"
#include "daemon/daemon.h"
#include "daemon/live_feed.h"
#include "daemon/record_event.h"
#include "daemon/run_health.h"
#include "store/metric_store.h"

#define LOG_MODULE "recorder"

/* ---- Commit and acknowledgement -------------------------------------------------------------- */

static void acknowledge(struct run *run)
{
    if (run->worker && run->seq_seen > run->seq_acked) {
        run->seq_acked = run->seq_seen;
        supervisor_ack(run->worker, run->seq_acked);
    }
}

void recorder_commit(struct daemon *daemon)
{
    struct ij_err err = IJ_ERR_INIT;
    (void)sd_event_source_set_enabled(daemon->commit, SD_EVENT_OFF);
    if (metric_store_pending(daemon->store) && metric_store_commit(daemon->store, &err) != IJ_OK) {
        daemon_storage_error(daemon, "metrics", &err);
        for (size_t i = 0; i < daemon->run_count; i++)
            if (daemon->runs[i]->worker && daemon->runs[i]->seq_seen > daemon->runs[i]->seq_acked)
                supervisor_kill(daemon->runs[i]->worker, RUN_MACHINE_STORAGE);
        return;
    }
    for (size_t i = 0; i < daemon->run_count; i++)
        acknowledge(daemon->runs[i]);
    if (store_maintain(daemon->store, &err) != IJ_OK) /* early and small: a long log holds up all */
        daemon_storage_error(daemon, "metrics", &err);
    live_feed_flush(daemon);
}

/* Something of `run` waits for the next commit: soon, or now if there is much. */
static void commit_soon(struct run *run)
{
    struct daemon *daemon = run->daemon;
    int enabled = SD_EVENT_OFF;
    if (SEED_BUG(EARLY_ACK))
        acknowledge(run);
    if (metric_store_pending(daemon->store) >= RECORDER_COMMIT_BYTES) {
        recorder_commit(daemon);
        return;
    }
    (void)sd_event_source_get_enabled(daemon->commit, &enabled);
    if (enabled != SD_EVENT_OFF)
        return;
    (void)sd_event_source_set_time_relative(daemon->commit, RECORDER_COMMIT_MS * 1000ull);
    (void)sd_event_source_set_enabled(daemon->commit, SD_EVENT_ONESHOT);
}

/* ---- Streams and metrics --------------------------------------------------------------------- */

void recorder_forget(struct run *run)
{
    json_decref(run->untold_progress);
    run->untold_progress = NULL;
    for (size_t i = 0; i < run->stream_count; i++) {
        mem_free(run->streams[i].name);
        mem_free(run->streams[i].last);
        json_decref(run->streams[i].keys);
    }
    mem_free(run->streams);
    run->streams = NULL;
    run->stream_count = 0;
    run->seq_seen = run->seq_acked = 0;
}

static struct run_stream *find_stream(struct run *run, uint32_t number)
{
    for (size_t i = 0; i < run->stream_count; i++)
        if (run->streams[i].number == number)
            return &run->streams[i];
    return NULL;
}

/* Pointers to the strings of `keys`; IJ_MALFORMED if it is not 1..WIRE_KEYS_MAX strings. */
static enum ij_status key_texts(const json_t *keys, const char *ret_texts[WIRE_KEYS_MAX],
                                struct ij_err *reterr_err)
{
    size_t count = json_array_size(keys);
    if (count < 1 || count > WIRE_KEYS_MAX)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a stream has 1 to %d keys", WIRE_KEYS_MAX);
    for (size_t i = 0; i < count; i++) {
        ret_texts[i] = json_string_value(json_array_get(keys, i));
        if (!ret_texts[i])
            return IJ_ERR(reterr_err, IJ_MALFORMED, "a stream's key is not text");
    }
    return IJ_OK;
}

static enum ij_status add_stream(struct run *run, const json_t *message, struct ij_err *reterr_err)
{
    const json_t *number = json_object_get(message, "stream");
    const char *name = json_string_value(json_object_get(message, "name"));
    json_t *keys = json_object_get(message, "keys");
    const char *texts[WIRE_KEYS_MAX];
    struct run_stream stream = {0};
    if (!json_is_integer(number) || json_integer_value(number) < 0 ||
        json_integer_value(number) > UINT32_MAX || !name ||
        find_stream(run, (uint32_t)json_integer_value(number)) ||
        run->stream_count == RECORDER_STREAMS_MAX)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a bad stream declaration");
    IJ_TRY(key_texts(keys, texts, reterr_err));
    stream.number = (uint32_t)json_integer_value(number);
    stream.count = (uint32_t)json_array_size(keys);
    IJ_TRY(metric_store_stream(run->daemon->store, run->row.id, run->attempt.n, name, texts,
                               stream.count, &stream.id, reterr_err));
    struct run_stream *grown = mem_grow(run->streams, run->stream_count + 1, sizeof(*run->streams));
    if (grown)
        run->streams = grown;
    stream.name = mem_strdup(name);
    stream.last = mem_array(float, stream.count);
    if (!grown || !stream.name || !stream.last) {
        mem_free(stream.name);
        mem_free(stream.last);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a stream");
    }
    stream.keys = json_incref(keys);
    run->streams[run->stream_count++] = stream;
    return IJ_OK;
}

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* The first training step of an attempt tells where it went on from: what older attempts recorded
 * beyond that did not happen. */
static enum ij_status supersede(struct run *run, const struct run_stream *stream, uint64_t step,
                                struct ij_err *reterr_err)
{
    if (run->superseded)
        return IJ_OK;
    uint64_t from = strcmp(stream->name, "train") == 0 && step > 0 ? step - 1 : step;
    run->attempt.from_step = from;
    IJ_TRY(attempt_row_update(run->daemon->store, &run->attempt, reterr_err));
    if (run->attempt.n > 1 && !SEED_BUG(KEEPS_SUPERSEDED))
        IJ_TRY(metric_store_supersede(run->daemon->store, run->row.id, run->attempt.n, from,
                                      reterr_err));
    run->superseded = true;
    return IJ_OK;
}

static enum ij_status on_metrics(struct run *run, const struct wire_frame *frame,
                                 enum run_machine_cause *ret_cause, struct ij_err *reterr_err)
{
    struct wire_metrics metrics;
    IJ_TRY(wire_metrics_decode(frame, &metrics, reterr_err));
    struct run_stream *stream = find_stream(run, metrics.stream);
    if (!stream || stream->count != metrics.count)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "metrics of a stream that was not declared so");
    *ret_cause = RUN_MACHINE_STORAGE;
    IJ_TRY(supersede(run, stream, metrics.step, reterr_err));
    IJ_TRY(metric_store_put(run->daemon->store, stream->id, metrics.step, metrics.ts_ms,
                            metrics.values, metrics.count, reterr_err));
    memcpy(stream->last, metrics.values, metrics.count * sizeof(float));
    stream->step = metrics.step;
    run->progress_dirty = true;
    live_feed_metrics(run, stream);
    if (strcmp(stream->name, "ssl") == 0)
        return run_health_check(run, metrics.step, reterr_err);
    return IJ_OK;
}

/* ---- Progress -------------------------------------------------------------------------------- */

static double real_or_nan(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static uint64_t count_of(const json_t *object, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(object, key));
    return value > 0 ? (uint64_t)value : 0;
}

static void on_progress(struct run *run, json_t *message)
{
    const char *phase = json_string_value(json_object_get(message, "phase"));
    uint64_t step = count_of(message, "step");
    bool resuming = step == 0 && phase && strcmp(phase, "loading") == 0;
    if (!resuming) /* where it goes on from is not known before the checkpoint is read */
        run->row.step = step;
    run->row.steps = count_of(message, "steps");
    run->row.epoch = real_or_nan(message, "epoch");
    run->row.images_per_s = real_or_nan(message, "images_per_s");
    run->row.eta_s = real_or_nan(message, "eta_s");
    snprintf(run->row.phase, sizeof(run->row.phase), "%s", phase ? phase : "");
    run->progress_dirty = true;
    live_feed_progress(run, message);
}

/* {"train/loss": 0.3, ...} of every stream; a key may bring its stream's name along. */
static char *last_values(const struct run *run)
{
    json_t *object = json_object();
    for (size_t s = 0; s < run->stream_count; s++)
        for (uint32_t i = 0; i < run->streams[s].count; i++) {
            const char *name = json_string_value(json_array_get(run->streams[s].keys, i));
            const char *stream = run->streams[s].name;
            size_t n = strlen(stream);
            bool named = strncmp(name, stream, n) == 0 && name[n] == '/';
            char key[192];
            snprintf(key, sizeof(key), "%s%s%s", named ? "" : stream, named ? "" : "/", name);
            json_object_set_new(object, key, number_or_null((double)run->streams[s].last[i]));
        }
    char *text = json_dumps(object, JSON_COMPACT), *copy = text ? mem_strdup(text) : NULL;
    free(text);
    json_decref(object);
    return copy;
}

enum ij_status recorder_save_progress(struct run *run, struct ij_err *reterr_err)
{
    if (!run->progress_dirty)
        return IJ_OK;
    if (run->stream_count) {
        char *text = last_values(run);
        if (text) {
            mem_free(run->row.last);
            run->row.last = text;
        }
    }
    IJ_TRY(run_row_update_progress(run->daemon->store, &run->row, clock_wall_ms(), reterr_err));
    run->progress_dirty = false;
    return IJ_OK;
}

/* ---- Messages -------------------------------------------------------------------------------- */

static enum ij_status on_json(struct run *run, const struct wire_frame *frame, json_t *message,
                              enum run_machine_cause *ret_cause, struct ij_err *reterr_err)
{
    switch (frame->type) {
    case WIRE_HELLO:
        *ret_cause = RUN_MACHINE_STORAGE;
        return record_event_hello(run, reterr_err);
    case WIRE_PROGRESS:
        on_progress(run, message);
        return IJ_OK;
    case WIRE_STREAM:
        return add_stream(run, message, reterr_err);
    case WIRE_CHECKPOINT:
        return record_event_checkpoint(run, message, ret_cause, reterr_err);
    case WIRE_RESULT:
        return record_event_result(run, message, ret_cause, reterr_err);
    case WIRE_WARNING:
        return record_event_warning(run, message, ret_cause, reterr_err);
    case WIRE_REWIND:
        return record_event_rewind(run, message, ret_cause, reterr_err);
    case WIRE_FINISHED:
        record_event_finished(run, message);
        return IJ_OK;
    default: /* BARRIER: only asks for the commit below */
        return IJ_OK;
    }
}

enum ij_status recorder_message(void *user, const struct wire_frame *frame,
                                enum run_machine_cause *ret_cause, struct ij_err *reterr_err)
{
    struct run *run = user;
    if (frame->type == WIRE_METRICS) {
        IJ_TRY(on_metrics(run, frame, ret_cause, reterr_err));
    } else {
        json_t *message = NULL;
        IJ_TRY(wire_json(frame, &message, reterr_err));
        enum ij_status status = on_json(run, frame, message, ret_cause, reterr_err);
        json_decref(message);
        IJ_TRY(status);
    }
    run->seq_seen = frame->seq;
    bool waited_for = frame->type == WIRE_BARRIER || frame->type == WIRE_CHECKPOINT ||
                      frame->type == WIRE_FINISHED;
    if (waited_for)
        recorder_commit(run->daemon);
    else
        commit_soon(run);
    return IJ_OK;
}
