/* See run.h. */
#include "daemon/run.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/audit.h"
#include "daemon/daemon.h"
#include "daemon/recorder.h"
#include "store/dep_row.h"
#include "store/event_row.h"
#include "store/sweep_row.h"

#define LOG_MODULE "run"

/* ---- Making and freeing ---------------------------------------------------------------------- */

static enum ij_status read_dependencies(struct run *run, struct ij_err *reterr_err)
{
    mem_auto struct dep_row *rows = NULL;
    size_t count = 0;
    IJ_TRY(dep_row_list(run->daemon->store, run->row.id, &rows, &count, reterr_err));
    if (!count)
        return IJ_OK;
    run->dependencies = mem_array(struct scheduler_dependency, count);
    if (!run->dependencies)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for dependencies");
    for (size_t i = 0; i < count; i++)
        run->dependencies[i] =
            (struct scheduler_dependency){.run = rows[i].on_run,
                                          .any = rows[i].condition == DEP_ROW_END,
                                          .state = rows[i].on_state};
    run->dependency_count = count;
    return IJ_OK;
}

static enum ij_status read_sweep(struct run *run, struct ij_err *reterr_err)
{
    struct sweep_row row = {0};
    if (!run->row.sweep)
        return IJ_OK;
    IJ_TRY(sweep_row_get(run->daemon->store, run->row.sweep, &row, reterr_err));
    run->sweep_max = row.max_parallel;
    sweep_row_done(&row);
    return IJ_OK;
}

enum ij_status run_new(struct daemon *daemon, struct run_row *row, struct run **ret_run,
                       struct ij_err *reterr_err)
{
    struct run *run = mem_new(struct run);
    if (!run)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a run");
    run->daemon = daemon;
    run->finished = IJ_STATUS_COUNT;
    run->row = *row;
    enum ij_status status = read_dependencies(run, reterr_err);
    if (status == IJ_OK)
        status = read_sweep(run, reterr_err);
    if (status != IJ_OK) {
        mem_free(run->dependencies);
        mem_free(run);
        return status;
    }
    *row = (struct run_row){0};
    *ret_run = run;
    return IJ_OK;
}

void run_free(struct run *run)
{
    if (!run)
        return;
    supervisor_free(run->worker);
    device_table_release(run->daemon->devices, run->row.id);
    recorder_forget(run);
    mem_free(run->dependencies);
    run_row_done(&run->row);
    mem_free(run);
}

void run_directory(const struct run *run, char *ret_path, size_t size)
{
    snprintf(ret_path, size, "%s/runs/r%lld", run->daemon->config.state_dir,
             (long long)run->row.id);
}

void run_work_directory(const struct run *run, char *ret_path, size_t size)
{
    run_directory(run, ret_path, size);
    size_t used = strlen(ret_path);
    if (run->row.scratch_attempt)
        snprintf(ret_path + used, size - used, "/from-a%d", run->row.scratch_attempt);
}

/* ---- Events ---------------------------------------------------------------------------------- */

json_t *run_state_json(const struct run *run)
{
    char deadline[CLOCK_RFC3339_SIZE];
    clock_rfc3339(run->row.deadline_ms, deadline);
    return json_pack("{s:o, s:s, s:s, s:s, s:s, s:o, s:i, s:I}", "run",
                     json_sprintf("r%lld", (long long)run->row.id), "state",
                     run_state_name(run->row.state), "desired",
                     run_state_desire_name(run->row.desired), "reason", run->row.reason,
                     "reason_text", run->row.reason_text, "deadline",
                     run->row.deadline_ms ? json_string(deadline) : json_null(), "attempt",
                     (int)run->row.attempts, "version", (json_int_t)run->row.ver);
}

enum ij_status run_append_event(struct run *run, const char *type, json_t *body, int64_t *ret_id,
                                struct ij_err *reterr_err)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an event");
    struct event_row row = {.ts_ms = clock_wall_ms(), .run = run->row.id, .body = text};
    snprintf(row.type, sizeof(row.type), "%s", type);
    enum ij_status status = event_row_append(run->daemon->store, &row, reterr_err);
    free(text);
    if (status == IJ_OK)
        *ret_id = row.id;
    return status;
}

/* ---- State ----------------------------------------------------------------------------------- */

void run_assert_state(const struct run *run)
{
    enum run_state state = run->row.state;
    IJ_ASSERT((unsigned)state < RUN_STATE_COUNT);
    IJ_ASSERT(run->row.id > 0);
    /* A live worker belongs to a state that may have one. */
    IJ_ASSERT(!run->worker || run_state_has_process(state) || run->end_waiting);
    /* Transitional states escalate by themselves. */
    IJ_ASSERT(!(state == RUN_STATE_STARTING || state == RUN_STATE_PAUSING ||
                state == RUN_STATE_STOPPING) ||
              run->row.deadline_ms > 0);
    IJ_ASSERT(state != RUN_STATE_BACKOFF || run->row.not_before_ms > 0);
    IJ_ASSERT(!run_state_is_terminal(state) || run->row.finished_ms > 0);
}

struct run_change run_change_of(const struct run *run, enum run_state to, const char *reason,
                                const char *text)
{
    return (struct run_change){.to = to,
                               .desired = run->row.desired,
                               .reason = reason,
                               .text = text,
                               .failures = (uint32_t)run->row.same_failures,
                               .stuck = (uint32_t)run->row.failures,
                               .failure = run->row.failure,
                               .queue_pos = run->row.queue_pos};
}

static void apply_change(struct run_row *row, const struct run_change *change, int64_t now_ms)
{
    char failure[sizeof(row->failure)]; /* may be the row's own */
    snprintf(failure, sizeof(failure), "%s", change->failure ? change->failure : "");
    snprintf(row->failure, sizeof(row->failure), "%s", failure);
    snprintf(row->reason, sizeof(row->reason), "%s", change->reason);
    snprintf(row->reason_text, sizeof(row->reason_text), "%s", change->text);
    row->state = change->to;
    row->desired = change->desired;
    row->deadline_ms = change->deadline_ms;
    row->not_before_ms = row->start_eta_ms = change->not_before_ms;
    row->failures = (int32_t)change->stuck;
    row->same_failures = (int32_t)change->failures;
    row->queue_pos = change->queue_pos;
    if (change->to == RUN_STATE_STARTING && !row->started_ms)
        row->started_ms = now_ms;
    row->finished_ms = run_state_is_terminal(change->to) ? now_ms : 0;
    row->preemptions += change->preempts;
    if (change->from_scratch)
        row->scratch_attempt = row->attempts + 1;
    if (change->queues_anew)
        row->queued_ms = now_ms;
    snprintf(row->blocking, sizeof(row->blocking), "[]");
}

/* Everything that a change writes, inside a transaction. `fresh` is the row as it will be. */
static enum ij_status write_change(struct run *run, struct run_row *fresh,
                                   const struct run_change *change, int64_t now_ms,
                                   int64_t *ret_event, struct ij_err *reterr_err)
{
    struct store *store = run->daemon->store;
    IJ_TRY(run_row_update_state(store, fresh, now_ms, reterr_err));
    if (change->attempt_begins)
        IJ_TRY(attempt_row_insert(store, &run->attempt, reterr_err));
    if (change->attempt_ends)
        IJ_TRY(attempt_row_update(store, &run->attempt, reterr_err));
    if (change->request)
        IJ_TRY(audit_request(store, change->request, run->row.id, reterr_err));
    struct run_row old = run->row;
    run->row = *fresh; /* for the event's body only */
    json_t *body = run_state_json(run);
    run->row = old;
    if (body)
        json_object_set_new(body, "from", json_string(run_state_name(old.state)));
    enum ij_status status = run_append_event(run, "run.state", body, ret_event, reterr_err);
    json_decref(body);
    return status;
}

/* Others wait for this run: keep what they know of it true. */
static void tell_dependents(const struct run *run)
{
    struct daemon *daemon = run->daemon;
    for (size_t i = 0; i < daemon->run_count; i++)
        for (size_t j = 0; j < daemon->runs[i]->dependency_count; j++)
            if (daemon->runs[i]->dependencies[j].run == run->row.id)
                daemon->runs[i]->dependencies[j].state = run->row.state;
}

static void publish_state(struct run *run, enum run_state from, int64_t event_id)
{
    json_t *body = run_state_json(run);
    if (body)
        json_object_set_new(body, "from", json_string(run_state_name(from)));
    event_bus_publish(run->daemon->bus, event_id, run->row.id, "run.state", body);
    json_decref(body);
}

enum ij_status run_set_state(struct run *run, const struct run_change *change,
                             struct ij_err *reterr_err)
{
    struct store *store = run->daemon->store;
    enum run_state from = run->row.state;
    int64_t now_ms = clock_wall_ms(), event_id = 0;
    IJ_ASSERT(change->to == from || run_machine_allowed(from, change->to));
    struct run_row fresh = run->row; /* shares the pointers */
    apply_change(&fresh, change, now_ms);
    if (change->attempt_begins) {
        fresh.attempts = run->attempt.n;
        snprintf(fresh.gpus, sizeof(fresh.gpus), "%s", run->attempt.gpus);
    }

    IJ_TRY(store_begin(store, reterr_err));
    enum ij_status status = write_change(run, &fresh, change, now_ms, &event_id, reterr_err);
    if (status == IJ_OK)
        status = store_commit(store, reterr_err);
    if (status != IJ_OK) {
        store_rollback(store);
        return status;
    }
    run->row = fresh;
    log_run(LOG_LEVEL_INFO, RUN_STATE, run->row.id, "%s -> %s%s%s", run_state_name(from),
            run_state_name(change->to), change->text[0] ? ": " : "", change->text);
    run_assert_state(run);
    tell_dependents(run);
    publish_state(run, from, event_id);
    return IJ_OK;
}

void run_blocking_text(const struct scheduler_decision *decision, char *ret_text, size_t size)
{
    size_t used = (size_t)snprintf(ret_text, size, "[");
    for (size_t i = 0; i < decision->blocking_count && used + 26 < size; i++)
        used += (size_t)snprintf(ret_text + used, size - used, "%s\"r%lld\"", i ? "," : "",
                                 (long long)decision->blocking[i]);
    snprintf(ret_text + used, size - used, "]");
}

enum ij_status run_write_pending(const struct run *run, const struct scheduler_decision *decision,
                                 int64_t start_eta_ms, struct run_row *ret_row,
                                 struct ij_err *reterr_err)
{
    IJ_ASSERT(store_in_transaction(run->daemon->store));
    struct run_row fresh = run->row;
    snprintf(fresh.reason, sizeof(fresh.reason), "%s", decision->code);
    snprintf(fresh.reason_text, sizeof(fresh.reason_text), "%s", decision->text);
    run_blocking_text(decision, fresh.blocking, sizeof(fresh.blocking));
    fresh.start_eta_ms = start_eta_ms;
    IJ_TRY(run_row_update_state(run->daemon->store, &fresh, clock_wall_ms(), reterr_err));
    *ret_row = fresh;
    return IJ_OK;
}
