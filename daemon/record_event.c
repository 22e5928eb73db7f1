/* See record_event.h. */
#include "daemon/record_event.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/seed_bug.h"
#include "daemon/daemon.h"
#include "daemon/retention.h"
#include "store/checkpoint_row.h"
#include "store/result_row.h"

#define LOG_MODULE "record_event"

static const char *text_of(const json_t *message, const char *key)
{
    const char *text = json_string_value(json_object_get(message, key));
    return text ? text : "";
}

static bool step_of(const json_t *message, uint64_t *ret_step)
{
    const json_t *value = json_object_get(message, "step");
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *ret_step = (uint64_t)json_integer_value(value);
    return true;
}

enum ij_status record_event_hello(struct run *run, struct ij_err *reterr_err)
{
    run->attempt.pid = (int32_t)supervisor_pid(run->worker);
    if (run->row.state != RUN_STATE_STARTING)
        return IJ_OK;
    struct run_change change = run_change_of(run, RUN_STATE_RUNNING, "", "");
    change.attempt_ends = true; /* its pid */
    return run_set_state(run, &change, reterr_err);
}

/* Writes a row by `put` and the event about it in one transaction, then tells the listeners. */
static enum ij_status put_with_event(struct run *run,
                                     enum ij_status (*put)(struct store *store, void *row,
                                                           json_t *body, struct ij_err *reterr_err),
                                     void *row, const char *type, json_t *body,
                                     struct ij_err *reterr_err)
{
    struct store *store = run->daemon->store;
    int64_t event_id = 0;
    if (!body)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an event");
    json_object_set_new(body, "run", json_sprintf("r%lld", (long long)run->row.id));
    enum ij_status status = store_begin(store, reterr_err);
    if (status == IJ_OK && put)
        status = put(store, row, body, reterr_err);
    if (status == IJ_OK)
        status = run_append_event(run, type, body, &event_id, reterr_err);
    if (status == IJ_OK)
        status = store_commit(store, reterr_err);
    if (status == IJ_OK)
        event_bus_publish(run->daemon->bus, event_id, run->row.id, type, body);
    else
        store_rollback(store);
    json_decref(body);
    return status;
}

/* ---- Checkpoints ----------------------------------------------------------------------------- */

static enum ij_status put_checkpoint(struct store *store, void *row, json_t *body,
                                     struct ij_err *reterr_err)
{
    struct checkpoint_row *checkpoint = row;
    IJ_TRY(checkpoint_row_put(store, checkpoint, reterr_err));
    json_object_set_new(body, "checkpoint", json_sprintf("c%lld", (long long)checkpoint->id));
    return IJ_OK;
}

/* Only what lies below the run's own directory is taken for its checkpoint. */
static bool path_is_ours(const struct run *run, const char *path)
{
    char directory[CONFIG_PATH_MAX + 32];
    run_directory(run, directory, sizeof(directory));
    size_t n = strlen(directory);
    if (SEED_BUG(FOREIGN_PATH))
        return true;
    return strncmp(path, directory, n) == 0 && path[n] == '/' && !strstr(path, "/../") &&
           strlen(path) < sizeof(((struct checkpoint_row *)0)->path);
}

enum ij_status record_event_checkpoint(struct run *run, const json_t *message,
                                       enum run_machine_cause *ret_cause, struct ij_err *reterr_err)
{
    struct checkpoint_row row = {.run = run->row.id,
                                 .attempt = run->attempt.n,
                                 .state = CHECKPOINT_ROW_VALID,
                                 .score = NAN,
                                 .created_ms = clock_wall_ms()};
    const char *path = text_of(message, "path"), *hash = text_of(message, "hash");
    json_int_t bytes = json_integer_value(json_object_get(message, "bytes"));
    if (!step_of(message, &row.step) || !path_is_ours(run, path) ||
        strlen(hash) >= sizeof(row.hash) || bytes < 0)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a bad checkpoint message");
    snprintf(row.path, sizeof(row.path), "%s", path);
    snprintf(row.hash, sizeof(row.hash), "%s", hash);
    row.bytes = (uint64_t)bytes;
    row.epoch = json_number_value(json_object_get(message, "epoch"));
    *ret_cause = RUN_MACHINE_STORAGE;
    json_t *body = json_pack("{s:I, s:f, s:I, s:s}", "step", (json_int_t)row.step, "epoch",
                             isfinite(row.epoch) ? row.epoch : 0.0, "bytes", (json_int_t)bytes,
                             "hash", row.hash);
    IJ_TRY(put_with_event(run, put_checkpoint, &row, "run.checkpoint", body, reterr_err));
    if (row.step > run->attempt.from_step)
        run->newer_checkpoint = true;
    if (row.step > run->row.step)
        run->row.step = row.step;
    run->progress_dirty = true;
    retention_apply(run->daemon, &run->row, run->worker_keep);
    log_run(LOG_LEVEL_INFO, CHECKPOINT, run->row.id, "checkpoint c%lld of step %llu saved",
            (long long)row.id, (unsigned long long)row.step);
    return IJ_OK;
}

/* ---- Results, warnings, the end -------------------------------------------------------------- */

static enum ij_status put_result(struct store *store, void *row, json_t *body,
                                 struct ij_err *reterr_err)
{
    (void)body;
    return result_row_put(store, row, reterr_err);
}

enum ij_status record_event_result(struct run *run, const json_t *message,
                                   enum run_machine_cause *ret_cause, struct ij_err *reterr_err)
{
    const json_t *result = json_object_get(message, "result");
    const char *name = text_of(message, "name");
    struct result_row row = {
        .run = run->row.id, .step = run->row.step, .created_ms = clock_wall_ms()};
    if (!json_is_object(result) || !name[0] || strlen(name) >= sizeof(row.name))
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a bad result message");
    snprintf(row.name, sizeof(row.name), "%s", name);
    char *text = json_dumps(result, JSON_COMPACT);
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a result");
    row.json = text;
    *ret_cause = RUN_MACHINE_STORAGE;
    json_t *body =
        json_pack("{s:s, s:I, s:O}", "name", name, "step", (json_int_t)row.step, "result", result);
    enum ij_status status = put_with_event(run, put_result, &row, "run.result", body, reterr_err);
    free(text);
    return status;
}

enum ij_status record_event_warning(struct run *run, const json_t *message,
                                    enum run_machine_cause *ret_cause, struct ij_err *reterr_err)
{
    const char *code = text_of(message, "code"), *text = text_of(message, "text");
    if (!code[0])
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a warning without a code");
    log_run(LOG_LEVEL_WARN, RUN_WARNING, run->row.id, "%s: %s", code, text);
    *ret_cause = RUN_MACHINE_STORAGE;
    return put_with_event(run, NULL, NULL, "run.warning",
                          json_pack("{s:s, s:s}", "code", code, "text", text), reterr_err);
}

enum ij_status record_event_rewind(struct run *run, const json_t *message,
                                   enum run_machine_cause *ret_cause, struct ij_err *reterr_err)
{
    static const char *const keys[] = {"failed_step", "back_to", "skip_first",
                                       "skip_count",  "number",  "max"};
    const char *why = text_of(message, "why");
    json_t *body = json_pack("{s:s}", "why", why);
    bool whole = why[0] != '\0';
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        json_t *value = json_object_get(message, keys[i]);
        whole = whole && json_is_integer(value) && json_integer_value(value) >= 0;
        (void)json_object_set(body, keys[i], value);
    }
    if (!whole) {
        json_decref(body);
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a bad rewind message");
    }
    log_run(LOG_LEVEL_WARN, RUN_WARNING, run->row.id,
            "its loss broke (%s) at step %lld: it goes back to step %lld", why,
            (long long)json_integer_value(json_object_get(body, "failed_step")),
            (long long)json_integer_value(json_object_get(body, "back_to")));
    *ret_cause = RUN_MACHINE_STORAGE;
    IJ_TRY(put_with_event(run, NULL, NULL, "run.rewind", body, reterr_err));
    run->rewound = true;
    return IJ_OK;
}

static enum ij_status put_health(struct store *store, void *row, json_t *body,
                                 struct ij_err *reterr_err)
{
    (void)body;
    return run_row_update_progress(store, row, clock_wall_ms(), reterr_err);
}

enum ij_status record_event_health(struct run *run, json_t *body, struct ij_err *reterr_err)
{
    return put_with_event(run, put_health, &run->row, "run.health", body, reterr_err);
}

void record_event_finished(struct run *run, const json_t *message)
{
    const char *name = text_of(message, "status"), *field = text_of(message, "field");
    for (int i = 0; i < IJ_STATUS_COUNT; i++)
        if (strcmp(name, ij_status_name((enum ij_status)i)) == 0)
            run->finished = (enum ij_status)i;
    snprintf(run->finished_text, sizeof(run->finished_text), "%s%s%s", field, field[0] ? ": " : "",
             text_of(message, "text"));
}
