/* See device_watch.h. */
#include "daemon/device_watch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/dcgm_map.h"
#include "daemon/device_verb.h"
#include "daemon/gpu_fault.h"
#include "daemon/gpu_inventory.h"
#include "daemon/gpu_sample.h"
#include "daemon/queue.h"
#include "store/event_row.h"

#define LOG_MODULE "device_watch"

/* ---- Consequences ---------------------------------------------------------------------------- */

/* The GPU takes no new run, and the one on it goes on elsewhere from its checkpoint: it cannot be
 * relied on to save a new one. */
static void condemn(struct daemon *daemon, size_t place, const char *reason)
{
    const struct device *device = device_table_at(daemon->devices, place);
    struct run *run = device->run ? queue_find(daemon, device->run) : NULL;
    struct ij_err err = IJ_ERR_INIT;
    if (!device->cordon.ts_ms && device_verb_fault(daemon, place, reason, &err) != IJ_OK)
        daemon_storage_error(daemon, "the cordon of a GPU", &err);
    if (run && run->worker)
        supervisor_kill(run->worker, RUN_MACHINE_GPU_FAULT);
}

static json_t *xid_json(const struct device *device, uint32_t xid)
{
    const struct gpu_fault *fault = gpu_fault_find(xid);
    return json_pack("{s:s, s:I, s:s, s:s, s:o}", "gpu", device->id, "xid", (json_int_t)xid,
                     "class", gpu_fault_class_name(fault->class), "text", fault->text, "run",
                     device->run ? json_sprintf("r%lld", (long long)device->run) : json_null());
}

/* In the history of the run on it, too. */
static enum ij_status tell_xid(struct daemon *daemon, const struct device *device, uint32_t xid,
                               struct ij_err *reterr_err)
{
    json_t *body = xid_json(device, xid);
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct event_row row = {
        .ts_ms = clock_wall_ms(), .run = device->run, .type = "gpu.xid", .body = text};
    enum ij_status status = text ? event_row_append(daemon->store, &row, reterr_err)
                                 : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an event");
    if (status == IJ_OK)
        event_bus_publish(daemon->bus, row.id, device->run, "gpu.xid", body);
    free(text);
    json_decref(body);
    return status;
}

static void take_xid(struct daemon *daemon, const struct gpu_report_xid *report)
{
    const struct gpu_fault *fault = gpu_fault_find(report->xid);
    struct ij_err err = IJ_ERR_INIT;
    char reason[200];
    size_t place;
    if (!device_table_find(daemon->devices, report->uuid, &place))
        return;
    const struct device *device = device_table_at(daemon->devices, place);
    struct run *run = device->run ? queue_find(daemon, device->run) : NULL;
    const struct log_about about = {
        .message = LOG_MESSAGE_GPU_FAULT, .run = device->run, .gpu = device->id};
    log_about(LOG_LEVEL_WARN, LOG_MODULE, &about, "%s: Xid %u: %s", device->id, report->xid,
              fault->text);
    device_table_count_xid(daemon->devices, place, report->xid, clock_wall_ms());
    if (tell_xid(daemon, device, report->xid, &err) != IJ_OK)
        daemon_storage_error(daemon, "an error of a GPU", &err);
    if (run && fault->class == GPU_FAULT_APPLICATION)
        run->xid = report->xid;
    snprintf(reason, sizeof(reason), "Xid %u: %s", report->xid, fault->text);
    if (fault->class == GPU_FAULT_HARDWARE)
        condemn(daemon, place, reason);
}

/* A GPU that the driver lists no more, with a run on it. */
static void take_losses(struct daemon *daemon)
{
    for (size_t i = 0; i < device_table_count(daemon->devices); i++) {
        const struct device *device = device_table_at(daemon->devices, i);
        if (device->kind == DEVICE_GPU && device->run && !device->present && !device->cordon.ts_ms)
            condemn(daemon, i, "the driver no longer lists it");
    }
}

/* ---- Reports --------------------------------------------------------------------------------- */

static void take_health(struct daemon *daemon, const struct gpu_report_gpu *gpu)
{
    size_t place;
    bool dead = gpu->health == GPU_REPORT_LOST || gpu->health == GPU_REPORT_REPLACE;
    if (dead && device_table_find(daemon->devices, gpu->uuid, &place) &&
        !device_table_at(daemon->devices, place)->cordon.ts_ms)
        condemn(daemon, place, device_table_at(daemon->devices, place)->trouble);
}

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* The figures that change all the time, for whoever watches; nobody stores them here. */
static void publish_samples(struct daemon *daemon, const struct gpu_report *report)
{
    json_t *items = json_array();
    for (size_t i = 0; i < report->gpu_count; i++) {
        const struct gpu_report_gpu *gpu = &report->gpus[i];
        json_array_append_new(items,
                              json_pack("{s:s, s:o, s:I, s:o, s:o}", "gpu", gpu->uuid,
                                        "utilization_ratio", number_or_null(gpu->utilization),
                                        "memory_used_bytes", (json_int_t)gpu->memory_used_bytes,
                                        "temperature_c", number_or_null(gpu->temperature_c),
                                        "power_w", number_or_null(gpu->power_w)));
    }
    json_t *body = json_pack("{s:o}", "items", items);
    if (body && report->gpu_count && report->state == GPU_REPORT_OK)
        event_bus_publish(daemon->bus, 0, 0, "gpu.sample", body);
    json_decref(body);
}

void device_watch_report(void *user, const struct gpu_report *report)
{
    struct daemon *daemon = user;
    enum device_state before[DEVICE_MAX];
    size_t known = device_table_count(daemon->devices);
    for (size_t i = 0; i < known; i++)
        before[i] = device_state_of(device_table_at(daemon->devices, i));
    bool changed = device_table_update(daemon->devices, report);
    for (size_t i = 0; i < device_table_count(daemon->devices); i++) {
        const struct device *device = device_table_at(daemon->devices, i);
        if (i >= known || device_state_of(device) != before[i])
            device_verb_publish(daemon, device, 0);
    }
    if (changed)
        dcgm_map_write(daemon->config.dcgm_map_dir, daemon->devices);
    publish_samples(daemon, report);
    for (size_t i = 0; i < report->xid_count; i++)
        take_xid(daemon, &report->xids[i]);
    for (size_t i = 0; i < report->gpu_count; i++)
        take_health(daemon, &report->gpus[i]);
    if (report->state == GPU_REPORT_OK)
        take_losses(daemon);
    gpu_sample_take(daemon->samples, report);
    if (changed)
        queue_schedule(daemon);
}

static enum ij_status say_off(struct daemon *daemon, struct ij_err *reterr_err)
{
    mem_auto struct gpu_report *report = mem_new(struct gpu_report);
    if (!report)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a report of the GPUs");
    report->state = GPU_REPORT_ABSENT;
    snprintf(report->reason, sizeof(report->reason), "gpu_probe is off in the configuration");
    (void)device_table_update(daemon->devices, report);
    return IJ_OK;
}

enum ij_status device_watch_start(struct daemon *daemon, struct ij_err *reterr_err)
{
    const char *probe = daemon->config.gpu_probe;
    if (!probe[0] || strcmp(probe, "off") == 0)
        return say_off(daemon, reterr_err);
    IJ_TRY(gpu_sample_new(daemon, GPU_SAMPLE_STORE_MS, &daemon->samples, reterr_err));
    struct gpu_inventory_options options = {.worker = probe,
                                            .deadline_ms = GPU_INVENTORY_DEADLINE_MS,
                                            .user = daemon,
                                            .updated = device_watch_report};
    return gpu_inventory_new(daemon->event, &options, &daemon->inventory, reterr_err);
}

/* ---- Deaths ---------------------------------------------------------------------------------- */

void device_watch_death(struct run *run)
{
    struct daemon *daemon = run->daemon;
    int64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < device_table_count(daemon->devices); i++) {
        const struct device *device = device_table_at(daemon->devices, i);
        char reason[160];
        if (device->run != run->row.id || device->kind != DEVICE_GPU)
            continue;
        bool again = device->death_run && device->death_run != run->row.id &&
                     now_ms - device->death_ms <= DEVICE_WATCH_DEATHS_MS;
        snprintf(reason, sizeof(reason), "r%lld and r%lld failed on it within %d s",
                 (long long)device->death_run, (long long)run->row.id,
                 DEVICE_WATCH_DEATHS_MS / 1000);
        device_table_note_death(daemon->devices, i, run->row.id, now_ms);
        if (again)
            condemn(daemon, i, reason);
    }
}
