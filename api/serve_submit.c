/* POST /v1/runs and /v1/runs/{id}/clone: a submission, or with ?dry_run=1 what would come of it. */
#include <inttypes.h>
#include <string.h>

#include "api/handlers.h"
#include "api/json_in.h"
#include "base/mem.h"
#include "daemon/control.h"
#include "daemon/submit.h"
#include "daemon/submit_plan.h"
#include "daemon/submit_store.h"
#include "store/run_row.h"

static enum ij_status dry_run(struct request *request, const json_t *body, struct reply *reply,
                              struct ij_err *reterr_err)
{
    struct store *store;
    IJ_TRY(request_store(request, &store, reterr_err));
    const struct api *api = request->api;
    struct submit_lookup lookup = submit_store_lookup(store, api->devices, api->data_roots);
    mem_auto struct submit_result *result = mem_new(struct submit_result);
    json_t *errors = json_array();
    if (!result || !errors) {
        json_decref(errors);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the check");
    }
    enum ij_status status = submit_check(body, &lookup, result, errors, reterr_err);
    if (status != IJ_OK) {
        request->problem.errors = errors;
        return status;
    }
    json_decref(errors);
    reply->status = 200;
    json_t *object = json_pack("{s:b, s:O, s:o}", "dry_run", 1, "resolved", result->resolved,
                               "plan", submit_plan(&lookup, result));
    submit_result_done(result);
    return reply_take_json(reply, object, reterr_err);
}

/* Submits `body`; `parent` 0: it is no clone. */
static enum ij_status submit(struct request *request, const json_t *body, int64_t parent,
                             struct reply *reply, struct ij_err *reterr_err)
{
    if (query_flag(&request->query, "dry_run"))
        return dry_run(request, body, reply, reterr_err);
    struct control_request command = {.verb = CONTROL_SUBMIT, .run = parent, .body = body};
    struct control_reply answer;
    IJ_TRY(serve_command_make(request, &command, &answer, reply, reterr_err));
    int64_t run = answer.run;
    control_reply_done(&answer);
    reply_header(reply, "Location", "/v1/runs/r%" PRId64, run);
    return serve_runs_reply(request, run, reply, reterr_err);
}

enum ij_status serve_submit_run(struct request *request, struct reply *reply,
                                struct ij_err *reterr_err)
{
    if (!request->json)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "JSON: the body is empty, an object is expected");
    return submit(request, request->json, 0, reply, reterr_err);
}

/* ---- Clones ---- */

/* Parameters as submitted, with the edits over them; null takes one back to its default. */
static json_t *merge_params(const struct run_row *row, const json_t *edits)
{
    json_t *params = row->params ? json_loads(row->params, 0, NULL) : NULL;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)edits, key, value)
    {
        if (json_is_null(value))
            (void)json_object_del(params, key);
        else
            (void)json_object_set(params, key, value);
    }
    return params;
}

/* What would have to be submitted to get the same run again, with the edits. */
static json_t *clone_body(const struct run_row *row, const json_t *edits)
{
    json_t *tags = row->tags ? json_loads(row->tags, 0, NULL) : NULL;
    json_t *body =
        json_pack("{s:s, s:s, s:o*, s:s, s:i, s:i, s:I, s:b}", "kind", row->kind, "name", row->name,
                  "tags", tags, "notes", row->notes ? row->notes : "", "priority",
                  (int)row->priority, "gpus", (int)row->slots, "gpu_memory_bytes",
                  (json_int_t)row->gpu_memory_bytes, "preemptible", row->preemptible);
    json_t *retention = row->retention ? json_loads(row->retention, 0, NULL) : NULL;
    if (json_object_size(retention))
        (void)json_object_set(body, "retention", retention);
    json_decref(retention);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)edits, key, value)
    {
        if (strcmp(key, "params") != 0)
            (void)json_object_set(body, key, value);
    }
    json_t *params = json_object_get(edits, "params");
    (void)json_object_set_new(body, "params", merge_params(row, params));
    return body;
}

static enum ij_status check_edits(struct request *request, struct ij_err *reterr_err)
{
    static const char *const keys[] = {
        "name", "params", "priority",         "after",       "tags",     "notes",
        "hold", "gpus",   "gpu_memory_bytes", "preemptible", "retention"};
    if (!request->json)
        return IJ_OK;
    IJ_TRY(json_in_known_keys(request->json, keys, COUNT_OF(keys), &request->problem, reterr_err));
    const json_t *params = json_object_get(request->json, "params");
    if (params && !json_is_object(params))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/params", "params must be an object");
    return IJ_OK;
}

enum ij_status serve_submit_clone(struct request *request, struct reply *reply,
                                  struct ij_err *reterr_err)
{
    struct run_row row;
    struct store *store;
    int64_t source;
    IJ_TRY(request_id(request, 0, 'r', &source, reterr_err));
    IJ_TRY(check_edits(request, reterr_err));
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(run_row_get(store, source, &row, reterr_err));
    json_t *body = clone_body(&row, request->json);
    run_row_done(&row);
    enum ij_status status = body ? submit(request, body, source, reply, reterr_err)
                                 : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a clone");
    json_decref(body);
    return status;
}
