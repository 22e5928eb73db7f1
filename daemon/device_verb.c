/* See device_verb.h. */
#include "daemon/device_verb.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/audit.h"
#include "daemon/queue.h"
#include "daemon/run_yield.h"
#include "store/audit_row.h"
#include "store/event_row.h"

#define LOG_MODULE "device"

static json_t *state_json(const struct device *device)
{
    char run[24] = "";
    if (device->run)
        snprintf(run, sizeof(run), "r%lld", (long long)device->run);
    return json_pack("{s:s, s:s, s:s, s:o, s:b, s:s, s:s}", "gpu", device->id, "kind",
                     device_kind_name(device->kind), "state",
                     device_state_name(device_state_of(device)), "run",
                     device->run ? json_string(run) : json_null(), "cordoned",
                     device->cordon.ts_ms != 0, "by", device->cordon.actor, "reason",
                     device->trouble[0] ? device->trouble : device->cordon.reason);
}

void device_verb_publish(struct daemon *daemon, const struct device *device, int64_t event_id)
{
    json_t *body = state_json(device);
    if (body)
        event_bus_publish(daemon->bus, event_id, 0, "gpu.state", body);
    json_decref(body);
}

/* ---- Changes --------------------------------------------------------------------------------- */

static enum ij_status append_event(struct daemon *daemon, const struct device *device,
                                   int64_t *ret_id, struct ij_err *reterr_err)
{
    json_t *body = state_json(device);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an event");
    struct event_row row = {.ts_ms = clock_wall_ms(), .body = text};
    snprintf(row.type, sizeof(row.type), "gpu.state");
    enum ij_status status = event_row_append(daemon->store, &row, reterr_err);
    free(text);
    *ret_id = row.id;
    return status;
}

static enum ij_status append_audit(struct daemon *daemon, const struct control_request *request,
                                   const struct device *device, struct ij_err *reterr_err)
{
    if (request)
        return audit_request(daemon->store, request, 0, reterr_err);
    struct audit_row row = {.ts_ms = clock_wall_ms(), .actor = "daemon", .action = "gpu.cordon"};
    snprintf(row.target, sizeof(row.target), "%.64s", device->id);
    return audit_row_append(daemon->store, &row, reterr_err);
}

/* Row, event and audit in one transaction; `fresh` is the device as it will be. */
static enum ij_status write_change(struct daemon *daemon, const struct control_request *request,
                                   const struct device *fresh, int64_t *ret_event,
                                   struct ij_err *reterr_err)
{
    IJ_TRY(fresh->cordon.ts_ms ? cordon_row_put(daemon->store, &fresh->cordon, reterr_err)
                               : cordon_row_delete(daemon->store, fresh->id, reterr_err));
    IJ_TRY(append_event(daemon, fresh, ret_event, reterr_err));
    return append_audit(daemon, request, fresh, reterr_err);
}

/* `cordon` NULL: no longer. */
static enum ij_status change(struct daemon *daemon, const struct control_request *request,
                             size_t place, const struct cordon_row *cordon,
                             struct ij_err *reterr_err)
{
    struct device fresh = *device_table_at(daemon->devices, place);
    int64_t event_id = 0;
    fresh.cordon = cordon ? *cordon : (struct cordon_row){.ts_ms = 0};
    IJ_TRY(store_begin(daemon->store, reterr_err));
    enum ij_status status = write_change(daemon, request, &fresh, &event_id, reterr_err);
    if (status == IJ_OK)
        status = store_commit(daemon->store, reterr_err);
    if (status != IJ_OK) {
        store_rollback(daemon->store);
        return status;
    }
    device_table_cordon(daemon->devices, place, cordon);
    device_verb_publish(daemon, &fresh, event_id);
    const struct log_about about = {.message = LOG_MESSAGE_GPU_CORDON, .gpu = fresh.id};
    if (cordon)
        log_about(LOG_LEVEL_NOTICE, LOG_MODULE, &about, "%s is cordoned by %s: %s", fresh.id,
                  cordon->actor, cordon->reason);
    else
        log_about(LOG_LEVEL_NOTICE, LOG_MODULE, &about, "%s is in use again", fresh.id);
    queue_schedule(daemon);
    return IJ_OK;
}

enum ij_status device_verb_fault(struct daemon *daemon, size_t place, const char *reason,
                                 struct ij_err *reterr_err)
{
    struct cordon_row row = {.actor = "daemon", .ts_ms = clock_wall_ms()};
    snprintf(row.device, sizeof(row.device), "%s", device_table_at(daemon->devices, place)->id);
    snprintf(row.reason, sizeof(row.reason), "%s", reason);
    return change(daemon, NULL, place, &row, reterr_err);
}

/* The run on it saves and goes elsewhere. */
static enum ij_status evict(struct daemon *daemon, size_t place, struct ij_err *reterr_err)
{
    const struct device *device = device_table_at(daemon->devices, place);
    struct run *run = device->run ? queue_find(daemon, device->run) : NULL;
    char text[160];
    snprintf(text, sizeof(text), "%.100s is taken out of use", device->id);
    return run ? run_yield(run, false, text, reterr_err) : IJ_OK;
}

/* ---- Verbs ----------------------------------------------------------------------------------- */

static enum ij_status parse_reason(const json_t *body, const char **ret_reason,
                                   struct ij_err *reterr_err)
{
    const json_t *value = json_object_get(body, "reason");
    const char *text = json_string_value(value);
    if (!text || !text[0] || strlen(text) > CORDON_ROW_REASON_MAX ||
        strlen(text) != json_string_length(value))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/reason",
                            "reason must say why, in 1 to %d bytes", CORDON_ROW_REASON_MAX);
    *ret_reason = text;
    return IJ_OK;
}

enum ij_status device_verb_handle(struct daemon *daemon, const struct control_request *request,
                                  struct control_reply *reply)
{
    const char *id = json_string_value(json_object_get(request->body, "gpu")), *reason = NULL;
    struct cordon_row row = {.ts_ms = clock_wall_ms()};
    size_t place;
    if (!id || !device_table_find(daemon->devices, id, &place))
        return IJ_ERR(&reply->err, IJ_NOT_FOUND, "there is no device \"%.100s\"", id ? id : "");
    if (request->verb == CONTROL_UNCORDON) {
        if (!device_table_at(daemon->devices, place)->cordon.ts_ms)
            return IJ_OK;
        return change(daemon, request, place, NULL, &reply->err);
    }
    IJ_TRY(parse_reason(request->body, &reason, &reply->err));
    snprintf(row.device, sizeof(row.device), "%s", id);
    snprintf(row.actor, sizeof(row.actor), "%s", request->actor);
    snprintf(row.reason, sizeof(row.reason), "%s", reason);
    IJ_TRY(change(daemon, request, place, &row, &reply->err));
    if (json_is_true(json_object_get(request->body, "evict")))
        return evict(daemon, place, &reply->err);
    return IJ_OK;
}
