/* See run_end.h. */
#include "daemon/run_end.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/daemon.h"
#include "daemon/dcgm_map.h"
#include "daemon/device_verb.h"
#include "daemon/device_watch.h"
#include "daemon/gpu_fault.h"
#include "daemon/live_feed.h"
#include "daemon/queue.h"
#include "daemon/record_event.h"
#include "daemon/recorder.h"
#include "daemon/retention.h"
#include "daemon/tally.h"
#include "store/checkpoint_row.h"

#define LOG_MODULE "run_end"

static uint32_t jitter(void)
{
    uint32_t value = 0;
    if (getrandom(&value, sizeof(value), GRND_NONBLOCK) != (ssize_t)sizeof(value))
        value = (uint32_t)clock_monotonic_ns();
    return value;
}

/* The worker's last message counts where its exit code agrees with it. Exit code 0 without one, or
 * against one, is not success. */
static void fill_status(const struct run *run, struct run_machine_end *end)
{
    bool said = run->finished != IJ_STATUS_COUNT;
    if (end->exit_code < 0)
        return;
    if (said && ij_status_exit_code(run->finished) == end->exit_code) {
        end->status = run->finished;
        if (!end->text[0])
            end->text = run->finished_text;
    } else if (end->exit_code == 0) {
        end->exit_code = ij_status_exit_code(IJ_INTERNAL);
        end->status = IJ_INTERNAL;
        end->text = "the worker exited with code 0 but did not report that it had finished";
    } else {
        end->status = ij_status_from_exit_code(end->exit_code);
    }
}

static void judge(const struct run *run, struct run_machine_verdict *ret_verdict)
{
    const struct config *config = &run->daemon->config;
    struct run_machine_policy policy = {.failures_max = config->retry_failures_max,
                                        .stuck_max = config->retry_stuck_max,
                                        .base_ms = config->retry_base_ms,
                                        .cap_ms = config->retry_cap_ms};
    struct run_machine_end end = {.state = run->row.state,
                                  .desired = run->row.desired,
                                  .cause = run->end.cause,
                                  .exit_code = run->end.exit_code,
                                  .signal = run->end.signal,
                                  .escalated = run->end.escalated,
                                  .out_of_memory = run->end.out_of_memory,
                                  .newer_checkpoint = run->newer_checkpoint,
                                  .rewound = run->rewound,
                                  .text = run->end.text,
                                  .xid = run->xid,
                                  .xid_text = gpu_fault_find(run->xid)->text,
                                  .failures = (uint32_t)run->row.same_failures,
                                  .stuck = (uint32_t)run->row.failures,
                                  .last_cause = run->row.failure,
                                  .random = jitter()};
    fill_status(run, &end);
    run_machine_judge(&end, &policy, ret_verdict);
}

static void fill_attempt(struct run *run, const struct run_machine_verdict *verdict)
{
    struct attempt_row *attempt = &run->attempt;
    attempt->ended_ms = clock_wall_ms();
    attempt->exit_code = run->end.exit_code;
    attempt->signal = run->end.signal;
    attempt->last_step = run->row.step;
    snprintf(attempt->cause, sizeof(attempt->cause), "%s", verdict->cause);
    snprintf(attempt->text, sizeof(attempt->text), "%s", verdict->text);
}

/* Could the devices be to blame? */
static bool is_device_like(const struct run *run, const struct run_machine_verdict *verdict)
{
    return verdict->failed && (run->xid || run->end.exit_code < 0 ||
                               run->end.exit_code == ij_status_exit_code(IJ_DEVICE));
}

/* A pause that had to be forced says what it cost: steps told of since the newest checkpoint. */
static void tell_lost_steps(const struct run *run, struct run_machine_verdict *verdict)
{
    struct checkpoint_row newest = {.step = 0};
    size_t used = strlen(verdict->text);
    if (verdict->to != RUN_STATE_PAUSED || strcmp(verdict->reason, "forced") != 0)
        return;
    if (checkpoint_row_newest(run->daemon->store, run->row.id, &newest, NULL) != IJ_OK)
        newest.step = 0;
    uint64_t lost = run->row.step > newest.step ? run->row.step - newest.step : 0;
    snprintf(verdict->text + used, sizeof(verdict->text) - used, "; %llu steps are lost",
             (unsigned long long)lost);
}

/* Commits what the end means. IJ_OK: the run is in its next state. */
static enum ij_status settle(struct run *run, struct ij_err *reterr_err)
{
    struct run_machine_verdict verdict;
    judge(run, &verdict);
    tell_lost_steps(run, &verdict);
    fill_attempt(run, &verdict);
    struct run_change change = run_change_of(run, verdict.to, verdict.reason, verdict.text);
    change.attempt_ends = true;
    change.failures = verdict.failures;
    change.stuck = verdict.stuck;
    if (verdict.failed || run->rewound)
        change.failure = verdict.cause;
    if (verdict.first) {
        change.queue_pos = queue_front(run->daemon, run->row.priority);
        change.queues_anew = true;
    }
    if (verdict.to == RUN_STATE_BACKOFF)
        change.not_before_ms = clock_wall_ms() + verdict.delay_ms;
    run->backoff_end_ms = clock_monotonic_ms() + verdict.delay_ms;
    if (verdict.to == RUN_STATE_SUCCEEDED) { /* the last reports need not say 100 % */
        run->row.step = run->row.steps;
        run->row.eta_s = 0;
        run->progress_dirty = true;
    }
    IJ_TRY(recorder_save_progress(run, reterr_err));
    IJ_TRY(run_set_state(run, &change, reterr_err));
    if (verdict.failed)
        tally_count_failure(run->daemon->tally, verdict.cause);
    if (is_device_like(run, &verdict))
        device_watch_death(run);
    return IJ_OK;
}

void run_end_forget(struct run *run)
{
    if (!run_state_is_terminal(run->row.state))
        return;
    queue_remove(run->daemon, run);
    run_free(run);
}

bool run_end_retry(struct run *run)
{
    struct daemon *daemon = run->daemon;
    struct ij_err err = IJ_ERR_INIT;
    if (!run->end_waiting)
        return true;
    if (settle(run, &err) != IJ_OK) {
        daemon_storage_error(daemon, "the end of a worker", &err);
        return false;
    }
    run->end_waiting = false;
    supervisor_free(run->worker);
    run->worker = NULL;
    device_table_release(daemon->devices, run->row.id);
    dcgm_map_write(daemon->config.dcgm_map_dir, daemon->devices);
    recorder_forget(run);
    run->worker_keep = 0;
    retention_apply(daemon, &run->row, 0);
    run_assert_state(run);
    run_end_forget(run);
    queue_schedule(daemon);
    return true;
}

void run_end_of_worker(void *user, const struct supervisor_end *end)
{
    struct run *run = user;
    recorder_commit(run->daemon);
    live_feed_end(run);
    run->end = *end;
    run->end_waiting = true;
    (void)run_end_retry(run);
}

/* The devices stay with the run until its process has gone; a GPU is not trusted after that. */
static void cordon_gpus(struct run *run)
{
    const struct device_table *table = run->daemon->devices;
    char reason[64];
    snprintf(reason, sizeof(reason), "unkillable: the worker of r%lld", (long long)run->row.id);
    for (size_t i = 0; i < device_table_count(table); i++) {
        struct ij_err err;
        const struct device *device = device_table_at(table, i);
        bool due = device->run == run->row.id && device->kind == DEVICE_GPU;
        if (due && !device->cordon.ts_ms &&
            device_verb_fault(run->daemon, i, reason, &err) != IJ_OK)
            log_line(LOG_LEVEL_ERR, LOG_MODULE, run->row.id, "%s", err.text);
    }
}

void run_end_is_overdue(void *user)
{
    struct run *run = user;
    enum run_machine_cause cause;
    struct ij_err err;
    json_t *message =
        json_pack("{s:s, s:s}", "code", "unkillable", "text",
                  "the worker did not end after SIGKILL; its devices stay taken until "
                  "it does");
    if (!message || record_event_warning(run, message, &cause, &err) != IJ_OK)
        log_line(LOG_LEVEL_ERR, LOG_MODULE, run->row.id, "the worker does not end after SIGKILL");
    json_decref(message);
    cordon_gpus(run);
}

void run_end_before_start(struct run *run, const struct ij_err *err)
{
    struct supervisor_end end = {.cause = RUN_MACHINE_BY_ITSELF,
                                 .exit_code = ij_status_exit_code(IJ_IO)};
    run->finished = IJ_IO;
    snprintf(run->finished_text, sizeof(run->finished_text), "%s", err->text);
    run_end_of_worker(run, &end);
}
