/* What changes runs: verbs, patches, and the call into the loop that all of them share. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/handlers.h"
#include "api/json_in.h"
#include "base/mem.h"
#include "daemon/control.h"
#include "store/run_row.h"

#define KEY_MAX 128

/* The reply's error, with its list of errors, the run's state and what is allowed in it. */
enum ij_status serve_command_refusal(struct request *request, const struct control_reply *reply,
                                     struct ij_err *reterr_err)
{
    struct ij_err err = reply->err;
    if (err.code == IJ_OK)
        (void)IJ_ERR(&err, reply->status, "the daemon refused");
    if (reply->unknown)
        (void)IJ_ERR(&err, IJ_TIMEOUT,
                     "the daemon did not answer in time; whether it was done is not known");
    struct problem *problem = &request->problem;
    if (reply->errors && json_array_size(reply->errors))
        problem->errors = json_incref(reply->errors);
    const char *state = json_string_value(json_object_get(reply->details, "state"));
    if (state)
        (void)snprintf(problem->state, sizeof problem->state, "%s", state);
    json_t *allowed = json_object_get(reply->details, "allowed");
    if (allowed)
        problem->allowed = json_incref(allowed);
    problem_from_err(problem, &err);
    if (reterr_err)
        *reterr_err = err;
    return err.code;
}

enum ij_status serve_command_call(struct request *request, struct control_request *command,
                                  struct control_reply *ret_reply, struct ij_err *reterr_err)
{
    command->actor = request->who.user;
    command->address = request->address;
    enum ij_status status = control_call(request->api->control, command, ret_reply);
    if (status == IJ_OK)
        return IJ_OK;
    status = serve_command_refusal(request, ret_reply, reterr_err);
    control_reply_done(ret_reply);
    return status;
}

static enum ij_status check_key(const char *key, struct ij_err *reterr_err)
{
    size_t size = key ? strlen(key) : 0;
    bool printable = true;
    for (size_t i = 0; i < size; i++)
        printable = printable && isgraph((unsigned char)key[i]);
    if (key && (size == 0 || size > KEY_MAX || !printable))
        return IJ_ERR_FIELD(reterr_err, IJ_MALFORMED, "Idempotency-Key",
                            "must be 1 to %d printable characters without spaces", KEY_MAX);
    return IJ_OK;
}

enum ij_status serve_command_make(struct request *request, struct control_request *command,
                                  struct control_reply *ret_reply, struct reply *reply,
                                  struct ij_err *reterr_err)
{
    struct ij_err err = IJ_ERR_INIT;
    command->idempotency_key = request_header(request, "idempotency-key");
    IJ_TRY(check_key(command->idempotency_key, reterr_err));
    enum ij_status status = serve_command_call(request, command, ret_reply, &err);
    if (status == IJ_INVALID && strcmp(err.field, "Idempotency-Key") == 0)
        return request_refuse(request, PROBLEM_IDEMPOTENCY, "%s", err.text);
    if (status == IJ_CONFLICT && strncmp(err.field, "quota_", 6) == 0)
        return request_refuse(request, PROBLEM_TOO_MANY, "%s", err.text);
    if (status == IJ_OK && ret_reply->replayed)
        reply_header(reply, "Idempotent-Replayed", "true");
    if (status != IJ_OK && reterr_err)
        *reterr_err = err;
    return status; /* serve_command_call has told it */
}

/* Operators act on every run, submitters on their own. */
enum ij_status serve_command_owner(struct request *request, int64_t run, struct ij_err *reterr_err)
{
    struct run_row row;
    struct store *store;
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(run_row_get(store, run, &row, reterr_err));
    bool mine = strcmp(row.user, request->who.user) == 0;
    run_row_done(&row);
    if (mine || request->who.role >= TOKEN_ROW_OPERATOR)
        return IJ_OK;
    return IJ_ERR(reterr_err, IJ_FORBIDDEN,
                  "r%" PRId64 " is not yours: this needs the role operator", run);
}

static enum ij_status verb_of(const struct request *request, enum control_verb *ret_verb,
                              struct ij_err *reterr_err)
{
    const char *name = strrchr(request->match.route->pattern, '/') + 1;
    if (!control_verb_from_name(name, ret_verb))
        return IJ_ERR(reterr_err, IJ_INTERNAL, "the route %s has no command", name);
    return IJ_OK;
}

static enum ij_status check_verb_body(struct request *request, enum control_verb verb,
                                      struct ij_err *reterr_err)
{
    static const char *const requeue_keys[] = {"from"};
    if (!request->json)
        return IJ_OK;
    size_t count = verb == CONTROL_REQUEUE ? COUNT_OF(requeue_keys) : 0;
    IJ_TRY(json_in_known_keys(request->json, requeue_keys, count, &request->problem, reterr_err));
    const char *from = "checkpoint";
    IJ_TRY(json_in_text(request->json, "from", 16, &from, reterr_err));
    if (strcmp(from, "checkpoint") != 0 && strcmp(from, "scratch") != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/from",
                            "must be \"checkpoint\" or \"scratch\"");
    return IJ_OK;
}

/* POST /v1/runs/{id}/pause and its siblings: 200, or 202 while the change is under way. */
enum ij_status serve_command_verb(struct request *request, struct reply *reply,
                                  struct ij_err *reterr_err)
{
    struct control_request command = {.body = request->json};
    struct control_reply answer;
    IJ_TRY(verb_of(request, &command.verb, reterr_err));
    IJ_TRY(check_verb_body(request, command.verb, reterr_err));
    IJ_TRY(request_id(request, 0, 'r', &command.run, reterr_err));
    IJ_TRY(serve_command_owner(request, command.run, reterr_err));
    IJ_TRY(serve_command_call(request, &command, &answer, reterr_err));
    reply->status = answer.pending ? 202 : 200;
    control_reply_done(&answer);
    return serve_runs_reply(request, command.run, reply, reterr_err);
}

/* If-Match: "r42.17" -> 17; absent or * -> 0. */
static enum ij_status parse_if_match(struct request *request, int64_t run, int64_t *ret_version,
                                     struct ij_err *reterr_err)
{
    const char *header = request_header(request, "if-match");
    *ret_version = 0;
    if (!header || strcmp(header, "*") == 0)
        return IJ_OK;
    int64_t found, version;
    int end = 0;
    if (sscanf(header, "\"r%" SCNd64 ".%" SCNd64 "\"%n", &found, &version, &end) < 2 || end == 0 ||
        header[end] || version < 1)
        return IJ_ERR_FIELD(reterr_err, IJ_MALFORMED, "If-Match",
                            "must be an ETag like \"r42.17\"");
    if (found != run)
        return request_refuse(request, PROBLEM_IF_MATCH, "the ETag is that of another run");
    *ret_version = version;
    return IJ_OK;
}

static enum ij_status check_patch(struct request *request, struct ij_err *reterr_err)
{
    static const char *const keys[] = {"name", "notes", "tags", "priority", "retention"};
    if (!request->json)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a body with the changes is needed");
    return json_in_known_keys(request->json, keys, COUNT_OF(keys), &request->problem, reterr_err);
}

enum ij_status serve_command_patch(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    struct control_request command = {.verb = CONTROL_PATCH, .body = request->json};
    struct control_reply answer;
    IJ_TRY(check_patch(request, reterr_err));
    IJ_TRY(request_id(request, 0, 'r', &command.run, reterr_err));
    IJ_TRY(serve_command_owner(request, command.run, reterr_err));
    IJ_TRY(parse_if_match(request, command.run, &command.if_version, reterr_err));
    enum ij_status status = serve_command_call(request, &command, &answer, reterr_err);
    if (status == IJ_CONFLICT && command.if_version)
        return request_refuse(request, PROBLEM_IF_MATCH,
                              "the run has changed since; read it again");
    IJ_TRY(status);
    control_reply_done(&answer);
    return serve_runs_reply(request, command.run, reply, reterr_err);
}

enum ij_status serve_command_backup(struct request *request, struct reply *reply,
                                    struct ij_err *reterr_err)
{
    static const char *const keys[] = {"file"};
    struct control_request command = {.verb = CONTROL_BACKUP, .body = request->json};
    struct control_reply answer;
    const char *file = NULL;
    if (request->json) {
        IJ_TRY(
            json_in_known_keys(request->json, keys, COUNT_OF(keys), &request->problem, reterr_err));
        IJ_TRY(json_in_text(request->json, "file", 1023, &file, reterr_err));
    }
    if (json_object_size(request->json) && (!file || file[0] != '/' || strstr(file, "/../")))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/file", "must be an absolute path");
    IJ_TRY(serve_command_call(request, &command, &answer, reterr_err));
    reply->status = answer.pending ? 202 : 200;
    control_reply_done(&answer);
    return reply_take_json(
        reply, json_pack("{s:o}", "file", file ? json_string(file) : json_null()), reterr_err);
}
