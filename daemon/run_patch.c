/* See run_patch.h. */
#include "daemon/run_patch.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/audit.h"
#include "daemon/daemon.h"
#include "daemon/retention.h"
#include "daemon/submit.h"

static enum ij_status bad(struct control_reply *reply, const char *key, const char *detail)
{
    char pointer[IJ_ERR_FIELD_MAX];
    snprintf(pointer, sizeof(pointer), "/%.100s", key);
    if (!reply->errors)
        reply->errors = json_array();
    json_array_append_new(reply->errors,
                          json_pack("{s:s, s:s}", "pointer", pointer, "detail", detail));
    return IJ_ERR_FIELD(&reply->err, IJ_INVALID, pointer, "%s", detail);
}

static bool tags_are_fine(const json_t *tags)
{
    if (!json_is_array(tags) || json_array_size(tags) > SUBMIT_TAGS_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(tags); i++) {
        const char *text = json_string_value(json_array_get(tags, i));
        if (!text || !text_is_name(text))
            return false;
    }
    return true;
}

/* New texts that replace the row's once they are committed. */
struct patch {
    char *tags, *notes, *retention;
};

/* What is named replaces what was; the whole policy is stored. */
static enum ij_status apply_retention(const json_t *value, struct run_row *row, struct patch *patch,
                                      struct control_reply *reply)
{
    struct retention_policy policy = retention_policy_of(row);
    struct ij_err err = IJ_ERR_INIT;
    if (retention_policy_parse(value, &policy, &err) != IJ_OK)
        return bad(reply, err.field + 1, err.text);
    patch->retention = retention_policy_text(&policy);
    if (!patch->retention)
        return IJ_ERR(&reply->err, IJ_NO_MEMORY, "no memory for the change");
    row->retention = patch->retention;
    return IJ_OK;
}

static enum ij_status apply_one(const char *key, const json_t *value, struct run_row *row,
                                struct patch *patch, struct control_reply *reply)
{
    static const char *const keys[] = {"name", "notes", "tags", "priority", "retention"};
    const char *text = json_string_value(value);
    json_int_t number = json_integer_value(value);
    if (strcmp(key, "name") == 0) {
        if (!text || !text_is_name(text))
            return bad(reply, key, "name must be 1 to 64 letters, digits, '.', '_' or '-'");
        snprintf(row->name, sizeof(row->name), "%s", text);
    } else if (strcmp(key, "notes") == 0) {
        if (!text || json_string_length(value) > SUBMIT_NOTES_MAX ||
            strlen(text) != json_string_length(value))
            return bad(reply, key, "notes must be text of at most 4096 bytes without NUL");
        row->notes = patch->notes = mem_strdup(text);
    } else if (strcmp(key, "tags") == 0) {
        if (!tags_are_fine(value))
            return bad(reply, key, "tags must be an array of at most 16 names");
        char *dumped = json_dumps(value, JSON_COMPACT);
        row->tags = patch->tags = dumped ? mem_strdup(dumped) : NULL;
        free(dumped);
    } else if (strcmp(key, "retention") == 0) {
        IJ_TRY(apply_retention(value, row, patch, reply));
    } else if (strcmp(key, "priority") == 0) {
        if (!json_is_integer(value) || number < -SUBMIT_PRIORITY_MAX ||
            number > SUBMIT_PRIORITY_MAX)
            return bad(reply, key, "priority must be a whole number from -1000 to 1000");
        row->priority = (int32_t)number;
    } else {
        char detail[256];
        const char *nearest = text_nearest(key, keys, COUNT_OF(keys));
        snprintf(detail, sizeof(detail), "\"%.100s\" cannot be changed%s%s%s", key,
                 nearest ? "; did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
        return bad(reply, key, detail);
    }
    if ((patch->notes == NULL && row->notes == NULL) || (patch->tags == NULL && row->tags == NULL))
        return IJ_ERR(&reply->err, IJ_NO_MEMORY, "no memory for the change");
    return IJ_OK;
}

static enum ij_status commit_patch(struct run *run, const struct control_request *request,
                                   struct run_row *fresh, struct ij_err *reterr_err)
{
    struct store *store = run->daemon->store;
    int64_t event_id = 0;
    IJ_TRY(store_begin(store, reterr_err));
    json_t *body = json_pack(
        "{s:o, s:s, s:s, s:i}", "run", json_sprintf("r%lld", (long long)run->row.id), "name",
        fresh->name, "state", run_state_name(fresh->state), "priority", (int)fresh->priority);
    enum ij_status status = run_row_update_meta(store, fresh, clock_wall_ms(), reterr_err);
    if (status == IJ_OK)
        status = run_append_event(run, "run.changed", body, &event_id, reterr_err);
    if (status == IJ_OK)
        status = audit_request(store, request, run->row.id, reterr_err);
    if (status == IJ_OK)
        status = store_commit(store, reterr_err);
    if (status == IJ_OK)
        event_bus_publish(run->daemon->bus, event_id, run->row.id, "run.changed", body);
    else
        store_rollback(store);
    json_decref(body);
    return status;
}

enum ij_status run_patch(struct run *run, const struct control_request *request,
                         struct control_reply *reply)
{
    struct run_row fresh = run->row;
    struct patch patch = {0};
    const char *key;
    json_t *value;
    if (request->if_version && request->if_version != run->row.ver)
        return IJ_ERR_FIELD(&reply->err, IJ_CONFLICT, "If-Match",
                            "r%lld has changed: its version is %lld now", (long long)run->row.id,
                            (long long)run->row.ver);
    if (!json_is_object(request->body) || !json_object_size(request->body))
        return bad(reply, "", "expected an object with name, notes, tags, priority or retention");
    enum ij_status status = IJ_OK;
    json_object_foreach((json_t *)request->body, key, value)
    {
        status = apply_one(key, value, &fresh, &patch, reply);
        if (status != IJ_OK)
            break;
    }
    if (status == IJ_OK)
        status = commit_patch(run, request, &fresh, &reply->err);
    if (status != IJ_OK) {
        mem_free(patch.tags);
        mem_free(patch.notes);
        mem_free(patch.retention);
        return status;
    }
    if (patch.tags)
        mem_free(run->row.tags);
    if (patch.notes)
        mem_free(run->row.notes);
    if (patch.retention)
        mem_free(run->row.retention);
    run->row = fresh;
    if (patch.retention)
        retention_apply(run->daemon, &run->row, run->worker ? run->worker_keep : 0);
    return IJ_OK;
}
