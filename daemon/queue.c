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
#include "daemon/run_start.h"
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

/* The end of a run's back-off. One further away than any back-off lasts comes from a clock that was
 * set back since: it counts as over. */
static int64_t due_ms(const struct daemon *daemon, const struct run_row *row, int64_t now_ms)
{
    int64_t longest = (int64_t)daemon->config.retry_cap_ms + daemon->config.retry_cap_ms / 8;
    return row->not_before_ms - now_ms > longest ? now_ms : row->not_before_ms;
}

/* Wakes the queue when the next back-off ends. */
static void arm_due(struct daemon *daemon)
{
    int64_t now_ms = clock_wall_ms(), due = INT64_MAX;
    for (size_t i = 0; i < daemon->run_count; i++) {
        const struct run_row *row = &daemon->runs[i]->row;
        if (row->state == RUN_STATE_BACKOFF && row->not_before_ms > now_ms &&
            due_ms(daemon, row, now_ms) < due)
            due = due_ms(daemon, row, now_ms);
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
    if (free_bytes >= floor)
        return NULL;
    *ret_code = "disk";
    snprintf(text, 128, "%llu MiB free in the state directory, %llu MiB wanted",
             (unsigned long long)(free_bytes >> 20), (unsigned long long)(floor >> 20));
    return text;
}

/* The scheduler's view of the queue. */
struct view {
    struct run **sources;  /* sources[i] is behind runs[i] */
    struct run_row *fresh; /* rows with new reasons, by decision; id 0: unchanged */
    struct scheduler_run *runs;
    struct scheduler_active *active;
    struct scheduler_decision *decisions;
    size_t run_count, active_count, decision_count;
};

static void view_done(struct view *view)
{
    mem_free(view->sources);
    mem_free(view->fresh);
    mem_free(view->runs);
    mem_free(view->active);
    mem_free(view->decisions);
}

static bool view_init(const struct daemon *daemon, struct view *view)
{
    *view = (struct view){.sources = mem_array(struct run *, daemon->run_count),
                          .fresh = mem_array(struct run_row, daemon->run_count),
                          .runs = mem_array(struct scheduler_run, daemon->run_count),
                          .active = mem_array(struct scheduler_active, daemon->run_count),
                          .decisions = mem_array(struct scheduler_decision, daemon->run_count)};
    if (!view->sources || !view->fresh || !view->runs || !view->active || !view->decisions)
        return false;
    int64_t now_ms = clock_wall_ms();
    for (size_t i = 0; i < daemon->run_count; i++) {
        const struct run *run = daemon->runs[i];
        const struct run_row *row = &run->row;
        if (run_state_has_process(row->state) || run->worker) {
            view->active[view->active_count++] = (struct scheduler_active){
                .id = row->id, .slots = row->slots, .eta_s = row->eta_s, .sweep = row->sweep};
            continue;
        }
        view->sources[view->run_count] = daemon->runs[i];
        view->runs[view->run_count++] =
            (struct scheduler_run){.id = row->id,
                                   .state = row->state,
                                   .priority = row->priority,
                                   .queue_pos = row->queue_pos,
                                   .slots = row->slots,
                                   .sweep = row->sweep,
                                   .sweep_max = run->sweep_max,
                                   .not_before_ms = due_ms(daemon, row, now_ms),
                                   .dependencies = run->dependencies,
                                   .dependency_count = run->dependency_count};
    }
    return true;
}

static int64_t eta_of(const struct scheduler_decision *decision)
{
    if (isnan(decision->eta_s) || decision->eta_s > ETA_MAX_S)
        return 0;
    return clock_wall_ms() + (int64_t)(decision->eta_s * 1000);
}

/* Reasons change rarely: one transaction for those that did. A back-off's reason is its failure. */
static enum ij_status save_reasons(struct daemon *daemon, const struct view *view,
                                   struct ij_err *reterr_err)
{
    enum ij_status status = IJ_OK;
    for (size_t i = 0; i < view->decision_count && status == IJ_OK; i++) {
        const struct scheduler_decision *decision = &view->decisions[i];
        const struct run *run = view->sources[decision->index];
        int64_t eta_ms = eta_of(decision);
        if (decision->start || run->row.state != RUN_STATE_QUEUED ||
            (strcmp(run->row.reason, decision->code) == 0 &&
             strcmp(run->row.reason_text, decision->text) == 0 &&
             llabs(eta_ms - run->row.start_eta_ms) < ETA_SLACK_MS))
            continue;
        if (!store_in_transaction(daemon->store))
            status = store_begin(daemon->store, reterr_err);
        if (status == IJ_OK)
            status = run_write_pending(run, decision->code, decision->text, eta_ms, &view->fresh[i],
                                       reterr_err);
    }
    if (status == IJ_OK && store_in_transaction(daemon->store))
        status = store_commit(daemon->store, reterr_err);
    if (status != IJ_OK) {
        store_rollback(daemon->store);
        return status;
    }
    for (size_t i = 0; i < view->decision_count; i++)
        if (view->fresh[i].id)
            view->sources[view->decisions[i].index]->row = view->fresh[i];
    return IJ_OK;
}

static enum ij_status start_all(const struct view *view, struct ij_err *reterr_err)
{
    for (size_t i = 0; i < view->decision_count; i++)
        if (view->decisions[i].start)
            IJ_TRY(run_start(view->sources[view->decisions[i].index], reterr_err));
    return IJ_OK;
}

void queue_pass(struct daemon *daemon)
{
    struct ij_err err = IJ_ERR_INIT;
    struct view view;
    char text[128];
    struct scheduler_input input = {.slots = (int32_t)daemon->config.slots,
                                    .draining = daemon->draining,
                                    .now_ms = clock_wall_ms()};
    if (!daemon->run_count || daemon->storage_failed)
        return;
    input.blocked = find_block(daemon, text, &input.blocked_code);
    enum ij_status status =
        view_init(daemon, &view) ? IJ_OK : IJ_ERR(&err, IJ_NO_MEMORY, "no memory to schedule");
    input.runs = view.runs;
    input.run_count = view.run_count;
    input.active = view.active;
    input.active_count = view.active_count;
    if (status == IJ_OK)
        status = scheduler_decide(&input, view.decisions, &view.decision_count, &err);
    if (status == IJ_OK && !daemon->draining)
        status = save_reasons(daemon, &view, &err);
    if (status == IJ_OK)
        status = start_all(&view, &err);
    if (status != IJ_OK)
        daemon_storage_error(daemon, "the queue", &err);
    view_done(&view);
    arm_due(daemon);
}
