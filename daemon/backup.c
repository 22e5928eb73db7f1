/* See backup.h. The thread touches its `job` only; `done` says that it will not any more. */
#include "daemon/backup.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/condition.h"
#include "daemon/server_event.h"
#include "store/backup_set.h"
#include "store/store.h"

#define LOG_MODULE "backup"
#define RETRY_MS   60000 /* after one that failed */

enum job_kind { JOB_STATE, JOB_METRICS, JOB_CHECK };

struct job {
    enum job_kind kind;
    char directory[CONFIG_PATH_MAX];
    uint64_t floor_bytes;
    size_t keep;
    int64_t made_ms;
    enum ij_status status;
    struct ij_err err;
    _Atomic bool done;
};

struct backup {
    struct daemon *daemon;
    struct job job;
    pthread_t thread;
    bool running, requested, check_requested;
    int64_t not_before_ms; /* monotonic */
};

/* ---- The thread ------------------------------------------------------------------------------ */

static enum ij_status check_metrics(struct job *job)
{
    struct store *store = NULL;
    IJ_TRY(store_reader_open(job->directory, &store, &job->err));
    enum ij_status status = store_check(store, &job->err);
    store_close(store);
    return status;
}

static enum ij_status do_job(struct job *job)
{
    bool metrics = job->kind == JOB_METRICS;
    if (job->kind == JOB_CHECK)
        return check_metrics(job);
    IJ_TRY(backup_set_make(job->directory, metrics, job->made_ms, job->floor_bytes, &job->err));
    return backup_set_prune(job->directory, metrics, job->keep, &job->err);
}

static void *run_job(void *user)
{
    struct job *job = user;
    job->status = do_job(job);
    atomic_store(&job->done, true);
    return NULL;
}

static void start(struct backup *backup, enum job_kind kind)
{
    const struct config *config = &backup->daemon->config;
    sigset_t all, old;
    backup->job = (struct job){.kind = kind,
                               .floor_bytes = config->disk_floor_bytes,
                               .keep = kind == JOB_METRICS ? config->backup_metrics_keep
                                                           : config->backup_keep,
                               .made_ms = clock_wall_ms()};
    snprintf(backup->job.directory, sizeof(backup->job.directory), "%s", config->state_dir);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int error = pthread_create(&backup->thread, NULL, run_job, &backup->job);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    backup->running = error == 0;
    if (error)
        backup->not_before_ms = clock_monotonic_ms() + RETRY_MS;
    condition_set_backup_running(backup->daemon->condition, backup->running);
}

/* ---- The loop's side ------------------------------------------------------------------------- */

static void tell_failure(struct backup *backup, const char *type)
{
    struct daemon *daemon = backup->daemon;
    struct ij_err err = IJ_ERR_INIT;
    if (backup->job.kind == JOB_CHECK)
        log_message(LOG_LEVEL_ERR, ALERT, "%s", backup->job.err.text);
    else
        log_message(LOG_LEVEL_ERR, BACKUP_FAILED, "%s", backup->job.err.text);
    enum ij_status status =
        server_event_put(daemon, type, json_pack("{s:s}", "text", backup->job.err.text), &err);
    if (status != IJ_OK)
        log_warn("%s, ignoring", err.text);
}

static void finish(struct backup *backup)
{
    struct condition *condition = backup->daemon->condition;
    const struct job *job = &backup->job;
    (void)pthread_join(backup->thread, NULL);
    backup->running = false;
    condition_set_backup_running(condition, false);
    if (job->kind == JOB_CHECK) {
        if (job->status == IJ_CORRUPT) {
            condition_set_metrics_damaged(condition);
            tell_failure(backup, "server.alert");
        }
    } else if (job->status == IJ_OK) {
        condition_set_backup(condition, job->kind == JOB_METRICS, job->made_ms);
        condition_set_backup_error(condition, "");
        log_info("backup of %s made and checked", job->kind == JOB_METRICS ? "metrics" : "state");
    } else {
        condition_set_backup_error(condition, job->err.text);
        backup->not_before_ms = clock_monotonic_ms() + RETRY_MS;
        tell_failure(backup, "server.backup_failed");
    }
}

static bool is_due(int64_t last_ms, uint32_t period_s, int64_t now_ms)
{
    if (!period_s)
        return false;
    return now_ms - last_ms >= period_s * 1000LL ||
           last_ms > now_ms; /* or the clock was set back */
}

void backup_tick(struct backup *backup)
{
    const struct config *config = &backup->daemon->config;
    struct condition_view view;
    if (backup->running && atomic_load(&backup->job.done))
        finish(backup);
    if (backup->running || backup->not_before_ms > clock_monotonic_ms())
        return;
    condition_read(backup->daemon->condition, &view);
    int64_t now_ms = clock_wall_ms();
    if (backup->requested || is_due(view.backup_ms[0], config->backup_period_s, now_ms)) {
        backup->requested = false;
        start(backup, JOB_STATE);
    } else if (backup->check_requested) {
        backup->check_requested = false;
        start(backup, JOB_CHECK);
    } else if (is_due(view.backup_ms[1], config->backup_metrics_period_s, now_ms)) {
        start(backup, JOB_METRICS);
    }
}

void backup_request(struct backup *backup)
{
    backup->requested = true;
    backup->not_before_ms = 0;
}

void backup_request_check(struct backup *backup)
{
    backup->check_requested = true;
}

enum ij_status backup_new(struct daemon *daemon, struct backup **ret_backup,
                          struct ij_err *reterr_err)
{
    mem_auto struct backup_set_entry *entries = NULL;
    struct ij_err err = IJ_ERR_INIT;
    size_t count = 0;
    if (backup_set_list(daemon->config.state_dir, &entries, &count, &err) != IJ_OK)
        log_warn("%s; the next backup will tell", err.text);
    for (size_t i = count; i > 0; i--) /* oldest first: the newest remains */
        condition_set_backup(daemon->condition, entries[i - 1].metrics, entries[i - 1].made_ms);
    struct backup *backup = mem_new(struct backup);
    if (!backup)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for backups");
    backup->daemon = daemon;
    *ret_backup = backup;
    return IJ_OK;
}

void backup_free(struct backup *backup)
{
    if (!backup)
        return;
    if (backup->running)
        (void)pthread_join(backup->thread, NULL);
    mem_free(backup);
}
