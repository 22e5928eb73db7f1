/* See gpu_report.h. */
#include "daemon/gpu_report.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

static const char *const state_names[GPU_REPORT_STATE_COUNT] = {"unknown", "absent", "ok"};
static const char *const health_names[GPU_REPORT_HEALTH_COUNT] = {"healthy", "lost", "reset_needed",
                                                                  "replace"};

const char *gpu_report_state_name(enum gpu_report_state state)
{
    return state_names[state];
}
const char *gpu_report_health_name(enum gpu_report_health health)
{
    return health_names[health];
}

const struct gpu_report_gpu *gpu_report_find(const struct gpu_report *report, const char *uuid)
{
    for (size_t i = 0; i < report->gpu_count; i++)
        if (strcmp(report->gpus[i].uuid, uuid) == 0)
            return &report->gpus[i];
    return NULL;
}

/* ---- Writing --------------------------------------------------------------------------------- */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* What a driver calls something, with whatever bytes. */
static json_t *words(const char *text)
{
    json_t *string = json_string(text);
    return string ? string : json_string("?");
}

static json_t *write_processes(const struct gpu_report_gpu *gpu)
{
    json_t *list = json_array();
    for (size_t i = 0; i < gpu->process_count && i < GPU_REPORT_PROCESSES_MAX; i++) {
        const struct gpu_report_process *process = &gpu->processes[i];
        json_array_append_new(list, json_pack("{s:i, s:I, s:o}", "pid", process->pid,
                                              "memory_bytes", (json_int_t)process->memory_bytes,
                                              "command", words(process->command)));
    }
    return list;
}

static json_t *write_gpu(const struct gpu_report_gpu *gpu)
{
    json_t *object = json_pack(
        "{s:o, s:o, s:o, s:I, s:i, s:i, s:s, s:o, s:I, s:I, s:I}", "uuid", words(gpu->uuid), "name",
        words(gpu->name), "pci", words(gpu->pci), "index", (json_int_t)gpu->index, "compute_major",
        gpu->compute_major, "compute_minor", gpu->compute_minor, "health",
        gpu_report_health_name(gpu->health), "trouble", words(gpu->trouble), "memory_total_bytes",
        (json_int_t)gpu->memory_total_bytes, "memory_used_bytes",
        (json_int_t)gpu->memory_used_bytes, "ecc_uncorrected", (json_int_t)gpu->ecc_uncorrected);
    json_object_set_new(object, "utilization", number(gpu->utilization));
    json_object_set_new(object, "memory_utilization", number(gpu->memory_utilization));
    json_object_set_new(object, "temperature_c", number(gpu->temperature_c));
    json_object_set_new(object, "power_w", number(gpu->power_w));
    json_object_set_new(object, "power_limit_w", number(gpu->power_limit_w));
    json_object_set_new(object, "clock_mhz", number(gpu->clock_mhz));
    json_object_set_new(object, "process_count", json_integer((json_int_t)gpu->process_count));
    json_object_set_new(object, "processes", write_processes(gpu));
    return object;
}

void gpu_report_write(const struct gpu_report *report, struct buf *buf)
{
    json_t *gpus = json_array(), *xids = json_array();
    for (size_t i = 0; i < report->gpu_count; i++)
        json_array_append_new(gpus, write_gpu(&report->gpus[i]));
    for (size_t i = 0; i < report->xid_count; i++)
        json_array_append_new(xids, json_pack("{s:o, s:I}", "uuid", words(report->xids[i].uuid),
                                              "xid", (json_int_t)report->xids[i].xid));
    json_t *object =
        json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "state", gpu_report_state_name(report->state),
                  "reason", words(report->reason), "driver", words(report->driver), "unusable",
                  words(report->unusable), "gpus", gpus, "xids", xids);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (text)
        buf_append_text(buf, text);
    else if (buf->status == IJ_OK)
        buf->status = IJ_NO_MEMORY;
    free(text);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static enum ij_status wrong(const char *key, const char *expected, struct ij_err *reterr_err)
{
    return IJ_ERR_FIELD(reterr_err, IJ_MALFORMED, key, "GPU report: %s must be %s", key, expected);
}

static enum ij_status read_text(const json_t *object, const char *key, char *ret_text, size_t size,
                                struct ij_err *reterr_err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value) || json_string_length(value) >= size)
        return wrong(key, "a short text", reterr_err);
    snprintf(ret_text, size, "%s", json_string_value(value));
    return IJ_OK;
}

static enum ij_status read_count(const json_t *object, const char *key, int64_t min, int64_t max,
                                 int64_t *ret_value, struct ij_err *reterr_err)
{
    const json_t *value = json_object_get(object, key);
    int64_t number_read = json_integer_value(value);
    if (!json_is_integer(value) || number_read < min || number_read > max)
        return wrong(key, "an integer in its range", reterr_err);
    *ret_value = number_read;
    return IJ_OK;
}

static enum ij_status read_number(const json_t *object, const char *key, double *ret_value,
                                  struct ij_err *reterr_err)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value) && !json_is_null(value))
        return wrong(key, "a number or null", reterr_err);
    *ret_value = json_is_null(value) ? NAN : json_number_value(value);
    return IJ_OK;
}

static enum ij_status read_name(const json_t *object, const char *key, const char *const *names,
                                int count, int *ret_index, struct ij_err *reterr_err)
{
    const char *text = json_string_value(json_object_get(object, key));
    for (int i = 0; text && i < count; i++)
        if (strcmp(text, names[i]) == 0) {
            *ret_index = i;
            return IJ_OK;
        }
    return wrong(key, "a known name", reterr_err);
}

static enum ij_status read_list(const json_t *object, const char *key, size_t max,
                                const json_t **ret_list, struct ij_err *reterr_err)
{
    const json_t *list = json_object_get(object, key);
    if (!json_is_array(list) || json_array_size(list) > max)
        return wrong(key, "a short list", reterr_err);
    *ret_list = list;
    return IJ_OK;
}

static enum ij_status read_process(const json_t *object, struct gpu_report_process *process,
                                   struct ij_err *reterr_err)
{
    int64_t pid = 0, memory = 0;
    IJ_TRY(read_count(object, "pid", 0, INT32_MAX, &pid, reterr_err));
    IJ_TRY(read_count(object, "memory_bytes", 0, INT64_MAX, &memory, reterr_err));
    process->pid = (int32_t)pid;
    process->memory_bytes = (uint64_t)memory;
    return read_text(object, "command", process->command, sizeof(process->command), reterr_err);
}

static enum ij_status read_gauges(const json_t *object, struct gpu_report_gpu *gpu,
                                  struct ij_err *reterr_err)
{
    IJ_TRY(read_number(object, "utilization", &gpu->utilization, reterr_err));
    IJ_TRY(read_number(object, "memory_utilization", &gpu->memory_utilization, reterr_err));
    IJ_TRY(read_number(object, "temperature_c", &gpu->temperature_c, reterr_err));
    IJ_TRY(read_number(object, "power_w", &gpu->power_w, reterr_err));
    IJ_TRY(read_number(object, "power_limit_w", &gpu->power_limit_w, reterr_err));
    return read_number(object, "clock_mhz", &gpu->clock_mhz, reterr_err);
}

static enum ij_status read_identity(const json_t *object, struct gpu_report_gpu *gpu,
                                    struct ij_err *reterr_err)
{
    int64_t index = 0, major = -1, minor = -1;
    IJ_TRY(read_text(object, "uuid", gpu->uuid, sizeof(gpu->uuid), reterr_err));
    IJ_TRY(read_text(object, "name", gpu->name, sizeof(gpu->name), reterr_err));
    IJ_TRY(read_text(object, "pci", gpu->pci, sizeof(gpu->pci), reterr_err));
    IJ_TRY(read_count(object, "index", 0, UINT32_MAX, &index, reterr_err));
    IJ_TRY(read_count(object, "compute_major", -1, 1000, &major, reterr_err));
    IJ_TRY(read_count(object, "compute_minor", -1, 1000, &minor, reterr_err));
    gpu->index = (uint32_t)index;
    gpu->compute_major = (int32_t)major;
    gpu->compute_minor = (int32_t)minor;
    return IJ_OK;
}

static enum ij_status read_gpu(const json_t *object, struct gpu_report_gpu *gpu,
                               struct ij_err *reterr_err)
{
    int64_t total = 0, used = 0, count = 0;
    int health = 0;
    const json_t *list = NULL;
    IJ_TRY(read_identity(object, gpu, reterr_err));
    IJ_TRY(read_name(object, "health", health_names, GPU_REPORT_HEALTH_COUNT, &health, reterr_err));
    IJ_TRY(read_text(object, "trouble", gpu->trouble, sizeof(gpu->trouble), reterr_err));
    IJ_TRY(read_count(object, "memory_total_bytes", 0, INT64_MAX, &total, reterr_err));
    IJ_TRY(read_count(object, "memory_used_bytes", 0, INT64_MAX, &used, reterr_err));
    IJ_TRY(read_count(object, "ecc_uncorrected", -1, INT64_MAX, &gpu->ecc_uncorrected, reterr_err));
    IJ_TRY(read_gauges(object, gpu, reterr_err));
    gpu->health = (enum gpu_report_health)health;
    gpu->memory_total_bytes = (uint64_t)total;
    gpu->memory_used_bytes = (uint64_t)used;
    IJ_TRY(read_list(object, "processes", GPU_REPORT_PROCESSES_MAX, &list, reterr_err));
    IJ_TRY(read_count(object, "process_count", (int64_t)json_array_size(list), INT32_MAX, &count,
                      reterr_err));
    gpu->process_count = (size_t)count;
    for (size_t i = 0; i < json_array_size(list); i++)
        IJ_TRY(read_process(json_array_get(list, i), &gpu->processes[i], reterr_err));
    return IJ_OK;
}

static enum ij_status read_xid(const json_t *object, struct gpu_report_xid *xid,
                               struct ij_err *reterr_err)
{
    int64_t value = 0;
    IJ_TRY(read_text(object, "uuid", xid->uuid, sizeof(xid->uuid), reterr_err));
    IJ_TRY(read_count(object, "xid", 0, UINT32_MAX, &value, reterr_err));
    xid->xid = (uint32_t)value;
    return IJ_OK;
}

static enum ij_status read_report(const json_t *object, struct gpu_report *report,
                                  struct ij_err *reterr_err)
{
    const json_t *gpus = NULL, *xids = NULL;
    int state = 0;
    IJ_TRY(read_name(object, "state", state_names, GPU_REPORT_STATE_COUNT, &state, reterr_err));
    IJ_TRY(read_text(object, "reason", report->reason, sizeof(report->reason), reterr_err));
    IJ_TRY(read_text(object, "driver", report->driver, sizeof(report->driver), reterr_err));
    if (json_object_get(object, "unusable"))
        IJ_TRY(
            read_text(object, "unusable", report->unusable, sizeof(report->unusable), reterr_err));
    IJ_TRY(read_list(object, "gpus", GPU_REPORT_GPUS_MAX, &gpus, reterr_err));
    IJ_TRY(read_list(object, "xids", GPU_REPORT_XIDS_MAX, &xids, reterr_err));
    report->state = (enum gpu_report_state)state;
    report->gpu_count = json_array_size(gpus);
    report->xid_count = json_array_size(xids);
    for (size_t i = 0; i < report->gpu_count; i++)
        IJ_TRY(read_gpu(json_array_get(gpus, i), &report->gpus[i], reterr_err));
    for (size_t i = 0; i < report->xid_count; i++)
        IJ_TRY(read_xid(json_array_get(xids, i), &report->xids[i], reterr_err));
    return IJ_OK;
}

enum ij_status gpu_report_parse(const char *line, size_t size, struct gpu_report *ret_report,
                                struct ij_err *reterr_err)
{
    json_error_t error;
    mem_auto struct gpu_report *report = mem_new(struct gpu_report);
    if (!report)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a GPU report");
    json_t *object = json_loadb(line, size, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object)) {
        json_decref(object);
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a GPU report must be a JSON object: %s",
                      object ? "it is not" : error.text);
    }
    enum ij_status status = read_report(object, report, reterr_err);
    json_decref(object);
    if (status == IJ_OK)
        *ret_report = *report;
    return status;
}
