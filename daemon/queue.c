/* See queue.h. */
#include "daemon/queue.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/dcgm_map.h"
#include "daemon/run_start.h"
#include "daemon/run_yield.h"
#include "daemon/scheduler.h"

#define LOG_MODULE   "queue"
#define ETA_SLACK_MS 5000 /* an estimate that moved less is not written anew */
#define ETA_MAX_S    (10 * 365 * 86400.0)

enum ij_status queue_add(struct daemon *daemon, struct run *run, struct ij_err *reterr_err)
{
    if (daemon->run_count == daemon->run_capacity) {
        size_t capacity = daemon->run_capacity ? 2 * daemon->run_capacity : 64;
        struct run **grown = mem_grow(daemon->runs, capacity, sizeof(*grown));
        if (!grown)
            return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the queue");
        daemon->runs = grown;
        daemon->run_capacity = capacity;
    }
    daemon->runs[daemon->run_count++] = run;
    return IJ_OK;
}

void queue_remove(struct daemon *daemon, struct run *run)
{
    for (size_t i = 0; i < daemon->run_count; i++)
        if (daemon->runs[i] == run) {
            daemon->runs[i] = daemon->runs[--daemon->run_count];
            return;
        }
}

struct run *queue_find(const struct daemon *daemon, int64_t id)
{
    for (size_t i = 0; i < daemon->run_count; i++)
        if (daemon->runs[i]->row.id == id)
            return daemon->runs[i];
    return NULL;
}

void queue_schedule(struct daemon *daemon)
{
    (void)sd_event_source_set_enabled(daemon->schedule, SD_EVENT_ONESHOT);
}

/* The end of a run's back-off, as a wall clock that is not set would show it. Of one that began in
 * an earlier life only the wall time is known: further away than any back-off lasts, it comes from
 * a clock that was set back since and counts as over. */
static int64_t due_ms(const struct run *run, int64_t now_ms)
{
    const struct config *config = &run->daemon->config;
    int64_t longest = (int64_t)config->retry_cap_ms + config->retry_cap_ms / 8;
    if (run->row.state == RUN_STATE_BACKOFF && run->backoff_end_ms)
        return now_ms + run->backoff_end_ms - clock_monotonic_ms();
    return run->row.not_before_ms - now_ms > longest ? now_ms : run->row.not_before_ms;
}

/* Wakes the queue when the next back-off ends. */
static void arm_due(struct daemon *daemon)
{
    int64_t now_ms = clock_wall_ms(), due = INT64_MAX;
    for (size_t i = 0; i < daemon->run_count; i++) {
        const struct run *run = daemon->runs[i];
        int64_t end = due_ms(run, now_ms);
        if (run->row.state == RUN_STATE_BACKOFF && end > now_ms && end < due)
            due = end;
    }
    (void)sd_event_source_set_enabled(daemon->due, SD_EVENT_OFF);
    if (due == INT64_MAX)
        return;
    uint64_t wait_us = due > now_ms ? (uint64_t)(due - now_ms) * 1000 : 0;
    (void)sd_event_source_set_time_relative(daemon->due, wait_us + 1000);
    (void)sd_event_source_set_enabled(daemon->due, SD_EVENT_ONESHOT);
}

double queue_front(const struct daemon *daemon, int32_t priority)
{
    double front = 1;
    for (size_t i = 0; i < daemon->run_count; i++) {
        const struct run_row *row = &daemon->runs[i]->row;
        if (row->priority == priority && row->queue_pos < front)
            front = row->queue_pos;
    }
    return front - 1;
}

/* ---- The pass -------------------------------------------------------------------------------- */

/* Why nothing may start, for people; NULL: nothing is wrong. */
static const char *find_block(const struct daemon *daemon, char text[128], const char **ret_code)
{
    uint64_t floor = daemon->config.disk_floor_bytes;
    uint64_t free_bytes = file_free_bytes(daemon->config.state_dir);
    if (daemon->storage_retry_ms > clock_monotonic_ms()) {
        *ret_code = "storage_error";
        return "the state could not be written; trying again shortly";
    }
    if (daemon->drain.ts_ms) {
        *ret_code = "drained";
        snprintf(text, 128, "the machine is drained by %.32s: %.64s", daemon->drain.actor,
                 daemon->drain.reason);
        return text;
    }
    if (free_bytes >= floor)
        return NULL;
    *ret_code = "disk";
    snprintf(text, 128, "%llu MiB free in the state directory, %llu MiB wanted",
             (unsigned long long)(free_bytes >> 20), (unsigned long long)(floor >> 20));
    return text;
}

/* A row with a new reason: the run's once it is committed. */
struct fresh {
    struct run *run;
    struct run_row row;
};

/* The scheduler's view of the queue. */
struct view {
    struct run **sources; /* sources[i] is behind runs[i] */
    struct run **holders; /* holders[i] is behind active[i] */
    struct fresh *fresh;  /* rows with new reasons */
    size_t fresh_count, fresh_capacity;
    struct scheduler_run *runs;
    struct scheduler_active *active;
    struct scheduler_plan plan;
    struct scheduler_device devices[DEVICE_MAX];
    char troubles[DEVICE_MAX][256];
    size_t run_count, active_count, device_count;
};

static void view_free(struct view *view)
{
    if (!view)
        return;
    mem_free(view->sources);
    mem_free(view->holders);
    mem_free(view->fresh);
    mem_free(view->runs);
    mem_free(view->active);
    mem_free(view->plan.decisions);
    mem_free(view->plan.victims);
    mem_free(view);
}

static void add_holder(struct view *view, struct run *run)
{
    const struct run_row *row = &run->row;
    view->holders[view->active_count] = run;
    view->active[view->active_count++] = (struct scheduler_active){
        .id = row->id,
        .eta_s = row->eta_s,
        .sweep = row->sweep,
        .slots = row->slots,
        .user = row->user,
        .priority = row->priority,
        .preemptions = row->preemptions,
        .preemptible = row->preemptible,
        .ending = row->state != RUN_STATE_RUNNING && row->state != RUN_STATE_STARTING,
        .started_ms = run->attempt.started_ms};
}

static void add_waiting(struct view *view, struct run *run, int64_t now_ms)
{
    const struct run_row *row = &run->row;
    view->sources[view->run_count] = run;
    view->runs[view->run_count++] =
        (struct scheduler_run){.id = row->id,
                               .state = row->state,
                               .priority = row->priority,
                               .queue_pos = row->queue_pos,
                               .queued_ms = row->queued_ms,
                               .slots = row->slots,
                               .gpu = strcmp(row->backend, "cuda") == 0,
                               .memory_bytes = row->gpu_memory_bytes,
                               .user = row->user,
                               .sweep = row->sweep,
                               .sweep_max = run->sweep_max,
                               .not_before_ms = due_ms(run, now_ms),
                               .dependencies = run->dependencies,
                               .dependency_count = run->dependency_count};
}

/* Places are those of the table; one that is not there fits nobody. */
static void add_devices(struct view *view, const struct device_table *table)
{
    view->device_count = device_table_count(table);
    for (size_t i = 0; i < view->device_count; i++) {
        const struct device *device = device_table_at(table, i);
        bool sound =
            device->present && !device->unknown && !device->cordon.ts_ms && !device->trouble[0];
        device_explain(device, view->troubles[i], sizeof(view->troubles[i]));
        view->devices[i] =
            (struct scheduler_device){.absent = !device->present,
                                      .gpu = device->kind == DEVICE_GPU,
                                      .memory_bytes = device->memory_bytes,
                                      .usable = sound && (device->run || !device->foreign_count),
                                      .trouble = view->troubles[i],
                                      .run = device->run};
    }
}

static bool view_alloc(struct view *view, size_t runs)
{
    view->sources = mem_array(struct run *, runs);
    view->holders = mem_array(struct run *, runs);
    view->runs = mem_array(struct scheduler_run, runs);
    view->active = mem_array(struct scheduler_active, runs);
    view->plan.decisions = mem_array(struct scheduler_decision, runs);
    view->plan.victims = mem_array(struct scheduler_victim, runs);
    return view->sources && view->holders && view->runs && view->active && view->plan.decisions &&
           view->plan.victims;
}

/* NULL: no memory. */
static struct view *view_new(const struct daemon *daemon)
{
    struct view *view = mem_new(struct view);
    if (!view || !view_alloc(view, daemon->run_count)) {
        view_free(view);
        return NULL;
    }
    int64_t now_ms = clock_wall_ms();
    for (size_t i = 0; i < daemon->run_count; i++) {
        struct run *run = daemon->runs[i];
        if (run_state_has_process(run->row.state) || run->worker)
            add_holder(view, run);
        else
            add_waiting(view, run, now_ms);
    }
    add_devices(view, daemon->devices);
    return view;
}

/* ---- Reasons --------------------------------------------------------------------------------- */

static int64_t eta_of(const struct scheduler_decision *decision)
{
    if (isnan(decision->eta_s) || decision->eta_s > ETA_MAX_S)
        return 0;
    return clock_wall_ms() + (int64_t)(decision->eta_s * 1000);
}

static bool is_told(const struct run_row *row, const struct scheduler_decision *decision,
                    int64_t eta_ms)
{
    char blocking[sizeof(row->blocking)];
    run_blocking_text(decision, blocking, sizeof(blocking));
    return strcmp(row->reason, decision->code) == 0 &&
           strcmp(row->reason_text, decision->text) == 0 && strcmp(row->blocking, blocking) == 0 &&
           llabs(eta_ms - row->start_eta_ms) < ETA_SLACK_MS;
}

static struct fresh *add_fresh(struct view *view, struct run *run)
{
    if (view->fresh_count == view->fresh_capacity) {
        size_t capacity = view->fresh_capacity ? 2 * view->fresh_capacity : 16;
        struct fresh *grown = mem_grow(view->fresh, capacity, sizeof(*grown));
        if (!grown)
            return NULL;
        view->fresh = grown;
        view->fresh_capacity = capacity;
    }
    view->fresh[view->fresh_count] = (struct fresh){.run = run};
    return &view->fresh[view->fresh_count++];
}

static enum ij_status write_reasons(struct daemon *daemon, struct view *view,
                                    struct ij_err *reterr_err)
{
    for (size_t i = 0; i < view->plan.decision_count; i++) {
        const struct scheduler_decision *decision = &view->plan.decisions[i];
        struct run *run = view->sources[decision->index];
        int64_t eta_ms = eta_of(decision);
        if (decision->start || run->row.state != RUN_STATE_QUEUED ||
            is_told(&run->row, decision, eta_ms))
            continue;
        if (!store_in_transaction(daemon->store))
            IJ_TRY(store_begin(daemon->store, reterr_err));
        struct fresh *fresh = add_fresh(view, run);
        if (!fresh)
            return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to schedule");
        IJ_TRY(run_write_pending(run, decision, eta_ms, &fresh->row, reterr_err));
    }
    return store_in_transaction(daemon->store) ? store_commit(daemon->store, reterr_err) : IJ_OK;
}

/* Reasons change rarely: one transaction for those that did. A back-off's reason is its failure. */
static enum ij_status save_reasons(struct daemon *daemon, struct view *view,
                                   struct ij_err *reterr_err)
{
    enum ij_status status = write_reasons(daemon, view, reterr_err);
    if (status != IJ_OK) {
        store_rollback(daemon->store);
        return status;
    }
    for (size_t i = 0; i < view->fresh_count; i++)
        view->fresh[i].run->row = view->fresh[i].row;
    return IJ_OK;
}

/* ---- Acts ------------------------------------------------------------------------------------ */

/* Devices first, so that the attempt can say which; a run that does not start gives them back. */
static enum ij_status start_one(struct daemon *daemon, struct run *run,
                                const struct scheduler_decision *decision,
                                struct ij_err *reterr_err)
{
    int64_t id = run->row.id;
    for (int32_t i = 0; i < run->row.slots; i++)
        device_table_hold(daemon->devices, decision->devices[i], id);
    enum ij_status status = run_start(run, reterr_err); /* may free the run */
    const struct run *live = queue_find(daemon, id);
    if (!live || !live->worker)
        device_table_release(daemon->devices, id);
    dcgm_map_write(daemon->config.dcgm_map_dir, daemon->devices);
    return status;
}

/* A start may fill a sweep, so that one of its runs in front keeps no device any more: another pass
 * sees that. */
static enum ij_status start_all(struct daemon *daemon, const struct view *view,
                                struct ij_err *reterr_err)
{
    bool any = false;
    for (size_t i = 0; i < view->plan.decision_count; i++)
        if (view->plan.decisions[i].start) {
            IJ_TRY(start_one(daemon, view->sources[view->plan.decisions[i].index],
                             &view->plan.decisions[i], reterr_err));
            any = true;
        }
    if (any)
        queue_schedule(daemon);
    return IJ_OK;
}

static enum ij_status preempt_all(const struct view *view, struct ij_err *reterr_err)
{
    for (size_t i = 0; i < view->plan.victim_count; i++) {
        const struct scheduler_victim *victim = &view->plan.victims[i];
        char text[128];
        snprintf(text, sizeof(text), "gives way to r%lld, which has a higher priority",
                 (long long)victim->for_run);
        IJ_TRY(run_yield(view->holders[victim->index], true, text, reterr_err));
    }
    return IJ_OK;
}

static enum ij_status decide(struct daemon *daemon, struct view *view, struct ij_err *reterr_err)
{
    const struct config *config = &daemon->config;
    char text[128];
    struct scheduler_input input = {.runs = view->runs,
                                    .run_count = view->run_count,
                                    .active = view->active,
                                    .active_count = view->active_count,
                                    .devices = view->devices,
                                    .device_count = view->device_count,
                                    .draining = daemon->draining,
                                    .now_ms = clock_wall_ms(),
                                    .age_ms = config->priority_age_s * 1000LL,
                                    .preempt_min_ms = config->preempt_min_runtime_s * 1000LL,
                                    .preempt_max = (int32_t)config->preempt_max,
                                    .user_max = (int32_t)config->quota_devices};
    input.blocked = find_block(daemon, text, &input.blocked_code);
    return scheduler_decide(&input, &view->plan, reterr_err);
}

void queue_pass(struct daemon *daemon)
{
    struct ij_err err = IJ_ERR_INIT;
    if (!daemon->run_count || daemon->storage_failed)
        return;
    struct view *view = view_new(daemon);
    enum ij_status status =
        view ? decide(daemon, view, &err) : IJ_ERR(&err, IJ_NO_MEMORY, "no memory to schedule");
    if (status == IJ_OK && !daemon->draining)
        status = save_reasons(daemon, view, &err);
    if (status == IJ_OK)
        status = preempt_all(view, &err);
    if (status == IJ_OK)
        status = start_all(daemon, view, &err);
    if (status != IJ_OK)
        daemon_storage_error(daemon, "the queue", &err);
    view_free(view);
    arm_due(daemon);
}
