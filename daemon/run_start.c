/* See run_start.h. */
#include "daemon/run_start.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/daemon.h"
#include "daemon/recorder.h"
#include "daemon/retention.h"
#include "daemon/run_end.h"
#include "daemon/submit.h"
#include "store/checkpoint_row.h"

#define LOG_MODULE "run_start"

static void read_boot_id(char ret_text[37])
{
    mem_auto char *text = NULL;
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    ret_text[0] = '\0';
    if (!file)
        return;
    if (!fgets(ret_text, 37, file))
        ret_text[0] = '\0';
    fclose(file);
}

/* "r42" and "c7" become the directory they stand for. IJ_NOT_FOUND says what is missing. */
static enum ij_status resolve_checkpoint(struct run *run, json_t *params, const char *key,
                                         struct ij_err *reterr_err)
{
    struct store *store = run->daemon->store;
    const char *text = json_string_value(json_object_get(params, key));
    struct checkpoint_row row;
    struct ij_err err;
    int64_t id;
    enum ij_status status;
    if (!text)
        return IJ_OK;
    if (submit_parse_id(text, 'r', &id)) {
        status = checkpoint_row_newest(store, id, &row, &err);
        if (status == IJ_NOT_FOUND)
            return IJ_ERR_FIELD(reterr_err, status, key, "r%lld left no checkpoint", (long long)id);
    } else if (submit_parse_id(text, 'c', &id)) {
        status = checkpoint_row_get(store, id, &row, &err);
        if (status == IJ_NOT_FOUND || (status == IJ_OK && row.state != CHECKPOINT_ROW_VALID))
            return IJ_ERR_FIELD(reterr_err, IJ_NOT_FOUND, key,
                                "checkpoint c%lld is not there any more", (long long)id);
    } else {
        return IJ_OK;
    }
    if (status != IJ_OK) {
        if (reterr_err)
            *reterr_err = err;
        return status;
    }
    json_object_set_new(params, key, json_string(row.path));
    return IJ_OK;
}

/* What of the machine a run may use, where it does not say so itself. */
static void fill_threads(const struct run *run, json_t *params)
{
    const struct config *config = &run->daemon->config;
    json_t *threads = json_object_get(params, "threads");
    if (!threads || json_integer_value(threads) != 0)
        return;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    long share = config->threads ? (long)config->threads
                                 : cores / (long)config->slots * (long)run->row.slots;
    json_object_set_new(params, "threads", json_integer(share > 0 ? share : 1));
}

/* `auto` was settled when the run was accepted. A GPU that nobody named is checked by its worker,
 * which remembers those that passed in *ret_checks. */
static void fill_device(const struct run *run, json_t *params, char *ret_checks, size_t size)
{
    const char *device = json_string_value(json_object_get(params, "device"));
    bool on_gpu = strcmp(run->row.backend, "cuda") == 0;
    ret_checks[0] = '\0';
    if (!device || strcmp(device, "auto") != 0)
        return;
    json_object_set_new(params, "device", json_string(run->row.backend));
    if (on_gpu && !getenv("IJEPAD_DEVICE"))
        snprintf(ret_checks, size, "%s/device-checks", run->daemon->config.state_dir);
}

/* The worker removes by age only; what else stays is told by files (retention.h). */
static void fill_keep(struct run *run, json_t *params)
{
    if (!json_object_get(params, "keep_checkpoints"))
        return;
    run->worker_keep = retention_policy_of(&run->row).latest;
    json_object_set_new(params, "keep_checkpoints", json_integer(run->worker_keep));
}

/* The SPEC message. New reference in *ret_spec. */
static enum ij_status make_spec(struct run *run, json_t **ret_spec, struct ij_err *reterr_err)
{
    char directory[ENGINE_PATH_MAX], checks[ENGINE_PATH_MAX + 32];
    run_work_directory(run, directory, sizeof(directory));
    json_t *params = json_loads(run->row.resolved, 0, NULL);
    if (!params)
        return IJ_ERR(reterr_err, IJ_CORRUPT, "the stored parameters are not JSON");
    enum ij_status status = resolve_checkpoint(run, params, "checkpoint", reterr_err);
    if (status == IJ_OK)
        status = resolve_checkpoint(run, params, "init_from", reterr_err);
    if (status != IJ_OK) {
        json_decref(params);
        return status;
    }
    fill_threads(run, params);
    fill_keep(run, params);
    fill_device(run, params, checks, sizeof(checks));
    json_t *gpus = json_loads(run->attempt.gpus, 0, NULL);
    double patience_s = 0.75 * run->daemon->config.hang_timeout_s; /* before the hang watch's end */
    *ret_spec = json_pack("{s:s, s:o, s:s, s:s, s:s, s:I, s:i, s:o, s:f}", "kind", run->row.kind,
                          "params", params, "directory", directory, "device_checks", checks,
                          "resume", "", "run", (json_int_t)run->row.id, "attempt",
                          (int)run->attempt.n, "gpus", gpus, "rank_timeout_s", patience_s);
    if (!*ret_spec)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a run's parameters");
    return IJ_OK;
}

static enum ij_status make_directories(const struct run *run, struct ij_err *reterr_err)
{
    char path[CONFIG_PATH_MAX + 32];
    snprintf(path, sizeof(path), "%s/logs", run->daemon->config.state_dir);
    IJ_TRY(file_make_dirs(path, 0700, reterr_err));
    run_work_directory(run, path, sizeof(path));
    return file_make_dirs(path, 0700, reterr_err);
}

/* "GPU-a,GPU-b"; "" for a run on the host, which then sees none. */
static void list_gpus(const struct run *run, char *ret_text, size_t size)
{
    const struct device_table *table = run->daemon->devices;
    size_t used = 0;
    ret_text[0] = '\0';
    for (size_t i = 0; i < device_table_count(table); i++) {
        const struct device *device = device_table_at(table, i);
        if (device->run == run->row.id && device->kind == DEVICE_GPU && used < size)
            used +=
                (size_t)snprintf(ret_text + used, size - used, "%s%s", used ? "," : "", device->id);
    }
}

static enum ij_status start_worker(struct run *run, const json_t *spec, struct ij_err *reterr_err)
{
    const struct config *config = &run->daemon->config;
    char name[32], log_path[CONFIG_PATH_MAX + 64], gpus[RUN_ROW_GPUS_SIZE];
    list_gpus(run, gpus, sizeof(gpus));
    snprintf(name, sizeof(name), "r%lld-a%d", (long long)run->row.id, run->attempt.n);
    snprintf(log_path, sizeof(log_path), "%s/logs/%s.log", config->state_dir, name);
    struct supervisor_options options = {.program = config->worker,
                                         .name = name,
                                         .log_path = log_path,
                                         .visible_gpus = gpus,
                                         .log_bytes_max = config->log_bytes_max,
                                         .start_timeout_ms = config->start_timeout_s * 1000LL,
                                         .hang_timeout_ms = config->hang_timeout_s * 1000LL,
                                         .unkillable_ms = config->unkillable_s * 1000LL,
                                         .spec = spec,
                                         .run = run->row.id};
    struct supervisor_callbacks callbacks = {.user = run,
                                             .message = recorder_message,
                                             .ended = run_end_of_worker,
                                             .unkillable = run_end_is_overdue};
    IJ_TRY(supervisor_start(run->daemon->event, &options, &callbacks, &run->worker, reterr_err));
    device_table_set_worker(run->daemon->devices, run->row.id, supervisor_pid(run->worker));
    return IJ_OK;
}

static void begin_attempt(struct run *run)
{
    run->attempt = (struct attempt_row){.run = run->row.id,
                                        .n = run->row.attempts + 1,
                                        .started_ms = clock_wall_ms(),
                                        .exit_code = -1};
    snprintf(run->attempt.device, sizeof(run->attempt.device), "%s", run->row.backend);
    device_table_ids(run->daemon->devices, run->row.id, run->attempt.gpus,
                     sizeof(run->attempt.gpus));
    read_boot_id(run->attempt.boot_id);
    recorder_forget(run);
    run->finished = IJ_STATUS_COUNT;
    run->finished_text[0] = '\0';
    run->xid = 0;
    run->superseded = run->newer_checkpoint = run->stop_wanted = run->rewound = false;
}

/* A back-off that has run out is a queued run again before it starts. */
static enum ij_status leave_backoff(struct run *run, struct ij_err *reterr_err)
{
    if (run->row.state != RUN_STATE_BACKOFF)
        return IJ_OK;
    struct run_change change = run_change_of(run, RUN_STATE_QUEUED, "", "");
    return run_set_state(run, &change, reterr_err);
}

enum ij_status run_start(struct run *run, struct ij_err *reterr_err)
{
    struct ij_err err = IJ_ERR_INIT;
    json_t *spec = NULL;
    IJ_TRY(leave_backoff(run, reterr_err));
    begin_attempt(run);
    enum ij_status status = make_spec(run, &spec, &err);
    if (status == IJ_NOT_FOUND || status == IJ_CORRUPT) {
        struct run_change change =
            run_change_of(run, RUN_STATE_FAILED, ij_status_name(status), err.text);
        status = run_set_state(run, &change, reterr_err);
        run_end_forget(run);
        return status;
    }
    if (status != IJ_OK) {
        if (reterr_err)
            *reterr_err = err;
        return status;
    }
    struct run_change change = run_change_of(run, RUN_STATE_STARTING, "", "");
    change.deadline_ms = clock_wall_ms() + run->daemon->config.start_timeout_s * 1000LL;
    change.attempt_begins = true;
    status = run_set_state(run, &change, reterr_err);
    if (status == IJ_OK) {
        enum ij_status started = make_directories(run, &err);
        if (started == IJ_OK)
            started = start_worker(run, spec, &err);
        if (started != IJ_OK) {
            log_line(LOG_LEVEL_ERR, LOG_MODULE, run->row.id, "%s", err.text);
            run_end_before_start(run, &err);
        }
    }
    json_decref(spec);
    return status;
}
