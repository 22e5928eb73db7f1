/* See submit.h. */
#include "daemon/submit.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/text.h"
#include "daemon/data_roots.h"
#include "daemon/device.h"
#include "daemon/params.h"
#include "daemon/params_table.h"
#include "daemon/retention_policy.h"
#include "daemon/submit_memory.h"

/* One problem after another goes here; the first is also the function's own error. */
struct problems {
    json_t *errors; /* borrowed array or NULL */
    struct ij_err *err;
    enum ij_status status; /* of the first */
};

__attribute__((format(printf, 3, 4))) static void
problem(struct problems *problems, const char *pointer, const char *format, ...)
{
    char text[IJ_ERR_TEXT_MAX], place[IJ_ERR_FIELD_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    snprintf(place, sizeof(place), "%s", pointer);
    text_make_utf8(text); /* what they quote may have been cut within a character */
    text_make_utf8(place);
    if (problems->status == IJ_OK)
        problems->status = IJ_ERR_FIELD(problems->err, IJ_INVALID, place, "%s", text);
    if (problems->errors)
        json_array_append_new(problems->errors,
                              json_pack("{s:s, s:s}", "pointer", place, "detail", text));
}

bool submit_parse_id(const char *text, char prefix, int64_t *ret_id)
{
    uint64_t value;
    if (text[0] != prefix || text[1] == '0' || !text_to_u64(text + 1, &value) || value > INT64_MAX)
        return false;
    *ret_id = (int64_t)value;
    return true;
}

/* ---- Single keys ----------------------------------------------------------------------------- */

static void check_name(const json_t *body, struct submit_result *result, struct problems *problems)
{
    const json_t *value = json_object_get(body, "name");
    if (!value)
        return;
    const char *text = json_string_value(value);
    if (!text || json_string_length(value) != strlen(text) || !text_is_name(text))
        problem(problems, "/name",
                "name must be 1 to 64 letters, digits, '.', '_' or '-', not beginning with '.'");
    else
        snprintf(result->name, sizeof(result->name), "%s", text);
}

static void check_priority(const json_t *body, struct submit_result *result,
                           struct problems *problems)
{
    const json_t *value = json_object_get(body, "priority");
    if (!value)
        return;
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < -SUBMIT_PRIORITY_MAX || number > SUBMIT_PRIORITY_MAX)
        problem(problems, "/priority", "priority must be a whole number from %d to %d",
                -SUBMIT_PRIORITY_MAX, SUBMIT_PRIORITY_MAX);
    else
        result->priority = number;
}

static void check_tags(const json_t *body, struct problems *problems)
{
    const json_t *tags = json_object_get(body, "tags");
    if (!tags)
        return;
    if (!json_is_array(tags) || json_array_size(tags) > SUBMIT_TAGS_MAX) {
        problem(problems, "/tags", "tags must be an array of at most %d names", SUBMIT_TAGS_MAX);
        return;
    }
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const char *text = json_string_value(json_array_get(tags, i));
        char pointer[32];
        snprintf(pointer, sizeof(pointer), "/tags/%zu", i);
        if (!text || !text_is_name(text))
            problem(problems, pointer,
                    "a tag must be 1 to 64 letters, digits, '.', '_' or '-', not beginning with "
                    "'.'");
    }
}

static void check_notes(const json_t *body, struct problems *problems)
{
    const json_t *notes = json_object_get(body, "notes");
    if (notes && (!json_is_string(notes) || json_string_length(notes) > SUBMIT_NOTES_MAX ||
                  strlen(json_string_value(notes)) != json_string_length(notes)))
        problem(problems, "/notes", "notes must be text of at most %d bytes without NUL",
                SUBMIT_NOTES_MAX);
}

static void check_hold(const json_t *body, struct submit_result *result, struct problems *problems)
{
    const json_t *hold = json_object_get(body, "hold");
    if (hold && !json_is_boolean(hold))
        problem(problems, "/hold", "hold must be true or false");
    result->hold = json_is_true(hold);
}

/* A whole number from min to max, where it is given. */
static void check_count(const json_t *body, const char *key, int64_t min, int64_t max,
                        int64_t *value, struct problems *problems)
{
    const json_t *given = json_object_get(body, key);
    char pointer[64];
    snprintf(pointer, sizeof(pointer), "/%s", key);
    if (!given)
        return;
    if (!json_is_integer(given) || json_integer_value(given) < min ||
        json_integer_value(given) > max)
        problem(problems, pointer, "%s must be a whole number from %lld to %lld", key,
                (long long)min, (long long)max);
    else
        *value = json_integer_value(given);
}

/* `auto` is what the environment says, else a GPU where there is one; the worker is told which
 * (run_start.c). */
static bool runs_on_gpu(const struct engine_spec *spec, const struct submit_lookup *lookup)
{
    const char *automatic = getenv("IJEPAD_DEVICE");
    if (spec->device != ENGINE_DEVICE_AUTO)
        return spec->device == ENGINE_DEVICE_CUDA;
    if (automatic && (strcmp(automatic, "cuda") == 0 || strcmp(automatic, "host") == 0))
        return strcmp(automatic, "cuda") == 0;
    return lookup && lookup->devices && device_table_has_usable_gpu(lookup->devices);
}

static void check_devices(const json_t *body, struct submit_result *result,
                          struct problems *problems)
{
    const json_t *preemptible = json_object_get(body, "preemptible");
    result->gpus = 1;
    check_count(body, "gpus", 1, SUBMIT_GPUS_MAX, &result->gpus, problems);
    check_count(body, "gpu_memory_bytes", 0, SUBMIT_MEMORY_MAX, &result->gpu_memory_bytes,
                problems);
    if (preemptible && !json_is_boolean(preemptible))
        problem(problems, "/preemptible", "preemptible must be true or false");
    result->preemptible = json_is_true(preemptible);
}

/* The engine names members ("data.path"), people know keys ("dataset"). */
static void member_pointer(enum engine_kind kind, const char *member,
                           char ret_pointer[IJ_ERR_FIELD_MAX])
{
    const char *name = "dataset";
    for (size_t i = 0; i < params_row_count; i++)
        if ((params_rows[i].kinds & PARAM_KIND(kind)) && strcmp(params_rows[i].member, member) == 0)
            name = params_rows[i].name;
    snprintf(ret_pointer, IJ_ERR_FIELD_MAX, "/params/%s", name);
}

static void check_memory(const struct submit_lookup *lookup, struct submit_result *result,
                         struct problems *problems)
{
    struct submit_memory_problem found;
    char pointer[IJ_ERR_FIELD_MAX];
    if (!submit_memory_check(lookup, result, &found))
        return;
    member_pointer(result->kind, found.field, pointer);
    problem(problems, pointer, "%s", found.text);
}

/* What only params and devices together tell. */
static void check_placement(const struct submit_lookup *lookup, struct submit_result *result,
                            struct problems *problems)
{
    char reason[256];
    if (result->gpus > 1 && result->kind != ENGINE_PRETRAIN)
        problem(problems, "/gpus", "only pretrain runs on several devices");
    result->spec.ranks.count = (uint32_t)result->gpus;
    result->on_gpu = runs_on_gpu(&result->spec, lookup);
    if (!result->on_gpu || !lookup || !lookup->devices)
        return;
    if (device_table_lacks_gpu(lookup->devices, reason, sizeof(reason)))
        problem(problems, "/params/device", "there is no GPU here: %s", reason);
    else if (problems->status == IJ_OK)
        check_memory(lookup, result, problems);
}

/* ---- Dependencies ---------------------------------------------------------------------------- */

static bool parse_after(const json_t *item, struct submit_after *ret_after)
{
    *ret_after = (struct submit_after){0};
    const char *run = json_string_value(item), *on = "ok";
    if (json_is_object(item)) {
        const json_t *condition = json_object_get(item, "on");
        run = json_string_value(json_object_get(item, "run"));
        if (condition)
            on = json_string_value(condition);
        if (json_object_size(item) != 1u + (condition != NULL))
            return false;
    }
    if (!run || !on || !submit_parse_id(run, 'r', &ret_after->run))
        return false;
    ret_after->any = strcmp(on, "any") == 0;
    return ret_after->any || strcmp(on, "ok") == 0;
}

/* Adds what is new; the stricter of two conditions on one run holds. */
static bool add_after(struct submit_result *result, struct submit_after after)
{
    for (size_t i = 0; i < result->after_count; i++)
        if (result->after[i].run == after.run) {
            result->after[i].any &= after.any;
            return true;
        }
    if (result->after_count == SUBMIT_AFTER_MAX)
        return false;
    result->after[result->after_count++] = after;
    return true;
}

static void check_after(const json_t *body, const struct submit_lookup *lookup,
                        struct submit_result *result, struct problems *problems)
{
    const json_t *list = json_object_get(body, "after");
    if (!list)
        return;
    if (!json_is_array(list) || json_array_size(list) > SUBMIT_AFTER_MAX) {
        problem(problems, "/after", "after must be an array of at most %d runs", SUBMIT_AFTER_MAX);
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct submit_after after;
        char pointer[32];
        snprintf(pointer, sizeof(pointer), "/after/%zu", i);
        if (!parse_after(json_array_get(list, i), &after))
            problem(problems, pointer,
                    "expected \"r1\" or {\"run\": \"r1\", \"on\": \"ok\" or \"any\"}");
        else if (lookup && lookup->run_exists && !lookup->run_exists(lookup->user, after.run))
            problem(problems, pointer, "there is no run r%lld", (long long)after.run);
        else
            (void)add_after(result, after);
    }
}

/* A run or a checkpoint, which the store knows. */
static bool names_row(const struct param_row *row, const char *text)
{
    int64_t id;
    return (strcmp(row->name, "checkpoint") == 0 || strcmp(row->name, "init_from") == 0) &&
           (submit_parse_id(text, 'r', &id) || submit_parse_id(text, 'c', &id));
}

/* Every text among the parameters names files. False: one lies where none may, so that no file is
 * to be looked at. */
static bool check_roots(const struct submit_lookup *lookup, const struct submit_result *result,
                        struct problems *problems)
{
    bool inside = true;
    const char *roots = lookup && lookup->data_roots ? lookup->data_roots : "";
    for (size_t i = 0; i < params_row_count; i++) {
        const struct param_row *row = &params_rows[i];
        const char *text = (const char *)&result->spec + row->offset;
        char pointer[IJ_ERR_FIELD_MAX];
        struct ij_err err = IJ_ERR_INIT;
        if (row->type != PARAM_TEXT || !(row->kinds & PARAM_KIND(result->kind)) ||
            names_row(row, text) || data_roots_check(roots, text, row->member, &err) == IJ_OK)
            continue;
        snprintf(pointer, sizeof(pointer), "/params/%s", row->name);
        problem(problems, pointer, "%s", err.text);
        inside = false;
    }
    return inside;
}

static bool holds_checkpoint(const char *directory)
{
    char path[ENGINE_PATH_MAX + 16];
    struct stat info;
    snprintf(path, sizeof(path), "%s/state.json", directory);
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

/* "checkpoint" or "init_from": "r42" also means to wait for run 42. `look`: files may be looked at.
 */
static void check_checkpoint(const struct submit_lookup *lookup, struct submit_result *result,
                             const char *text, const char *pointer, bool look,
                             struct problems *problems)
{
    int64_t id;
    if (submit_parse_id(text, 'r', &id)) {
        if (lookup && lookup->run_exists && !lookup->run_exists(lookup->user, id))
            problem(problems, pointer, "there is no run r%lld", (long long)id);
        else if (!add_after(result, (struct submit_after){.run = id, .any = true}))
            problem(problems, pointer, "with r%lld the run waits for more than %d runs",
                    (long long)id, SUBMIT_AFTER_MAX);
    } else if (submit_parse_id(text, 'c', &id)) {
        if (lookup && lookup->checkpoint_exists && !lookup->checkpoint_exists(lookup->user, id))
            problem(problems, pointer, "there is no checkpoint c%lld", (long long)id);
    } else if (text[0] && text[0] != '/') {
        problem(problems, pointer,
                "must be a run (\"r7\"), a checkpoint (\"c12\") or an absolute path");
    } else if (look && text[0] && !holds_checkpoint(text)) {
        problem(problems, pointer, "%.300s is no checkpoint: it holds no state.json", text);
    }
}

/* ---- The whole ------------------------------------------------------------------------------- */

static const char *const known_keys[] = {
    "kind",  "name", "params", "priority",         "after",       "tags",
    "notes", "hold", "gpus",   "gpu_memory_bytes", "preemptible", "retention"};

static void check_keys(const json_t *body, struct problems *problems)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)body, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < COUNT_OF(known_keys); i++)
            known |= strcmp(key, known_keys[i]) == 0;
        if (known)
            continue;
        const char *nearest = text_nearest(key, known_keys, COUNT_OF(known_keys));
        char pointer[IJ_ERR_FIELD_MAX];
        snprintf(pointer, sizeof(pointer), "/%.100s", key);
        problem(problems, pointer, "unknown key \"%.100s\"%s%s%s", key,
                nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
    }
}

static bool check_kind(const json_t *body, struct submit_result *result, struct problems *problems)
{
    const json_t *value = json_object_get(body, "kind");
    const char *name = json_string_value(value);
    if (name && params_kind_from_name(name, &result->kind))
        return true;
    const char *names[ENGINE_KIND_COUNT];
    char list[256] = "";
    for (int i = 0; i < ENGINE_KIND_COUNT; i++) {
        names[i] = params_kind_name((enum engine_kind)i);
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", names[i]);
    }
    const char *nearest = name ? text_nearest(name, names, ENGINE_KIND_COUNT) : NULL;
    problem(problems, "/kind", "kind must be one of %s%s%s%s", list,
            nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
    return false;
}

/* False: no file is to be looked at. */
static bool check_params(const json_t *body, const struct submit_lookup *lookup,
                         struct submit_result *result, struct problems *problems)
{
    bool inside = true;
    const json_t *params = json_object_get(body, "params");
    json_t *empty = json_object();
    if (params && !json_is_object(params)) {
        problem(problems, "/params", "params must be an object");
    } else {
        struct ij_err err = IJ_ERR_INIT;
        enum ij_status status = params_from_json(result->kind, params ? params : empty, "/params",
                                                 &result->spec, problems->errors, &err);
        if (status != IJ_OK && problems->status == IJ_OK) {
            problems->status = status;
            if (problems->err)
                *problems->err = err;
        }
        inside = check_roots(lookup, result, problems);
        if (status == IJ_OK && inside && engine_check_data(&result->spec, &err) != IJ_OK) {
            char pointer[IJ_ERR_FIELD_MAX];
            member_pointer(result->kind, err.field, pointer);
            problem(problems, pointer, "%s", err.text);
        }
    }
    json_decref(empty);
    return inside;
}

/* Completed by the defaults, so that what is stored does not change with them. */
static void check_retention(const json_t *body, struct submit_result *result,
                            struct problems *problems)
{
    const json_t *given = json_object_get(body, "retention");
    struct retention_policy policy =
        retention_policy_default(result->spec.monitor.keep_checkpoints);
    struct ij_err err = IJ_ERR_INIT;
    if (!given)
        return;
    if (retention_policy_parse(given, &policy, &err) != IJ_OK) {
        problem(problems, err.field, "%s", err.text);
        return;
    }
    result->retention = retention_policy_text(&policy);
    if (!result->retention)
        problem(problems, "/retention", "no memory for the policy");
}

static json_t *after_json(const struct submit_result *result)
{
    json_t *list = json_array();
    for (size_t i = 0; i < result->after_count; i++)
        json_array_append_new(list,
                              json_pack("{s:o, s:s}", "run",
                                        json_sprintf("r%lld", (long long)result->after[i].run),
                                        "on", result->after[i].any ? "any" : "ok"));
    return list;
}

static enum ij_status resolve(const json_t *body, struct submit_result *result,
                              struct ij_err *reterr_err)
{
    json_t *tags = json_object_get(body, "tags"), *notes = json_object_get(body, "notes");
    result->resolved = json_pack(
        "{s:s, s:s, s:o, s:I, s:o, s:o, s:s, s:b, s:I, s:I, s:b}", "kind",
        params_kind_name(result->kind), "name", result->name, "params",
        params_to_json(result->kind, &result->spec), "priority", (json_int_t)result->priority,
        "after", after_json(result), "tags", tags ? json_incref(tags) : json_array(), "notes",
        notes ? json_string_value(notes) : "", "hold", result->hold, "gpus",
        (json_int_t)result->gpus, "gpu_memory_bytes", (json_int_t)result->gpu_memory_bytes,
        "preemptible", result->preemptible);
    if (result->retention)
        json_object_set_new(result->resolved, "retention", json_loads(result->retention, 0, NULL));
    if (!result->resolved) {
        submit_result_done(result);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the submission");
    }
    return IJ_OK;
}

enum ij_status submit_check(const json_t *body, const struct submit_lookup *lookup,
                            struct submit_result *ret_result, json_t *errors,
                            struct ij_err *reterr_err)
{
    struct problems problems = {.errors = errors, .err = reterr_err};
    mem_auto struct submit_result *result = mem_new(struct submit_result);
    if (!result)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the submission");
    if (!json_is_object(body)) {
        problem(&problems, "", "a submission is a JSON object");
        return problems.status;
    }
    check_keys(body, &problems);
    bool kind_known = check_kind(body, result, &problems);
    if (kind_known)
        snprintf(result->name, sizeof(result->name), "%s", params_kind_name(result->kind));
    check_name(body, result, &problems);
    check_priority(body, result, &problems);
    check_tags(body, &problems);
    check_notes(body, &problems);
    check_hold(body, result, &problems);
    check_devices(body, result, &problems);
    check_after(body, lookup, result, &problems);
    bool look = kind_known && check_params(body, lookup, result, &problems);
    if (kind_known)
        check_placement(lookup, result, &problems);
    check_checkpoint(lookup, result, result->spec.eval.checkpoint, "/params/checkpoint", look,
                     &problems);
    check_checkpoint(lookup, result, result->spec.init_from, "/params/init_from", look, &problems);
    check_retention(body, result, &problems);
    if (problems.status != IJ_OK) {
        submit_result_done(result);
        return problems.status;
    }
    IJ_TRY(resolve(body, result, reterr_err));
    *ret_result = *result;
    return IJ_OK;
}

void submit_result_done(struct submit_result *result)
{
    json_decref(result->resolved);
    mem_free(result->retention);
    result->resolved = NULL;
    result->retention = NULL;
}
