/* See run_verb.h. Verbs on ended runs load their row for the time of the call. */
#include "daemon/run_verb.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/audit.h"
#include "daemon/daemon.h"
#include "daemon/device_verb.h"
#include "daemon/drain.h"
#include "daemon/queue.h"
#include "daemon/queue_move.h"
#include "daemon/recorder.h"
#include "daemon/recovery.h"
#include "daemon/run_end.h"
#include "daemon/run_erase.h"
#include "daemon/run_patch.h"
#include "daemon/run_submit.h"
#include "daemon/retention.h"
#include "daemon/token_verb.h"
#include "daemon/webhook_verb.h"

#define LOG_MODULE "run_verb"

/* ---- Steps ----------------------------------------------------------------------------------- */

static enum run_state_desire desire_of(enum control_verb verb)
{
    switch (verb) {
    case CONTROL_CANCEL:
        return RUN_STATE_DESIRE_CANCEL;
    case CONTROL_KILL:
        return RUN_STATE_DESIRE_KILL;
    case CONTROL_PAUSE:
        return RUN_STATE_DESIRE_PAUSE;
    case CONTROL_HOLD:
        return RUN_STATE_DESIRE_HOLD;
    default:
        return RUN_STATE_DESIRE_RUN;
    }
}

static bool wants_scratch(const struct control_request *request)
{
    const char *from = json_string_value(json_object_get(request->body, "from"));
    return request->verb == CONTROL_REQUEUE && from && strcmp(from, "scratch") == 0;
}

/* A run without a worker goes straight to `to`. */
static enum ij_status move(struct run *run, const struct control_request *request,
                           enum run_state to, struct ij_err *reterr_err)
{
    bool waits = to == RUN_STATE_HELD || to == RUN_STATE_PAUSED || to == RUN_STATE_CANCELED;
    char text[128] = "";
    if (waits)
        snprintf(text, sizeof(text), "%s by %.64s", run_state_name(to), request->actor);
    struct run_change change = run_change_of(run, to, waits ? "user" : "", text);
    change.request = request;
    change.desired = desire_of(request->verb);
    if (request->verb == CONTROL_RESUME)
        change.queue_pos = queue_front(run->daemon, run->row.priority);
    change.queues_anew = request->verb == CONTROL_RESUME || request->verb == CONTROL_RELEASE ||
                         request->verb == CONTROL_REQUEUE;
    change.from_scratch = wants_scratch(request);
    if (change.from_scratch) {
        run->row.step = 0;
        run->progress_dirty = true;
        IJ_TRY(recorder_save_progress(run, reterr_err));
    }
    if (request->verb == CONTROL_REQUEUE) {
        change.failures = change.stuck = 0;
        change.failure = "";
    }
    return run_set_state(run, &change, reterr_err);
}

/* Pausing and stopping: the state first, then the worker. */
static enum ij_status begin_stop(struct run *run, const struct control_request *request,
                                 enum run_state to, int64_t grace_ms, struct ij_err *reterr_err)
{
    struct run_change change = run_change_of(run, to, "user", "");
    char text[128];
    snprintf(text, sizeof(text), "%s asked for by %.64s", control_verb_name(request->verb),
             request->actor);
    change.text = text;
    change.request = request;
    change.desired = desire_of(request->verb);
    change.deadline_ms = clock_wall_ms() + grace_ms;
    IJ_TRY(run_set_state(run, &change, reterr_err));
    if (!run->worker)
        return IJ_OK;
    if (request->verb == CONTROL_KILL)
        supervisor_kill(run->worker, RUN_MACHINE_BY_USER);
    else
        supervisor_stop(run->worker, RUN_MACHINE_BY_USER, grace_ms);
    return IJ_OK;
}

/* Only what is desired changes; the worker's end decides by it. */
static enum ij_status wish(struct run *run, const struct control_request *request,
                           struct ij_err *reterr_err)
{
    struct run_change change =
        run_change_of(run, run->row.state, run->row.reason, run->row.reason_text);
    change.request = request;
    change.desired = desire_of(request->verb);
    change.deadline_ms = run->row.deadline_ms;
    return run_set_state(run, &change, reterr_err);
}

static enum ij_status act(struct run *run, const struct control_request *request,
                          struct run_machine_answer answer, struct control_reply *reply)
{
    const struct config *config = &run->daemon->config;
    int64_t stop_ms = config->stop_grace_s * 1000LL, pause_ms = config->pause_grace_s * 1000LL;
    switch (answer.effect) {
    case RUN_MACHINE_MOVE:
        return move(run, request, answer.to, &reply->err);
    case RUN_MACHINE_PAUSE:
        reply->pending = true;
        return begin_stop(run, request, RUN_STATE_PAUSING, pause_ms, &reply->err);
    case RUN_MACHINE_STOP:
        reply->pending = true;
        return begin_stop(run, request, RUN_STATE_STOPPING, stop_ms, &reply->err);
    case RUN_MACHINE_KILL:
        reply->pending = true;
        return begin_stop(run, request, RUN_STATE_STOPPING, 1000, &reply->err);
    case RUN_MACHINE_WISH:
        reply->pending = true;
        return wish(run, request, &reply->err);
    case RUN_MACHINE_SAVE:
        reply->pending = true;
        IJ_TRY(audit_request(run->daemon->store, request, run->row.id, &reply->err));
        if (run->worker)
            supervisor_checkpoint(run->worker);
        return IJ_OK;
    case RUN_MACHINE_SATISFIED:
        reply->pending =
            run_state_has_process(run->row.state) && run->row.state != RUN_STATE_RUNNING;
        return IJ_OK;
    case RUN_MACHINE_REFUSE:
        break;
    }
    return IJ_CONFLICT;
}

/* ---- Refusals -------------------------------------------------------------------------------- */

static enum ij_status refuse(const struct run_row *row, enum control_verb verb,
                             struct control_reply *reply)
{
    enum control_verb allowed[CONTROL_VERB_COUNT];
    size_t count = run_machine_verbs_allowed(row->state, row->desired, allowed);
    json_t *names = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(names, json_string(control_verb_name(allowed[i])));
    reply->details = json_pack("{s:s, s:o}", "state", run_state_name(row->state), "allowed", names);
    return IJ_ERR(&reply->err, IJ_CONFLICT, "cannot %s r%lld while it is %s",
                  control_verb_name(verb), (long long)row->id, run_state_name(row->state));
}

/* "from" may be left out: from the newest checkpoint. */
static enum ij_status check_requeue(const struct control_request *request,
                                    struct control_reply *reply)
{
    const char *key;
    json_t *value;
    if (!request->body)
        return IJ_OK;
    json_object_foreach((json_t *)request->body, key, value)
    {
        if (strcmp(key, "from") != 0)
            return IJ_ERR_FIELD(&reply->err, IJ_INVALID, "/from",
                                "unknown key \"%.60s\"; did you mean \"from\"?", key);
        const char *from = json_string_value(value);
        if (!from || (strcmp(from, "checkpoint") != 0 && strcmp(from, "scratch") != 0))
            return IJ_ERR_FIELD(&reply->err, IJ_INVALID, "/from",
                                "from must be \"checkpoint\" or \"scratch\"");
    }
    return IJ_OK;
}

/* ---- One verb on one run --------------------------------------------------------------------- */

/* The live run, or a loaded ended one in *ret_loaded, which the caller frees or queues. */
static enum ij_status find_run(struct daemon *daemon, int64_t id, struct run **ret_run,
                               bool *ret_loaded, struct ij_err *reterr_err)
{
    struct run_row row = {0};
    *ret_loaded = false;
    *ret_run = queue_find(daemon, id);
    if (*ret_run)
        return IJ_OK;
    enum ij_status status = run_row_get(daemon->store, id, &row, reterr_err);
    if (status == IJ_NOT_FOUND)
        return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is no run r%lld", (long long)id);
    IJ_TRY(status);
    status = run_new(daemon, &row, ret_run, reterr_err);
    run_row_done(&row);
    *ret_loaded = status == IJ_OK;
    return status;
}

static enum ij_status on_run(struct daemon *daemon, const struct control_request *request,
                             struct control_reply *reply)
{
    struct run *run;
    bool loaded;
    if (request->verb == CONTROL_REQUEUE)
        IJ_TRY(check_requeue(request, reply));
    IJ_TRY(find_run(daemon, request->run, &run, &loaded, &reply->err));
    struct run_machine_answer answer =
        run_machine_verb(request->verb, run->row.state, run->row.desired);
    if (answer.effect == RUN_MACHINE_SATISFIED && wants_scratch(request))
        answer = (struct run_machine_answer){.effect = RUN_MACHINE_MOVE, .to = RUN_STATE_QUEUED};
    enum ij_status status = IJ_OK;
    bool plain = request->verb != CONTROL_PATCH && request->verb != CONTROL_MOVE;
    if (request->verb == CONTROL_PATCH)
        status = run_patch(run, request, reply);
    else if (request->verb == CONTROL_MOVE)
        status = queue_move(run, request, reply);
    else if (answer.effect == RUN_MACHINE_REFUSE)
        status = refuse(&run->row, request->verb, reply);
    else if (loaded && run_state_is_live(answer.to) && answer.effect == RUN_MACHINE_MOVE)
        status = queue_add(daemon, run, &reply->err);
    if (status == IJ_OK && plain)
        status = act(run, request, answer, reply);
    if (status == IJ_OK) {
        reply->run = run->row.id;
        queue_schedule(daemon);
    }
    if (!run_state_is_live(run->row.state) && !run->worker) {
        queue_remove(daemon, run);
        run_free(run);
    }
    return status;
}

void run_verb_handle(void *user, const struct control_request *request,
                     struct control_reply *ret_reply)
{
    struct daemon *daemon = user;
    struct control_reply *reply = ret_reply;
    if (daemon->storage_failed || daemon->draining)
        reply->status = IJ_ERR(&reply->err, IJ_BUSY, "the daemon is stopping");
    else if (!request->actor)
        reply->status = IJ_ERR(&reply->err, IJ_FORBIDDEN, "nobody asks");
    else if ((request->verb == CONTROL_SUBMIT || request->verb == CONTROL_SWEEP) &&
             recovery_refuse(daemon, &reply->err) != IJ_OK)
        reply->status = reply->err.code;
    else if (request->verb == CONTROL_ACKNOWLEDGE)
        reply->status = recovery_acknowledge(daemon, request, reply);
    else if (request->verb == CONTROL_SUBMIT)
        reply->status = run_submit(daemon, request, reply);
    else if (request->verb == CONTROL_SWEEP)
        reply->status = run_submit_sweep(daemon, request, reply);
    else if (request->verb == CONTROL_CORDON || request->verb == CONTROL_UNCORDON)
        reply->status = device_verb_handle(daemon, request, reply);
    else if (request->verb == CONTROL_DRAIN || request->verb == CONTROL_UNDRAIN)
        reply->status = drain_handle(daemon, request, reply);
    else if (request->verb == CONTROL_DELETE)
        reply->status = run_erase_handle(daemon, request, reply);
    else if (request->verb == CONTROL_CHECKPOINT_PIN || request->verb == CONTROL_CHECKPOINT_DELETE)
        reply->status = retention_handle(daemon, request, reply);
    else if (request->verb >= CONTROL_WEBHOOK_CREATE && request->verb <= CONTROL_WEBHOOK_TEST)
        reply->status = webhook_verb_handle(daemon, request, reply);
    else if (request->verb >= CONTROL_TOKEN_CREATE)
        reply->status = token_verb_handle(daemon, request, reply);
    else
        reply->status = on_run(daemon, request, reply);
    bool storage =
        reply->status == IJ_IO || reply->status == IJ_CORRUPT || reply->status == IJ_NO_SPACE;
    if (storage && request->verb != CONTROL_BACKUP)
        daemon_storage_error(daemon, control_verb_name(request->verb), &reply->err);
}
