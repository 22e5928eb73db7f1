/* The devices: list, one, cordon, uncordon. Read from the daemon's table, not from the store. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/context.h"
#include "api/handlers.h"
#include "api/json_in.h"
#include "api/show.h"
#include "base/mem.h"
#include "daemon/control.h"
#include "daemon/device.h"
#include "daemon/gpu_fault.h"

/* ---- Forms ---- */

static json_t *show_cordon(const struct cordon_row *cordon)
{
    if (!cordon->ts_ms)
        return json_null();
    return json_pack("{s:s, s:s, s:o}", "by", cordon->actor, "reason", cordon->reason, "since",
                     show_time(cordon->ts_ms));
}

static json_t *show_foreign(const struct device *device)
{
    json_t *list = json_array();
    if (device->foreign_pid)
        (void)json_array_append_new(list, json_pack("{s:i, s:o}", "pid", (int)device->foreign_pid,
                                                    "command", show_text(device->foreign_command)));
    return list;
}

static json_t *show_xids(const struct device *device)
{
    json_t *list = json_array();
    for (size_t i = 0; i < DEVICE_XIDS_MAX && device->xids[i].count; i++) {
        const struct device_xid *one = &device->xids[i];
        const struct gpu_fault *fault = gpu_fault_find(one->xid);
        (void)json_array_append_new(
            list, json_pack("{s:I, s:s, s:s, s:I, s:o}", "xid", (json_int_t)one->xid, "class",
                            gpu_fault_class_name(fault->class), "text", fault->text, "count",
                            (json_int_t)one->count, "last", show_time(one->last_ms)));
    }
    return list;
}

static json_t *show_compute(const struct device *device)
{
    if (device->kind != DEVICE_GPU)
        return json_null();
    return json_sprintf("%d.%d", device->gpu.compute_major, device->gpu.compute_minor);
}

static void put_figures(json_t *object, const struct device *device)
{
    bool is_gpu = device->kind == DEVICE_GPU;
    const struct gpu_report_gpu *gpu = &device->gpu;
    json_int_t used = (json_int_t)gpu->memory_used_bytes;
    bool counts = is_gpu && gpu->ecc_uncorrected >= 0;
    (void)json_object_set_new(object, "memory_used_bytes",
                              is_gpu ? json_integer(used) : json_null());
    const struct {
        const char *key;
        double value;
    } figures[] = {{"utilization_ratio", gpu->utilization},
                   {"temperature_c", gpu->temperature_c},
                   {"power_w", gpu->power_w},
                   {"power_limit_w", gpu->power_limit_w},
                   {"clock_mhz", gpu->clock_mhz}};
    for (size_t i = 0; i < COUNT_OF(figures); i++)
        (void)json_object_set_new(object, figures[i].key,
                                  show_number(is_gpu ? figures[i].value : (double)NAN));
    (void)json_object_set_new(object, "compute", show_compute(device));
    (void)json_object_set_new(object, "ecc_uncorrected",
                              counts ? json_integer(gpu->ecc_uncorrected) : json_null());
}

static json_t *show_device(const struct device *device)
{
    bool usable =
        device->present && !device->unknown && !device->cordon.ts_ms && !device->trouble[0];
    json_t *object = json_pack(
        "{s:s, s:s, s:i, s:s, s:s, s:o, s:b, s:o, s:o, s:o, s:o, s:I}", "id", device->id, "kind",
        device_kind_name(device->kind), "index", (int)device->index, "name", device->name, "state",
        device_state_name(device_state_of(device)), "run", show_id('r', device->run), "schedulable",
        usable, "cordon", show_cordon(&device->cordon), "trouble", show_text(device->trouble),
        "foreign", show_foreign(device), "xids", show_xids(device), "memory_bytes",
        (json_int_t)device->memory_bytes);
    if (object)
        put_figures(object, device);
    return object;
}

/* ---- Questions ---- */

enum ij_status serve_gpus_list(struct request *request, struct reply *reply,
                               struct ij_err *reterr_err)
{
    mem_auto struct device *devices = NULL;
    size_t count = 0;
    if (request->api->devices)
        IJ_TRY(device_table_copy(request->api->devices, &devices, &count, reterr_err));
    json_t *items = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(items, show_device(&devices[i]));
    return serve_runs_items(reply, items, reterr_err);
}

enum ij_status serve_gpus_show(struct request *request, struct reply *reply,
                               struct ij_err *reterr_err)
{
    mem_auto struct device *devices = NULL;
    const char *id = request->match.args[0];
    size_t count = 0;
    if (request->api->devices)
        IJ_TRY(device_table_copy(request->api->devices, &devices, &count, reterr_err));
    for (size_t i = 0; i < count; i++)
        if (strcmp(devices[i].id, id) == 0)
            return reply_take_json(reply, show_device(&devices[i]), reterr_err);
    return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no device \"%.100s\"", id);
}

/* ---- Changes ---- */

static enum ij_status call(struct request *request, enum control_verb verb, const char *reason,
                           bool evict, struct reply *reply, struct ij_err *reterr_err)
{
    struct control_reply answer;
    json_t *body = json_pack("{s:s, s:s*, s:b}", "gpu", request->match.args[0], "reason", reason,
                             "evict", evict);
    if (!body)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the command");
    struct control_request command = {.verb = verb, .body = body};
    enum ij_status status = serve_command_call(request, &command, &answer, reterr_err);
    json_decref(body);
    IJ_TRY(status);
    control_reply_done(&answer);
    return serve_gpus_show(request, reply, reterr_err);
}

static enum ij_status reason_of(const struct request *request, const char **ret_reason,
                                struct ij_err *reterr_err)
{
    const char *reason = NULL;
    IJ_TRY(json_in_text(request->json, "reason", CORDON_ROW_REASON_MAX, &reason, reterr_err));
    if (!reason || !reason[0])
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/reason",
                            "must say why the device is kept out of use");
    *ret_reason = reason;
    return IJ_OK;
}

enum ij_status serve_gpus_cordon(struct request *request, struct reply *reply,
                                 struct ij_err *reterr_err)
{
    static const char *const keys[] = {"reason", "evict"};
    const char *reason = NULL;
    bool evict = false;
    if (!request->json)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a body with \"reason\" is needed");
    IJ_TRY(json_in_known_keys(request->json, keys, COUNT_OF(keys), &request->problem, reterr_err));
    IJ_TRY(reason_of(request, &reason, reterr_err));
    IJ_TRY(json_in_bool(request->json, "evict", &evict, reterr_err));
    return call(request, CONTROL_CORDON, reason, evict, reply, reterr_err);
}

enum ij_status serve_gpus_uncordon(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    if (request->json)
        IJ_TRY(json_in_known_keys(request->json, NULL, 0, &request->problem, reterr_err));
    return call(request, CONTROL_UNCORDON, NULL, false, reply, reterr_err);
}

enum ij_status serve_gpus_patch(struct request *request, struct reply *reply,
                                struct ij_err *reterr_err)
{
    static const char *const keys[] = {"schedulable", "reason"};
    const char *reason = NULL;
    bool schedulable = false;
    if (!request->json)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a body with \"schedulable\" is needed");
    IJ_TRY(json_in_known_keys(request->json, keys, COUNT_OF(keys), &request->problem, reterr_err));
    if (!json_is_boolean(json_object_get(request->json, "schedulable")))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/schedulable", "must be true or false");
    IJ_TRY(json_in_bool(request->json, "schedulable", &schedulable, reterr_err));
    if (schedulable)
        return call(request, CONTROL_UNCORDON, NULL, false, reply, reterr_err);
    IJ_TRY(reason_of(request, &reason, reterr_err));
    return call(request, CONTROL_CORDON, reason, false, reply, reterr_err);
}
