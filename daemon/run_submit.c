/* See run_submit.h. */
#include "daemon/run_submit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/build.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/audit.h"
#include "daemon/idempotency.h"
#include "daemon/params.h"
#include "daemon/queue.h"
#include "daemon/submit.h"
#include "daemon/submit_store.h"
#include "daemon/sweep.h"
#include "store/dep_row.h"
#include "store/sweep_row.h"

#define LOG_MODULE "run_submit"

/* ---- The row --------------------------------------------------------------------------------- */

static char *dump(const json_t *value)
{
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    char *copy = text ? mem_strdup(text) : NULL;
    free(text);
    return copy;
}

/* The run that an evaluation is about: its parent. */
static int64_t parent_of(const struct submit_result *submission)
{
    int64_t id = 0;
    return submit_parse_id(submission->spec.eval.checkpoint, 'r', &id) ? id : 0;
}

/* A row with contents of its own; IJ_NO_MEMORY leaves it zeroed. */
static enum ij_status fill_row(const struct control_request *request,
                               const struct submit_result *submission, struct run_row *ret_row,
                               struct ij_err *reterr_err)
{
    const json_t *resolved = submission->resolved;
    json_t *params = json_object_get(request->body, "params");
    struct run_row row = {
        .parent = request->run ? request->run : parent_of(submission),
        .params = params ? dump(params) : mem_strdup("{}"),
        .resolved = dump(json_object_get(resolved, "params")),
        .tags = dump(json_object_get(resolved, "tags")),
        .notes = mem_strdup(json_string_value(json_object_get(resolved, "notes"))),
        .retention = mem_strdup(submission->retention ? submission->retention : "{}"),
        .dataset = mem_strdup(submission->spec.data.path),
        .health = mem_strdup("{}"),
        .last = mem_strdup("{}"),
        .state = submission->hold ? RUN_STATE_HELD : RUN_STATE_QUEUED,
        .desired = submission->hold ? RUN_STATE_DESIRE_HOLD : RUN_STATE_DESIRE_RUN,
        .priority = (int32_t)submission->priority,
        .slots = (int32_t)submission->gpus,
        .gpu_memory_bytes = (uint64_t)submission->gpu_memory_bytes,
        .preemptible = submission->preemptible,
        .epoch = NAN,
        .images_per_s = NAN,
        .eta_s = NAN,
        .created_ms = clock_wall_ms()};
    snprintf(row.name, sizeof(row.name), "%s", submission->name);
    snprintf(row.kind, sizeof(row.kind), "%s", params_kind_name(submission->kind));
    snprintf(row.user, sizeof(row.user), "%s", request->actor);
    snprintf(row.build, sizeof(row.build), "%s", build_id());
    snprintf(row.backend, sizeof(row.backend), "%s", submission->on_gpu ? "cuda" : "host");
    if (!row.params || !row.resolved || !row.tags || !row.notes || !row.retention || !row.dataset ||
        !row.health || !row.last) {
        run_row_done(&row);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a run");
    }
    *ret_row = row;
    return IJ_OK;
}

static enum ij_status insert(struct daemon *daemon, const struct control_request *request,
                             const struct submit_result *submission, struct run_row *row,
                             struct ij_err *reterr_err)
{
    struct store *store = daemon->store;
    IJ_TRY(run_row_insert(store, row, reterr_err));
    for (size_t i = 0; i < submission->after_count; i++) {
        struct dep_row dep = {.run = row->id,
                              .on_run = submission->after[i].run,
                              .condition = submission->after[i].any ? DEP_ROW_END : DEP_ROW_OK};
        IJ_TRY(dep_row_insert(store, &dep, reterr_err));
    }
    char id[IDEMPOTENCY_ID_SIZE];
    snprintf(id, sizeof(id), "r%lld", (long long)row->id);
    IJ_TRY(idempotency_keep(store, request, id, reterr_err));
    return audit_request(store, request, row->id, reterr_err);
}

/* Inserts everything and takes the run into the queue. The event tells of a run that was not there.
 */
static enum ij_status commit_run(struct daemon *daemon, const struct control_request *request,
                                 const struct submit_result *submission, struct run_row *row,
                                 struct run **ret_run, struct ij_err *reterr_err)
{
    int64_t event_id = 0;
    struct run *run = NULL;
    IJ_TRY(store_begin(daemon->store, reterr_err));
    enum ij_status status = insert(daemon, request, submission, row, reterr_err);
    if (status == IJ_OK)
        status = run_new(daemon, row, &run, reterr_err);
    json_t *body = run ? run_state_json(run) : NULL;
    if (status == IJ_OK)
        status = run_append_event(run, "run.state", body, &event_id, reterr_err);
    if (status == IJ_OK)
        status = queue_add(daemon, run, reterr_err);
    bool queued = status == IJ_OK;
    if (status == IJ_OK)
        status = store_commit(daemon->store, reterr_err);
    if (status == IJ_OK) {
        event_bus_publish(daemon->bus, event_id, run->row.id, "run.state", body);
        *ret_run = run;
    } else {
        store_rollback(daemon->store);
        if (queued)
            queue_remove(daemon, run);
        run_free(run);
    }
    json_decref(body);
    return status;
}

/* How many runs of a user have not ended. */
static enum ij_status check_quota(const struct daemon *daemon, const char *user, size_t more,
                                  struct ij_err *reterr_err)
{
    size_t live = 0, max = daemon->config.quota_live_runs;
    for (size_t i = 0; max && i < daemon->run_count; i++)
        live += run_state_is_live(daemon->runs[i]->row.state) &&
                strcmp(daemon->runs[i]->row.user, user) == 0;
    if (!max || live + more <= max)
        return IJ_OK;
    return IJ_ERR_FIELD(
        reterr_err, IJ_CONFLICT, "quota_live_runs",
        "quota_live_runs: %.64s has %zu runs that have not ended, %zu more would be "
        "above the limit of %zu",
        user, live, more, max);
}

static enum ij_status told_twice(struct control_reply *reply)
{
    return IJ_ERR_FIELD(&reply->err, IJ_INVALID, "Idempotency-Key",
                        "the key was used for something else");
}

enum ij_status run_submit(struct daemon *daemon, const struct control_request *request,
                          struct control_reply *reply)
{
    struct submit_lookup lookup =
        submit_store_lookup(daemon->store, daemon->devices, daemon->config.data_roots);
    struct run_row row = {0};
    struct run *run = NULL;
    bool known = false;
    char id[IDEMPOTENCY_ID_SIZE];
    IJ_TRY(idempotency_find(daemon->store, request, reply, id, &known));
    if (known)
        return submit_parse_id(id, 'r', &reply->run) ? IJ_OK : told_twice(reply);
    IJ_TRY(check_quota(daemon, request->actor, 1, &reply->err));
    mem_auto struct submit_result *submission = mem_new(struct submit_result);
    reply->errors = json_array();
    if (!submission || !reply->errors)
        return IJ_ERR(&reply->err, IJ_NO_MEMORY, "no memory for the submission");
    IJ_TRY(submit_check(request->body, &lookup, submission, reply->errors, &reply->err));
    enum ij_status status = fill_row(request, submission, &row, &reply->err);
    if (status == IJ_OK)
        status = commit_run(daemon, request, submission, &row, &run, &reply->err);
    submit_result_done(submission);
    run_row_done(&row);
    IJ_TRY(status);
    reply->run = run->row.id;
    log_run(LOG_LEVEL_INFO, RUN_SUBMITTED, run->row.id, "%s \"%s\" submitted by %s", run->row.kind,
            run->row.name, run->row.user);
    queue_schedule(daemon);
    return IJ_OK;
}

/* ---- Sweeps ---------------------------------------------------------------------------------- */

/* The rows of every run of a sweep; `rows` has room for all. */
static enum ij_status make_rows(struct daemon *daemon, const struct control_request *request,
                                const struct sweep *sweep, struct run_row *rows,
                                struct control_reply *reply)
{
    struct submit_lookup lookup =
        submit_store_lookup(daemon->store, daemon->devices, daemon->config.data_roots);
    mem_auto struct submit_result *submission = mem_new(struct submit_result);
    reply->errors = json_array();
    if (!submission || !reply->errors)
        return IJ_ERR(&reply->err, IJ_NO_MEMORY, "no memory for the sweep");
    for (size_t i = 0; i < json_array_size(sweep->runs); i++) {
        struct control_request one = *request;
        one.body = json_array_get(sweep->runs, i);
        IJ_TRY(submit_check(one.body, &lookup, submission, reply->errors, &reply->err));
        enum ij_status status = fill_row(&one, submission, &rows[i], &reply->err);
        submit_result_done(submission);
        IJ_TRY(status);
    }
    return IJ_OK;
}

static enum ij_status add_to_queue(struct daemon *daemon, struct run_row *row, int64_t *ret_event,
                                   struct ij_err *reterr_err)
{
    struct run *run = NULL;
    IJ_TRY(run_row_insert(daemon->store, row, reterr_err));
    IJ_TRY(run_new(daemon, row, &run, reterr_err));
    json_t *body = run_state_json(run);
    enum ij_status status = run_append_event(run, "run.state", body, ret_event, reterr_err);
    json_decref(body);
    if (status == IJ_OK)
        status = queue_add(daemon, run, reterr_err);
    if (status != IJ_OK)
        run_free(run);
    return status;
}

/* Everything in one transaction. On failure the runs that were queued meanwhile are taken back. */
static enum ij_status commit_sweep(struct daemon *daemon, const struct control_request *request,
                                   struct sweep_row *sweep, struct run_row *rows, size_t count,
                                   int64_t *events, struct ij_err *reterr_err)
{
    size_t before = daemon->run_count;
    IJ_TRY(store_begin(daemon->store, reterr_err));
    enum ij_status status = sweep_row_insert(daemon->store, sweep, reterr_err);
    for (size_t i = 0; i < count && status == IJ_OK; i++) {
        rows[i].sweep = sweep->id;
        status = add_to_queue(daemon, &rows[i], &events[i], reterr_err);
    }
    char id[IDEMPOTENCY_ID_SIZE];
    snprintf(id, sizeof(id), "s%lld", (long long)sweep->id);
    if (status == IJ_OK)
        status = idempotency_keep(daemon->store, request, id, reterr_err);
    if (status == IJ_OK)
        status = audit_request(daemon->store, request, 0, reterr_err);
    if (status == IJ_OK)
        status = store_commit(daemon->store, reterr_err);
    if (status == IJ_OK)
        return IJ_OK;
    store_rollback(daemon->store);
    while (daemon->run_count > before)
        run_free(daemon->runs[--daemon->run_count]);
    return status;
}

static enum ij_status submit_rows(struct daemon *daemon, const struct control_request *request,
                                  const struct sweep *sweep, struct run_row *rows,
                                  struct control_reply *reply)
{
    const char *name = json_string_value(json_object_get(request->body, "name"));
    size_t count = json_array_size(sweep->runs), before = daemon->run_count;
    struct sweep_row row = {.max_parallel = sweep->max_parallel, .created_ms = clock_wall_ms()};
    mem_auto int64_t *events = mem_array(int64_t, count);
    mem_auto char *spec = dump(request->body);
    if (!events || !spec)
        return IJ_ERR(&reply->err, IJ_NO_MEMORY, "no memory for the sweep");
    snprintf(row.name, sizeof(row.name), "%s", name ? name : "sweep");
    snprintf(row.user, sizeof(row.user), "%s", request->actor);
    row.spec = spec;
    IJ_TRY(make_rows(daemon, request, sweep, rows, reply));
    IJ_TRY(commit_sweep(daemon, request, &row, rows, count, events, &reply->err));
    for (size_t i = 0; i < count; i++) {
        struct run *run = daemon->runs[before + i];
        json_t *body = run_state_json(run);
        event_bus_publish(daemon->bus, events[i], run->row.id, "run.state", body);
        json_decref(body);
    }
    reply->run = row.id;
    log_notice("sweep s%lld \"%s\" of %zu runs submitted by %s", (long long)row.id, row.name, count,
               row.user);
    queue_schedule(daemon);
    return IJ_OK;
}

enum ij_status run_submit_sweep(struct daemon *daemon, const struct control_request *request,
                                struct control_reply *reply)
{
    struct sweep sweep = {0};
    char id[IDEMPOTENCY_ID_SIZE];
    bool known;
    IJ_TRY(idempotency_find(daemon->store, request, reply, id, &known));
    if (known)
        return submit_parse_id(id, 's', &reply->run) ? IJ_OK : told_twice(reply);
    IJ_TRY(sweep_expand(request->body, &sweep, &reply->err));
    size_t count = json_array_size(sweep.runs);
    mem_auto struct run_row *rows = mem_array(struct run_row, count);
    enum ij_status status = check_quota(daemon, request->actor, count, &reply->err);
    if (status == IJ_OK)
        status = rows ? submit_rows(daemon, request, &sweep, rows, reply)
                      : IJ_ERR(&reply->err, IJ_NO_MEMORY, "no memory for the sweep");
    for (size_t i = 0; rows && i < count; i++)
        run_row_done(&rows[i]);
    sweep_done(&sweep);
    return status;
}
