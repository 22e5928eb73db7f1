/* POST /v1/runs: a submission, or with ?dry_run=1 what would come of it. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "api/handlers.h"
#include "base/mem.h"
#include "daemon/control.h"
#include "daemon/submit.h"
#include "store/checkpoint_row.h"
#include "store/run_row.h"

#define KEY_MAX 128

static bool run_exists(void *user, int64_t run)
{
    struct run_row row;
    if (run_row_get(user, run, &row, NULL) != IJ_OK)
        return false;
    run_row_done(&row);
    return true;
}

static bool checkpoint_exists(void *user, int64_t checkpoint)
{
    struct checkpoint_row row;
    return checkpoint_row_get(user, checkpoint, &row, NULL) == IJ_OK &&
           row.state == CHECKPOINT_ROW_VALID;
}

static enum ij_status dry_run(struct request *request, struct reply *reply,
                              struct ij_err *reterr_err)
{
    struct store *store;
    IJ_TRY(request_store(request, &store, reterr_err));
    struct submit_lookup lookup = {
        .user = store, .run_exists = run_exists, .checkpoint_exists = checkpoint_exists};
    mem_auto struct submit_result *result = mem_new(struct submit_result);
    json_t *errors = json_array();
    if (!result || !errors) {
        json_decref(errors);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the check");
    }
    enum ij_status status = submit_check(request->json, &lookup, result, errors, reterr_err);
    if (status != IJ_OK) {
        request->problem.errors = errors;
        return status;
    }
    json_decref(errors);
    reply->status = 200;
    json_t *object = json_pack("{s:b, s:O, s:O}", "dry_run", 1, "resolved", result->resolved,
                               "plan", result->plan_json);
    submit_result_done(result);
    return reply_take_json(reply, object, reterr_err);
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

enum ij_status serve_submit_run(struct request *request, struct reply *reply,
                                struct ij_err *reterr_err)
{
    if (!request->json)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "JSON: the body is empty, an object is expected");
    if (query_flag(&request->query, "dry_run"))
        return dry_run(request, reply, reterr_err);
    struct control_request command = {.verb = CONTROL_SUBMIT, .body = request->json};
    struct control_reply answer;
    command.idempotency_key = request_header(request, "idempotency-key");
    IJ_TRY(check_key(command.idempotency_key, reterr_err));
    struct ij_err err = IJ_ERR_INIT;
    enum ij_status status = serve_command_call(request, &command, &answer, &err);
    if (status == IJ_INVALID && strcmp(err.field, "Idempotency-Key") == 0)
        return request_refuse(request, PROBLEM_IDEMPOTENCY, "%s", err.text);
    if (status != IJ_OK)
        return status; /* serve_command_call has told it */
    int64_t run = answer.run;
    if (answer.replayed)
        reply_header(reply, "Idempotent-Replayed", "true");
    control_reply_done(&answer);
    reply_header(reply, "Location", "/v1/runs/r%" PRId64, run);
    return serve_runs_reply(request, run, reply, reterr_err);
}
