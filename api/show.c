/* See show.h. */
#include "api/show.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

json_t *show_id(char prefix, int64_t id)
{
    return id ? json_sprintf("%c%lld", prefix, (long long)id) : json_null();
}

json_t *show_time(int64_t wall_ms)
{
    if (wall_ms == 0)
        return json_null();
    char text[CLOCK_RFC3339_SIZE];
    clock_rfc3339(wall_ms, text);
    return json_string(text);
}

json_t *show_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *show_text(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

json_t *show_stored(const char *text)
{
    json_t *value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    return value ? value : json_null();
}

/* Adds a member and steals the value; NULL marks the object as failed. */
static void put(json_t **object, const char *key, json_t *value)
{
    if (!*object) {
        json_decref(value);
        return;
    }
    if (json_object_set_new(*object, key, value) != 0) {
        json_decref(*object);
        *object = NULL;
    }
}

static json_t *show_progress(const struct run_row *row)
{
    if (row->steps == 0)
        return json_null();
    double done = (double)row->step / (double)row->steps;
    return json_real(done > 1 ? 1 : done);
}

/* Why a run without a worker does not go on; null while it has one or after its end. */
static json_t *show_pending(const struct run_row *row)
{
    if (run_state_has_process(row->state) || run_state_is_terminal(row->state))
        return json_null();
    bool fresh = row->state == RUN_STATE_QUEUED && !row->reason[0];
    const char *code =
        row->state == RUN_STATE_QUEUED && !fresh ? row->reason : run_state_name(row->state);
    const char *text = row->reason_text[0] ? row->reason_text
                       : row->state == RUN_STATE_HELD
                           ? "held: it starts after a release"
                           : "queued; the scheduler has not looked at it yet";
    bool told = row->state == RUN_STATE_QUEUED && !fresh;
    return json_pack("{s:s, s:s, s:o, s:o}", "code", code, "text", text, "blocking_runs",
                     told ? show_stored(row->blocking) : json_array(), "eta",
                     show_time(row->start_eta_ms));
}

static void put_state(json_t **object, const struct run_row *row)
{
    put(object, "state", json_string(run_state_name(row->state)));
    put(object, "desired", json_string(run_state_desire_name(row->desired)));
    put(object, "reason", show_text(row->reason));
    put(object, "reason_text", show_text(row->reason_text));
    put(object, "deadline", show_time(row->deadline_ms));
    put(object, "not_before", show_time(row->not_before_ms));
    put(object, "pending", show_pending(row));
    put(object, "backend", show_text(row->backend));
    put(object, "device", show_text(row->device));
    put(object, "attempts", json_integer(row->attempts));
    put(object, "failures", json_integer(row->failures));
    put(object, "gpus", show_stored(row->gpus));
    put(object, "gpus_wanted", json_integer(row->slots));
    put(object, "gpu_memory_bytes", json_integer((json_int_t)row->gpu_memory_bytes));
    put(object, "preemptible", json_boolean(row->preemptible));
    put(object, "preemptions", json_integer(row->preemptions));
    put(object, "queued", show_time(row->queued_ms));
}

static void put_figures(json_t **object, const struct run_row *row)
{
    put(object, "phase", show_text(row->phase));
    put(object, "step", json_integer((json_int_t)row->step));
    put(object, "steps", row->steps ? json_integer((json_int_t)row->steps) : json_null());
    put(object, "progress", show_progress(row));
    put(object, "epoch", show_number(row->epoch));
    put(object, "images_per_s", show_number(row->images_per_s));
    put(object, "eta_s", show_number(row->eta_s));
    put(object, "last", show_stored(row->last));
    put(object, "health", show_stored(row->health));
}

json_t *show_run(const struct run_row *row)
{
    json_t *object = json_object();
    put(&object, "id", show_id('r', row->id));
    put(&object, "name", json_string(row->name));
    put(&object, "kind", json_string(row->kind));
    put_state(&object, row);
    put_figures(&object, row);
    put(&object, "user", json_string(row->user));
    put(&object, "parent", show_id('r', row->parent));
    put(&object, "sweep", show_id('s', row->sweep));
    put(&object, "priority", json_integer(row->priority));
    put(&object, "tags", show_stored(row->tags));
    put(&object, "notes", json_string(row->notes ? row->notes : ""));
    put(&object, "retention", show_stored(row->retention));
    put(&object, "dataset", show_text(row->dataset));
    put(&object, "created", show_time(row->created_ms));
    put(&object, "updated", show_time(row->updated_ms));
    put(&object, "started", show_time(row->started_ms));
    put(&object, "finished", show_time(row->finished_ms));
    return object;
}

static void add_difference(json_t *diff, const char *key, const json_t *there, const json_t *here)
{
    if (there && here && json_equal(there, here))
        return;
    (void)json_array_append_new(
        diff, json_pack("{s:s, s:O?, s:O?}", "key", key, "parent", there, "value", here));
}

/* Resolved parameters that differ; null where there is nothing to compare with. */
static json_t *show_difference(const struct run_row *row, const struct run_row *parent)
{
    if (!parent || strcmp(parent->kind, row->kind) != 0)
        return json_null();
    json_t *here = show_stored(row->resolved), *there = show_stored(parent->resolved);
    json_t *diff = json_array();
    const char *key;
    json_t *value;
    json_object_foreach(here, key, value)
    {
        add_difference(diff, key, json_object_get(there, key), value);
    }
    json_object_foreach(there, key, value)
    {
        if (!json_object_get(here, key))
            add_difference(diff, key, value, NULL);
    }
    json_decref(here);
    json_decref(there);
    return diff;
}

json_t *show_config(const struct run_row *row, const struct run_row *parent)
{
    json_t *object = json_object();
    put(&object, "id", show_id('r', row->id));
    put(&object, "kind", json_string(row->kind));
    put(&object, "submitted", show_stored(row->params));
    put(&object, "resolved", show_stored(row->resolved));
    put(&object, "build", show_text(row->build));
    put(&object, "parent", show_id('r', row->parent));
    put(&object, "diff", show_difference(row, parent));
    return object;
}

json_t *show_attempt(const struct attempt_row *row)
{
    json_t *object = json_object();
    put(&object, "n", json_integer(row->n));
    put(&object, "pid", row->pid ? json_integer(row->pid) : json_null());
    put(&object, "started", show_time(row->started_ms));
    put(&object, "ended", show_time(row->ended_ms));
    put(&object, "exit_code",
        row->exit_code >= 0 && row->ended_ms ? json_integer(row->exit_code) : json_null());
    put(&object, "signal", row->signal ? json_integer(row->signal) : json_null());
    put(&object, "cause", show_text(row->cause));
    put(&object, "text", show_text(row->text));
    put(&object, "from_step", json_integer((json_int_t)row->from_step));
    put(&object, "last_step", json_integer((json_int_t)row->last_step));
    put(&object, "device", show_text(row->device));
    put(&object, "gpus", show_stored(row->gpus));
    return object;
}

json_t *show_event(const struct event_row *row)
{
    json_t *object = json_object();
    put(&object, "id", json_integer(row->id));
    put(&object, "time", show_time(row->ts_ms));
    put(&object, "run", show_id('r', row->run));
    put(&object, "type", json_string(row->type));
    put(&object, "data", show_stored(row->body));
    return object;
}

json_t *show_result(const struct result_row *row)
{
    json_t *object = json_object();
    put(&object, "name", json_string(row->name));
    put(&object, "step", json_integer((json_int_t)row->step));
    put(&object, "created", show_time(row->created_ms));
    put(&object, "result", show_stored(row->json));
    return object;
}

json_t *show_checkpoint(const struct checkpoint_row *row)
{
    json_t *object = json_object();
    put(&object, "id", show_id('c', row->id));
    put(&object, "run", show_id('r', row->run));
    put(&object, "attempt", json_integer(row->attempt));
    put(&object, "step", json_integer((json_int_t)row->step));
    put(&object, "epoch", show_number(row->epoch));
    put(&object, "state", json_string(checkpoint_row_state_name(row->state)));
    put(&object, "size_bytes", json_integer((json_int_t)row->bytes));
    put(&object, "sha256", show_text(row->hash));
    put(&object, "path", json_string(row->path));
    put(&object, "pinned", json_boolean(row->pinned));
    put(&object, "score", show_number(row->score));
    put(&object, "created", show_time(row->created_ms));
    return object;
}

json_t *show_kept_for(unsigned reasons)
{
    static const char *const names[] = {"latest", "best", "epoch", "pinned"};
    json_t *array = json_array();
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (reasons & 1u << i)
            (void)json_array_append_new(array, json_string(names[i]));
    return array;
}

/* "train/loss"; a key that already begins with its stream's name stays as it is. */
static json_t *show_metric_key(const char *stream, const char *key)
{
    size_t size = strlen(stream);
    if (strncmp(key, stream, size) == 0 && key[size] == '/')
        return json_string(key);
    return json_sprintf("%s/%s", stream, key);
}

json_t *show_catalogue_entry(const struct metric_catalogue_entry *entry)
{
    json_t *object = json_object();
    put(&object, "key", show_metric_key(entry->stream, entry->key));
    put(&object, "count", json_integer((json_int_t)entry->count));
    put(&object, "nonfinite", json_integer((json_int_t)entry->nonfinite));
    put(&object, "first_step", json_integer((json_int_t)entry->first_step));
    put(&object, "last_step", json_integer((json_int_t)entry->last_step));
    put(&object, "min", show_number((double)entry->min));
    put(&object, "max", show_number((double)entry->max));
    put(&object, "last", show_number((double)entry->last));
    return object;
}

json_t *show_token(const struct token_row *row)
{
    json_t *object = json_object();
    put(&object, "id", json_string(row->id));
    put(&object, "user", json_string(row->user));
    put(&object, "role", json_string(token_row_role_name(row->role)));
    put(&object, "note", show_text(row->note));
    put(&object, "created", show_time(row->created_ms));
    put(&object, "expires", show_time(row->expires_ms));
    put(&object, "used", show_time(row->used_ms));
    put(&object, "revoked", show_time(row->revoked_ms));
    return object;
}

void show_etag(const struct run_row *row, char ret_text[48])
{
    (void)snprintf(ret_text, 48, "\"r%lld.%lld\"", (long long)row->id, (long long)row->ver);
}
