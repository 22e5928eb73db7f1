/* See retention.h. */
#include "daemon/retention.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/audit.h"
#include "daemon/manifest_scan.h"
#include "daemon/queue.h"
#include "daemon/reaper.h"
#include "daemon/run.h"
#include "daemon/run_erase.h"
#include "store/event_row.h"
#include "store/metric_query.h"

#define LOG_MODULE   "retention"
#define DOOMED       ".tmp-removed" /* also the worker's name for what it removes */
#define DELETING_MAX REAPER_QUEUE_MAX
#define ROWS_MAX     100000
#define LATEST       3 /* where a run's parameters do not say */

/* ---- Events ---------------------------------------------------------------------------------- */

enum ij_status retention_commit(struct daemon *daemon, const struct control_request *request,
                                int64_t run, const char *type, json_t *body,
                                struct ij_err *reterr_err)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an event");
    struct event_row row = {.ts_ms = 0, .run = run, .body = text};
    snprintf(row.type, sizeof(row.type), "%s", type);
    row.ts_ms = clock_wall_ms();
    enum ij_status status = event_row_append(daemon->store, &row, reterr_err);
    free(text);
    if (status == IJ_OK && request)
        status = audit_request(daemon->store, request, run, reterr_err);
    if (status == IJ_OK)
        status = store_commit(daemon->store, reterr_err);
    if (status == IJ_OK)
        event_bus_publish(daemon->bus, row.id, run, type, body);
    return status;
}

/* ---- Checkpoints ----------------------------------------------------------------------------- */

static void marker_path(const struct checkpoint_row *row, char ret_path[1100])
{
    snprintf(ret_path, 1100, "%s.pinned", row->path);
}

static json_t *checkpoint_json(const struct checkpoint_row *row)
{
    return json_pack("{s:o, s:o, s:I, s:b}", "run", json_sprintf("r%lld", (long long)row->run),
                     "checkpoint", json_sprintf("c%lld", (long long)row->id), "step",
                     (json_int_t)row->step, "pinned", row->pinned);
}

/* A file that cannot be written is no failure of the state's storage. */
static enum ij_status write_marker(const struct checkpoint_row *row, const char *marker,
                                   struct ij_err *reterr_err)
{
    struct ij_err err = IJ_ERR_INIT;
    if (file_write_durable(marker, "", 0, 0600, &err) == IJ_OK)
        return IJ_OK;
    return IJ_ERR(reterr_err, IJ_CONFLICT, "c%lld cannot be pinned: %s", (long long)row->id,
                  err.text);
}

/* The file that the worker heeds is there before the row says so, and goes after it. */
static enum ij_status pin(struct daemon *daemon, const struct control_request *request,
                          struct checkpoint_row *row, struct control_reply *reply)
{
    const json_t *value = json_object_get(request->body, "pinned");
    char marker[1100];
    if (!json_is_boolean(value) || json_object_size(request->body) != 1)
        return IJ_ERR_FIELD(&reply->err, IJ_INVALID, "/pinned", "must be true or false");
    if (row->state != CHECKPOINT_ROW_VALID)
        return IJ_ERR(&reply->err, IJ_CONFLICT, "c%lld is %s", (long long)row->id,
                      checkpoint_row_state_name(row->state));
    marker_path(row, marker);
    row->pinned = json_is_true(value);
    if (row->pinned)
        IJ_TRY(write_marker(row, marker, &reply->err));
    IJ_TRY(store_begin(daemon->store, &reply->err));
    json_t *body = checkpoint_json(row);
    enum ij_status status =
        checkpoint_row_set_pinned(daemon->store, row->id, row->pinned, &reply->err);
    if (status == IJ_OK)
        status =
            retention_commit(daemon, request, row->run, "run.checkpoint_pinned", body, &reply->err);
    json_decref(body);
    if (status != IJ_OK)
        store_rollback(daemon->store);
    else if (!row->pinned && unlink(marker) < 0 && errno != ENOENT)
        log_warn("cannot remove %s: %s; the worker will keep that checkpoint", marker,
                 strerror(errno));
    return status;
}

/* In the reaper's thread. The run's newest checkpoint is read to its last byte before this one is
 * moved out of the way: a disk may have lost what it was given. A witness that was replaced while
 * it was read is read again. IJ_CORRUPT, IJ_NOT_FOUND: there is no such witness. */
static enum ij_status make_way(const struct reaper_job *job, struct ij_err *reterr_err)
{
    if (access(job->from, F_OK) < 0 && errno == ENOENT) /* in an earlier life */
        return IJ_OK;
    if (!job->witness_id)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "the run has no other checkpoint");
    if (manifest_scan_verify(job->witness, NULL) != IJ_OK)
        IJ_TRY(manifest_scan_verify(job->witness, reterr_err));
    IJ_TRY(file_remove_tree(job->path, reterr_err));
    if (rename(job->from, job->path) < 0 && errno != ENOENT)
        return IJ_ERR_SYS(reterr_err, errno, job->from, "cannot rename %s", job->from);
    return IJ_OK;
}

/* The files of a row that says "deleting": gone when the reaper comes to them. */
static void reap(struct daemon *daemon, const struct checkpoint_row *row)
{
    struct ij_err err = IJ_ERR_INIT;
    struct checkpoint_row newest;
    struct reaper_job job = {.kind = REAPER_CHECKPOINT, .id = row->id, .guard = make_way};
    snprintf(job.path, sizeof(job.path), "%s" DOOMED, row->path);
    snprintf(job.from, sizeof(job.from), "%s", row->path);
    enum ij_status status = checkpoint_row_newest(daemon->store, row->run, &newest, &err);
    if (status == IJ_OK) {
        job.witness_id = newest.id;
        snprintf(job.witness, sizeof(job.witness), "%s", newest.path);
    }
    if (status == IJ_OK || status == IJ_NOT_FOUND)
        status = reaper_submit(daemon->reaper, &job, &err);
    if (status != IJ_OK)
        log_warn("c%lld: %s, trying again at the next start", (long long)row->id, err.text);
}

/* The newest checkpoint of a run is damaged or lost, so the one that was to be deleted stays. */
static enum ij_status give_back(struct daemon *daemon, const struct reaper_job *job,
                                const struct ij_err *why, struct ij_err *reterr_err)
{
    bool damaged = why->code == IJ_CORRUPT;
    struct checkpoint_row row;
    IJ_TRY(checkpoint_row_get(daemon->store, job->id, &row, reterr_err));
    IJ_TRY(store_begin(daemon->store, reterr_err));
    json_t *body =
        json_pack("{s:o, s:s, s:o}", "run", json_sprintf("r%lld", (long long)row.run), "code",
                  damaged ? "checkpoint_corrupt" : "checkpoint_lost", "text",
                  json_sprintf("%s; c%lld is not deleted", why->text, (long long)job->id));
    enum ij_status status =
        checkpoint_row_set_state(daemon->store, job->id, CHECKPOINT_ROW_VALID, reterr_err);
    if (status == IJ_OK && job->witness_id)
        status = checkpoint_row_set_state(daemon->store, job->witness_id,
                                          damaged ? CHECKPOINT_ROW_CORRUPT : CHECKPOINT_ROW_GONE,
                                          reterr_err);
    if (status == IJ_OK)
        status = retention_commit(daemon, NULL, row.run, "run.warning", body, reterr_err);
    json_decref(body);
    if (status != IJ_OK)
        store_rollback(daemon->store);
    return status;
}

void retention_reaped(void *user, const struct reaper_job *job, const struct ij_err *err)
{
    struct daemon *daemon = user;
    struct ij_err failed = IJ_ERR_INIT;
    const char *name = job->kind == REAPER_RUN ? "r" : "c";
    if (err && job->guard && (err->code == IJ_CORRUPT || err->code == IJ_NOT_FOUND)) {
        log_err("%s; c%lld is not deleted", err->text, (long long)job->id);
        if (give_back(daemon, job, err, &failed) != IJ_OK && failed.code != IJ_NOT_FOUND)
            daemon_storage_error(daemon, "a checkpoint that stays", &failed);
    } else if (err)
        log_err("%s%lld: %s, trying again at the next start", name, (long long)job->id, err->text);
    else if (job->kind == REAPER_CHECKPOINT &&
             checkpoint_row_set_state(daemon->store, job->id, CHECKPOINT_ROW_GONE, &failed) !=
                 IJ_OK &&
             failed.code != IJ_NOT_FOUND) /* its run may have been deleted meanwhile */
        daemon_storage_error(daemon, "a deletion", &failed);
}

enum ij_status retention_check_checkpoint(struct store *store, const struct checkpoint_row *row,
                                          struct ij_err *reterr_err)
{
    struct checkpoint_row newest;
    int64_t reader = 0;
    const char *why = row->state != CHECKPOINT_ROW_VALID ? checkpoint_row_state_name(row->state)
                      : row->pinned                      ? "pinned"
                                                         : NULL;
    if (!why && checkpoint_row_newest(store, row->run, &newest, NULL) == IJ_OK &&
        newest.id == row->id)
        why = "the newest valid one of its run";
    if (why)
        return IJ_ERR(reterr_err, IJ_CONFLICT, "checkpoint c%lld cannot be deleted: it is %s",
                      (long long)row->id, why);
    IJ_TRY(checkpoint_row_reader(store, row, &reader, reterr_err));
    if (reader)
        return IJ_ERR(reterr_err, IJ_CONFLICT,
                      "checkpoint c%lld cannot be deleted: r%lld, which has not ended, reads it",
                      (long long)row->id, (long long)reader);
    return IJ_OK;
}

static enum ij_status delete_checkpoint(struct daemon *daemon,
                                        const struct control_request *request,
                                        const struct checkpoint_row *row,
                                        struct control_reply *reply)
{
    IJ_TRY(retention_check_checkpoint(daemon->store, row, &reply->err));
    if (reaper_waiting(daemon->reaper) >= REAPER_QUEUE_MAX)
        return IJ_ERR(&reply->err, IJ_BUSY, "%d deletions are under way already", REAPER_QUEUE_MAX);
    uint64_t bytes = file_tree_bytes(row->path);
    IJ_TRY(store_begin(daemon->store, &reply->err));
    json_t *body = checkpoint_json(row);
    if (body)
        json_object_set_new(body, "bytes", json_integer((json_int_t)bytes));
    enum ij_status status = checkpoint_row_retire(daemon->store, row->id, &reply->err);
    if (status == IJ_OK)
        status = retention_commit(daemon, request, row->run, "run.checkpoint_deleted", body,
                                  &reply->err);
    json_decref(body);
    if (status != IJ_OK) {
        store_rollback(daemon->store);
        return status;
    }
    reap(daemon, row);
    reply->details = json_pack("{s:I}", "freed_bytes", (json_int_t)bytes);
    return IJ_OK;
}

enum ij_status retention_handle(struct daemon *daemon, const struct control_request *request,
                                struct control_reply *reply)
{
    struct checkpoint_row row;
    IJ_TRY(checkpoint_row_get(daemon->store, request->checkpoint, &row, &reply->err));
    reply->run = row.run;
    struct run *run = queue_find(daemon, row.run);
    if (request->verb == CONTROL_CHECKPOINT_PIN) {
        IJ_TRY(pin(daemon, request, &row, reply));
        if (run && run->worker) /* the policy may keep what is not pinned any more */
            retention_apply(daemon, &run->row, run->worker_keep);
        return IJ_OK;
    }
    return delete_checkpoint(daemon, request, &row, reply);
}

/* ---- Policy ---------------------------------------------------------------------------------- */

struct retention_policy retention_policy_of(const struct run_row *row)
{
    json_t *params = row->resolved ? json_loads(row->resolved, 0, NULL) : NULL;
    json_t *said = row->retention ? json_loads(row->retention, 0, NULL) : NULL;
    json_int_t latest = json_integer_value(json_object_get(params, "keep_checkpoints"));
    struct retention_policy policy =
        retention_policy_default(latest > 0 ? (uint32_t)latest : LATEST);
    if (said && retention_policy_parse(said, &policy, NULL) != IJ_OK)
        log_warn("r%lld: its stored retention cannot be read, taking the default",
                 (long long)row->id);
    json_decref(params);
    json_decref(said);
    return policy;
}

/* The newest value measured up to each checkpoint. Training measures before it saves. */
static void fill_scores(const struct metric_table *table, struct checkpoint_row *rows, size_t count)
{
    size_t at = table->rows;
    for (size_t i = 0; i < count; i++) { /* falling steps on both sides */
        while (at > 0 &&
               (table->step[at - 1] > rows[i].step || !isfinite(table->series[0].last[at - 1])))
            at--;
        rows[i].score = at > 0 ? (double)table->series[0].last[at - 1] : NAN;
    }
}

static enum ij_status score(struct store *store, int64_t run, const struct retention_policy *policy,
                            struct checkpoint_row *rows, size_t count, struct ij_err *reterr_err)
{
    const char *key = retention_policy_metric(policy->best_by);
    struct metric_query query = {
        .runs = &run, .run_count = 1, .keys = &key, .key_count = 1, .to = UINT64_MAX, .raw = true};
    struct metric_result result;
    IJ_TRY(metric_query(store, &query, &result, reterr_err));
    for (size_t i = 0; i < count; i++)
        rows[i].score = NAN;
    if (result.count == 1 && result.tables[0].columns == 1)
        fill_scores(&result.tables[0], rows, count);
    metric_query_done(&result);
    return IJ_OK;
}

enum ij_status retention_reasons(struct store *store, int64_t run,
                                 const struct retention_policy *policy,
                                 struct checkpoint_row **ret_rows, unsigned **ret_reasons,
                                 size_t *ret_count, struct ij_err *reterr_err)
{
    mem_auto struct checkpoint_row *rows = NULL;
    size_t count = 0;
    IJ_TRY(checkpoint_row_list(store, run, 1u << CHECKPOINT_ROW_VALID, 0, ROWS_MAX, &rows, &count,
                               reterr_err));
    mem_auto unsigned *reasons = mem_array(unsigned, count);
    if (!reasons)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a run's checkpoints");
    retention_policy_choose(policy, rows, count, reasons);
    *ret_rows = MEM_TAKE(rows);
    *ret_reasons = MEM_TAKE(reasons);
    *ret_count = count;
    return IJ_OK;
}

/* The file beside a checkpoint that its worker heeds. */
static void set_marker(const struct checkpoint_row *row, bool wanted)
{
    char marker[1100];
    struct ij_err err = IJ_ERR_INIT;
    marker_path(row, marker);
    bool there = access(marker, F_OK) == 0;
    if (wanted && !there && write_marker(row, marker, &err) != IJ_OK)
        log_warn("%s; the worker may remove it", err.text);
    if (!wanted && there && unlink(marker) < 0 && errno != ENOENT)
        log_warn("cannot remove %s: %s", marker, strerror(errno));
}

/* One that the policy lets go. The store's own rule keeps the newest and what is pinned. */
static enum ij_status retire(struct daemon *daemon, const struct checkpoint_row *row,
                             struct ij_err *reterr_err)
{
    if (retention_check_checkpoint(daemon->store, row, NULL) != IJ_OK ||
        reaper_waiting(daemon->reaper) >= REAPER_QUEUE_MAX)
        return IJ_OK; /* the next time */
    set_marker(row, false);
    IJ_TRY(checkpoint_row_retire(daemon->store, row->id, reterr_err));
    reap(daemon, row);
    return IJ_OK;
}

static enum ij_status apply_one(struct daemon *daemon, const struct checkpoint_row *row,
                                unsigned reasons, bool workers, bool beyond_worker,
                                struct ij_err *reterr_err)
{
    bool young = reasons == RETENTION_POLICY_IS_LATEST && !beyond_worker;
    if (reasons) {
        set_marker(row, !young);
        return IJ_OK;
    }
    if (workers) { /* its worker is about to remove it */
        set_marker(row, false);
        return IJ_OK;
    }
    return retire(daemon, row, reterr_err);
}

/* Workers remove what is too old by themselves: rows of that say so. The others get the score that
 * the policy goes by. */
static enum ij_status refresh(struct store *store, int64_t run,
                              const struct retention_policy *policy, struct ij_err *reterr_err)
{
    mem_auto struct checkpoint_row *rows = NULL;
    size_t count = 0;
    IJ_TRY(checkpoint_row_list(store, run, 1u << CHECKPOINT_ROW_VALID, 0, ROWS_MAX, &rows, &count,
                               reterr_err));
    if (policy->best && count)
        IJ_TRY(score(store, run, policy, rows, count, reterr_err));
    for (size_t i = 0; i < count; i++) {
        if (access(rows[i].path, F_OK) < 0 && errno == ENOENT)
            IJ_TRY(checkpoint_row_set_state(store, rows[i].id, CHECKPOINT_ROW_GONE, reterr_err));
        else
            IJ_TRY(checkpoint_row_set_score(store, rows[i].id, rows[i].score, reterr_err));
    }
    return IJ_OK;
}

void retention_apply(struct daemon *daemon, const struct run_row *row, uint32_t worker_keep)
{
    mem_auto struct checkpoint_row *rows = NULL;
    mem_auto unsigned *reasons = NULL;
    size_t count = 0;
    struct ij_err err = IJ_ERR_INIT;
    struct retention_policy policy = retention_policy_of(row);
    enum ij_status status = refresh(daemon->store, row->id, &policy, &err);
    if (status == IJ_OK)
        status = retention_reasons(daemon->store, row->id, &policy, &rows, &reasons, &count, &err);
    for (size_t i = 0; i < count && status == IJ_OK; i++)
        status = apply_one(daemon, &rows[i], reasons[i], worker_keep && i >= worker_keep,
                           worker_keep && worker_keep < policy.latest, &err);
    if (status != IJ_OK)
        log_line(LOG_LEVEL_WARN, LOG_MODULE, row->id, "checkpoints to keep: %s, ignoring",
                 err.text);
}

/* ---- The start ------------------------------------------------------------------------------- */

void retention_finish(struct daemon *daemon)
{
    mem_auto struct checkpoint_row *rows = NULL;
    size_t count = 0;
    struct ij_err err = IJ_ERR_INIT;
    run_erase_finish(daemon); /* folders have their own names again */
    if (checkpoint_row_list(daemon->store, 0, 1u << CHECKPOINT_ROW_DELETING, 0, DELETING_MAX, &rows,
                            &count, &err) != IJ_OK)
        log_warn("deleted checkpoints: %s, trying again at the next start", err.text);
    for (size_t i = 0; i < count; i++)
        reap(daemon, &rows[i]);
    retention_wake(daemon);
}

void retention_wake(struct daemon *daemon)
{
    (void)sd_event_source_set_enabled(daemon->erase, SD_EVENT_ONESHOT);
}
