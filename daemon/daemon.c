/* See daemon.h. */
#include "daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/dcgm_map.h"
#include "daemon/live_feed.h"
#include "daemon/backup.h"
#include "daemon/condition.h"
#include "daemon/drain.h"
#include "daemon/device_watch.h"
#include "daemon/gpu_inventory.h"
#include "daemon/gpu_sample.h"
#include "daemon/queue.h"
#include "daemon/reaper.h"
#include "daemon/recorder.h"
#include "daemon/recovery.h"
#include "daemon/retention.h"
#include "daemon/run_end.h"
#include "daemon/run_erase.h"
#include "daemon/run_verb.h"
#include "daemon/server_event.h"
#include "daemon/strays.h"
#include "daemon/tally.h"
#include "daemon/webhook.h"
#include "store/event_row.h"
#include "store/idem_row.h"

#define LOG_MODULE       "daemon"
#define TICK_US          1000000ull
#define PASS_MS          5000 /* a pass now and then finds freed disk space */
#define MAINTAIN_MS      10000
#define STORAGE_RETRY_MS 5000
#define LIFE_FILE        "running"

/* ---- Storage failures ------------------------------------------------------------------------ */

void daemon_storage_error(struct daemon *daemon, const char *what, const struct ij_err *err)
{
    bool fatal = err->code == IJ_IO || err->code == IJ_CORRUPT;
    log_message(LOG_LEVEL_ERR, STORAGE, "cannot store %s: %s%s", what, err->text,
                fatal ? "; stopping, the next start recovers" : ", trying again");
    daemon->storage_retry_ms = clock_monotonic_ms() + STORAGE_RETRY_MS;
    if (!fatal || daemon->storage_failed)
        return;
    daemon->storage_failed = true;
    (void)sd_event_exit(daemon->event, ij_status_exit_code(IJ_IO));
}

/* ---- What the last life left ----------------------------------------------------------------- */

/* How far the worker got that ended with the last life, as far as is known. */
static enum ij_status coldplug_attempt(struct run *run, bool *ret_found, struct ij_err *reterr_err)
{
    struct ij_err err = IJ_ERR_INIT;
    enum ij_status status =
        attempt_row_get(run->daemon->store, run->row.id, run->row.attempts, &run->attempt, &err);
    *ret_found = status == IJ_OK && !run->attempt.ended_ms;
    if (status != IJ_OK && status != IJ_NOT_FOUND && reterr_err)
        *reterr_err = err;
    run->attempt.ended_ms = clock_wall_ms();
    run->attempt.last_step = run->row.step;
    snprintf(run->attempt.cause, sizeof(run->attempt.cause), "daemon_restart");
    snprintf(run->attempt.text, sizeof(run->attempt.text),
             "the daemon ended, and its worker with it");
    return status == IJ_NOT_FOUND ? IJ_OK : status;
}

/* A run that had a worker has none now: back into the queue, unless a person wanted otherwise. */
static enum ij_status coldplug_state(struct run *run, struct ij_err *reterr_err)
{
    const struct run_row *row = &run->row;
    bool cancel = row->desired == RUN_STATE_DESIRE_CANCEL || row->desired == RUN_STATE_DESIRE_KILL;
    struct run_change change;
    if (!run_state_has_process(row->state))
        return IJ_OK;
    if (row->state == RUN_STATE_STOPPING && cancel)
        change = run_change_of(run, RUN_STATE_CANCELED, "user",
                               "canceled; the daemon ended while the run was stopping");
    else if (row->state == RUN_STATE_PAUSING && row->desired == RUN_STATE_DESIRE_PAUSE)
        change = run_change_of(run, RUN_STATE_PAUSED, "forced",
                               "the daemon ended while the run was pausing: it will go on from the "
                               "newest checkpoint");
    else
        change = run_change_of(run, RUN_STATE_QUEUED, "daemon_restart",
                               "the daemon ended; the run goes on from its newest checkpoint");
    IJ_TRY(coldplug_attempt(run, &change.attempt_ends, reterr_err));
    return run_set_state(run, &change, reterr_err);
}

static enum ij_status load_runs(struct daemon *daemon, struct ij_err *reterr_err)
{
    struct run_row_list list = {0};
    IJ_TRY(run_row_live(daemon->store, &list, reterr_err));
    enum ij_status status = IJ_OK;
    for (size_t i = 0; i < list.count && status == IJ_OK; i++) {
        struct run *run = NULL;
        status = run_new(daemon, &list.rows[i], &run, reterr_err);
        if (status == IJ_OK && (status = queue_add(daemon, run, reterr_err)) != IJ_OK)
            run_free(run);
    }
    run_row_list_done(&list);
    return status;
}

static enum ij_status coldplug(struct daemon *daemon, struct ij_err *reterr_err)
{
    int64_t removed, now_ms = clock_wall_ms();
    IJ_TRY(idem_row_trim(daemon->store, now_ms - IDEM_ROW_KEEP_MS, true, &removed, reterr_err));
    retention_finish(daemon);
    IJ_TRY(load_runs(daemon, reterr_err));
    for (size_t i = daemon->run_count; i > 0; i--) { /* backwards: a canceled one leaves the list */
        struct run *run = daemon->runs[i - 1];
        IJ_TRY(coldplug_state(run, reterr_err));
        run_end_forget(run);
    }
    return attempt_row_end_open(daemon->store, now_ms, "daemon_restart", reterr_err);
}

/* ---- The loop -------------------------------------------------------------------------------- */

/* The loop ends when nothing is left to wait for. */
static void end_if_drained(struct daemon *daemon)
{
    if (!daemon->draining)
        return;
    for (size_t i = 0; i < daemon->run_count; i++)
        if (daemon->runs[i]->worker && !daemon->runs[i]->end_waiting)
            return;
    (void)sd_event_exit(daemon->event, 0);
}

static int on_schedule(sd_event_source *source, void *user)
{
    (void)source;
    struct daemon *daemon = user;
    queue_pass(daemon);
    end_if_drained(daemon);
    return 0;
}

/* The scheduling pass after a back-off's end; it sets the timer for the next. */
static int on_due(sd_event_source *source, uint64_t usec, void *user)
{
    (void)source;
    (void)usec;
    queue_schedule(user);
    return 0;
}

static int on_commit(sd_event_source *source, uint64_t usec, void *user)
{
    (void)source;
    (void)usec;
    recorder_commit(user);
    return 0;
}

static int on_erase(sd_event_source *source, void *user)
{
    if (run_erase_some(user))
        (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

/* The progress of all runs in one transaction. */
static void save_progress(struct daemon *daemon)
{
    struct ij_err err = IJ_ERR_INIT;
    bool any = false;
    for (size_t i = 0; i < daemon->run_count; i++)
        any |= daemon->runs[i]->progress_dirty;
    if (!any)
        return;
    enum ij_status status = store_begin(daemon->store, &err);
    for (size_t i = 0; i < daemon->run_count && status == IJ_OK; i++)
        status = recorder_save_progress(daemon->runs[i], &err);
    if (status == IJ_OK)
        status = store_commit(daemon->store, &err);
    if (status != IJ_OK) {
        store_rollback(daemon->store);
        daemon_storage_error(daemon, "progress", &err);
    }
}

/* A log that grows without bound: a reader is open for too long, or the disk is too slow. */
static void watch_wal(struct daemon *daemon)
{
    struct store_facts facts;
    struct ij_err err = IJ_ERR_INIT;
    char text[160];
    store_facts(daemon->store, &facts);
    bool large = facts.wal_bytes > daemon->config.wal_alarm_bytes;
    if (!condition_set_wal_large(daemon->condition, large))
        return;
    snprintf(text, sizeof(text), "the write-ahead logs have %llu bytes, %s than %llu",
             (unsigned long long)facts.wal_bytes, large ? "more" : "again no more",
             (unsigned long long)daemon->config.wal_alarm_bytes);
    log_message(large ? LOG_LEVEL_WARN : LOG_LEVEL_NOTICE, ALERT, "%s", text);
    json_t *body = json_pack("{s:s, s:b, s:s}", "alert", "wal", "active", large, "text", text);
    if (server_event_put(daemon, "server.alert", body, &err) != IJ_OK)
        daemon_storage_error(daemon, "an alert", &err);
}

static void maintain(struct daemon *daemon, int64_t now_ms)
{
    struct ij_err err = IJ_ERR_INIT;
    int64_t removed;
    if (now_ms - daemon->maintained_ms < MAINTAIN_MS)
        return;
    daemon->maintained_ms = now_ms;
    enum ij_status status = store_maintain(daemon->store, &err);
    watch_wal(daemon);
    if (status == IJ_OK)
        status = event_row_trim(daemon->store, EVENT_ROW_KEEP_ROWS,
                                clock_wall_ms() - EVENT_ROW_KEEP_MS, &removed, &err);
    if (status == IJ_OK)
        status = delivery_row_trim(daemon->store, &removed, &err);
    if (status == IJ_OK)
        status =
            idem_row_trim(daemon->store, clock_wall_ms() - IDEM_ROW_KEEP_MS, false, &removed, &err);
    if (status != IJ_OK && status != IJ_BUSY)
        daemon_storage_error(daemon, "upkeep", &err);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *user)
{
    struct daemon *daemon = user;
    int64_t now_ms = clock_monotonic_ms();
    if (daemon->storage_failed)
        return 0;
    if (daemon->storage_retry_ms <= now_ms)
        for (size_t i = daemon->run_count; i > 0; i--)
            if (!run_end_retry(daemon->runs[i - 1]))
                break;
    strays_end(daemon);
    live_feed_flush(daemon);
    save_progress(daemon);
    webhook_pass(daemon->webhook);
    backup_tick(daemon->backup);
    maintain(daemon, now_ms);
    if (now_ms / PASS_MS != (now_ms - 1000) / PASS_MS)
        queue_schedule(daemon);
    end_if_drained(daemon);
    (void)sd_event_source_set_time(source, usec + TICK_US);
    return 0;
}

static enum ij_status add_sources(struct daemon *daemon, struct ij_err *reterr_err)
{
    uint64_t now_us = (uint64_t)clock_monotonic_ms() * 1000;
    int r = sd_event_add_defer(daemon->event, &daemon->schedule, on_schedule, daemon);
    if (r >= 0) /* after everything else that is ready */
        r = sd_event_source_set_priority(daemon->schedule, SD_EVENT_PRIORITY_IDLE);
    if (r >= 0)
        r = sd_event_add_defer(daemon->event, &daemon->erase, on_erase, daemon);
    if (r >= 0)
        r = sd_event_source_set_priority(daemon->erase, SD_EVENT_PRIORITY_IDLE);
    if (r >= 0)
        r = sd_event_source_set_enabled(daemon->erase, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time(daemon->event, &daemon->commit, CLOCK_MONOTONIC, UINT64_MAX, 1000,
                              on_commit, daemon);
    if (r >= 0)
        r = sd_event_source_set_enabled(daemon->commit, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time(daemon->event, &daemon->due, CLOCK_MONOTONIC, UINT64_MAX, 1000,
                              on_due, daemon);
    if (r >= 0)
        r = sd_event_source_set_enabled(daemon->due, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_time(daemon->event, &daemon->tick, CLOCK_MONOTONIC, now_us + TICK_US,
                              100000, on_tick, daemon);
    if (r >= 0)
        r = sd_event_source_set_enabled(daemon->tick, SD_EVENT_ON);
    if (r < 0)
        return IJ_ERR_SYS(reterr_err, -r, "", "cannot set up the event loop");
    return IJ_OK;
}

/* ---- Beginning and end of a life ------------------------------------------------------------- */

static void life_path(const struct daemon *daemon, char ret_path[CONFIG_PATH_MAX + 16])
{
    snprintf(ret_path, CONFIG_PATH_MAX + 16, "%s/" LIFE_FILE, daemon->config.state_dir);
}

/* A file that is there as long as a daemon runs. Found at the start: the last one did not end in
 * order, and the large database is looked through in the background. */
static enum ij_status note_life(struct daemon *daemon, struct ij_err *reterr_err)
{
    char path[CONFIG_PATH_MAX + 16];
    life_path(daemon, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        close(fd);
    else if (errno == EEXIST)
        backup_request_check(daemon->backup);
    else
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot create %s", path);
    daemon->life_noted = true;
    return IJ_OK;
}

static void end_life(const struct daemon *daemon)
{
    char path[CONFIG_PATH_MAX + 16];
    if (!daemon->life_noted || daemon->storage_failed)
        return;
    life_path(daemon, path);
    (void)unlink(path);
}

/* ---- Life ------------------------------------------------------------------------------------ */

static enum ij_status open_devices(struct daemon *daemon, struct ij_err *reterr_err)
{
    mem_auto struct cordon_row *cordons = NULL;
    size_t count = 0;
    IJ_TRY(cordon_row_list(daemon->store, &cordons, &count, reterr_err));
    drain_load(daemon, cordons, &count);
    IJ_TRY(device_table_new(cordons, count, &daemon->devices, reterr_err));
    (void)device_table_set_slots(daemon->devices, daemon->config.slots);
    return IJ_OK;
}

static void name_sqlite(const struct store *store)
{
    struct store_facts facts;
    store_facts(store, &facts);
    log_info("SQLite %s%s", facts.sqlite_version,
             facts.wal_reset_race
                 ? ": it has the WAL-reset race, which takes two writing connections; here is one"
                 : "");
}

enum ij_status daemon_open(struct daemon *daemon, const struct config *config,
                           struct ij_err *reterr_err)
{
    *daemon = (struct daemon){.config = *config};
    int r = sd_event_default(&daemon->event);
    if (r < 0)
        return IJ_ERR_SYS(reterr_err, -r, "", "cannot make an event loop");
    IJ_TRY(condition_new(&daemon->condition, reterr_err));
    IJ_TRY(tally_new(&daemon->tally, reterr_err));
    IJ_TRY(recovery_open(daemon, reterr_err));
    store_time_commits(daemon->store, tally_commits(daemon->tally));
    name_sqlite(daemon->store);
    IJ_TRY(event_bus_new(EVENT_BUS_SLOTS, &daemon->bus, reterr_err));
    IJ_TRY(open_devices(daemon, reterr_err));
    IJ_TRY(control_new(&daemon->control, reterr_err));
    IJ_TRY(webhook_new(daemon, &daemon->webhook, reterr_err));
    IJ_TRY(backup_new(daemon, &daemon->backup, reterr_err));
    IJ_TRY(add_sources(daemon, reterr_err));
    IJ_TRY(reaper_new(daemon->event, retention_reaped, daemon, &daemon->reaper, reterr_err));
    IJ_TRY(recovery_finish(daemon, reterr_err));
    IJ_TRY(note_life(daemon, reterr_err));
    IJ_TRY(coldplug(daemon, reterr_err));
    strays_adopt();
    IJ_TRY(device_watch_start(daemon, reterr_err));
    return control_attach(daemon->control, daemon->event, run_verb_handle, daemon, reterr_err);
}

enum ij_status daemon_run(struct daemon *daemon, struct ij_err *reterr_err)
{
    int r = sd_event_loop(daemon->event);
    control_close(daemon->control);
    if (r < 0)
        return IJ_ERR_SYS(reterr_err, -r, "", "the event loop failed");
    if (daemon->storage_failed)
        return IJ_ERR(reterr_err, IJ_IO, "the state could not be stored");
    return IJ_OK;
}

static void stop_run(struct daemon *daemon, struct run *run, bool at_once)
{
    struct ij_err err = IJ_ERR_INIT;
    int64_t grace_ms = daemon->config.stop_grace_s * 1000LL;
    if (!run->worker)
        return;
    if (at_once) {
        supervisor_kill(run->worker, RUN_MACHINE_BY_SHUTDOWN);
        return;
    }
    if (run->row.state == RUN_STATE_STARTING || run->row.state == RUN_STATE_RUNNING) {
        struct run_change change =
            run_change_of(run, RUN_STATE_PAUSING, "daemon_restart", "the daemon is stopping");
        change.deadline_ms = clock_wall_ms() + grace_ms;
        if (run_set_state(run, &change, &err) != IJ_OK)
            log_warn("%s; the run is stopped all the same", err.text);
    }
    supervisor_stop(run->worker, RUN_MACHINE_BY_SHUTDOWN, grace_ms);
}

void daemon_stop(struct daemon *daemon, bool at_once)
{
    daemon->draining = true;
    for (size_t i = 0; i < daemon->run_count; i++)
        stop_run(daemon, daemon->runs[i], at_once);
    queue_schedule(daemon);
}

void daemon_close(struct daemon *daemon)
{
    end_life(daemon);
    control_free(daemon->control);
    backup_free(daemon->backup);
    gpu_inventory_free(daemon->inventory);
    gpu_sample_free(daemon->samples);
    for (size_t i = 0; i < daemon->run_count; i++)
        run_free(daemon->runs[i]);
    if (daemon->devices)
        dcgm_map_write(daemon->config.dcgm_map_dir, daemon->devices);
    mem_free(daemon->runs);
    webhook_free(daemon->webhook);
    sd_event_source_disable_unref(daemon->schedule);
    sd_event_source_disable_unref(daemon->tick);
    sd_event_source_disable_unref(daemon->commit);
    sd_event_source_disable_unref(daemon->erase);
    reaper_free(daemon->reaper);
    mem_free(daemon->erased);
    sd_event_source_disable_unref(daemon->due);
    store_close(daemon->store);
    event_bus_free(daemon->bus);
    condition_free(daemon->condition);
    tally_free(daemon->tally);
    device_table_free(daemon->devices);
    sd_event_unref(daemon->event);
    *daemon = (struct daemon){0};
}

void daemon_summary(const struct daemon *daemon, char *ret_text, size_t size)
{
    size_t active = 0, waiting = 0;
    for (size_t i = 0; i < daemon->run_count; i++) {
        enum run_state state = daemon->runs[i]->row.state;
        active += run_state_has_process(state);
        waiting += state == RUN_STATE_QUEUED || state == RUN_STATE_BACKOFF;
    }
    snprintf(ret_text, size, "%zu running, %zu queued%s", active, waiting,
             daemon->draining ? ", stopping" : "");
}
