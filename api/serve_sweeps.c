/* Sweeps, and the audit log: pages by descending id. */
#include <inttypes.h>

#include "api/handlers.h"
#include "api/json_in.h"
#include "api/page_link.h"
#include "api/show.h"
#include "base/mem.h"
#include "daemon/control.h"
#include "daemon/submit.h"
#include "daemon/sweep.h"
#include "store/audit_row.h"
#include "store/sweep_row.h"

#define PAGE_DEFAULT 50

static json_t *show_sweep(const struct sweep_row *row, json_t *runs)
{
    return json_pack("{s:o, s:s, s:s, s:i, s:o, s:I, s:I, s:o, s:o*}", "id", show_id('s', row->id),
                     "name", row->name, "user", row->user, "max_parallel", (int)row->max_parallel,
                     "created", show_time(row->created_ms), "count", (json_int_t)row->runs, "ended",
                     (json_int_t)row->ended, "spec", show_stored(row->spec), "runs", runs);
}

/* {"items", "next_before"}: the page is full, so there may be more. */
static enum ij_status reply_page(struct request *request, struct reply *reply, json_t *items,
                                 bool full, int64_t last, struct ij_err *reterr_err)
{
    json_t *next = full ? json_integer((json_int_t)last) : json_null();
    page_link_before(request, reply, full ? last : 0);
    return reply_take_json(reply, json_pack("{s:o, s:o}", "items", items, "next_before", next),
                           reterr_err);
}

enum ij_status serve_sweeps_list(struct request *request, struct reply *reply,
                                 struct ij_err *reterr_err)
{
    struct sweep_row_list list;
    struct store *store;
    uint32_t limit = (uint32_t)query_integer(&request->query, "limit", PAGE_DEFAULT);
    int64_t before = (int64_t)query_integer(&request->query, "before", 0);
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(sweep_row_list(store, before, limit, &list, reterr_err));
    json_t *items = json_array();
    for (size_t i = 0; i < list.count; i++)
        (void)json_array_append_new(items, show_sweep(&list.rows[i], NULL));
    int64_t last = list.count ? list.rows[list.count - 1].id : 0;
    bool full = list.count == limit;
    sweep_row_list_done(&list);
    return reply_page(request, reply, items, full, last, reterr_err);
}

static enum ij_status reply_sweep(struct request *request, int64_t id, struct reply *reply,
                                  struct ij_err *reterr_err)
{
    mem_auto int64_t *ids = NULL;
    struct sweep_row row = {0};
    struct store *store;
    size_t count = 0;
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(sweep_row_runs(store, id, &ids, &count, reterr_err));
    IJ_TRY(sweep_row_get(store, id, &row, reterr_err));
    json_t *runs = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(runs, show_id('r', ids[i]));
    json_t *object = show_sweep(&row, runs);
    sweep_row_done(&row);
    return reply_take_json(reply, object, reterr_err);
}

enum ij_status serve_sweeps_show(struct request *request, struct reply *reply,
                                 struct ij_err *reterr_err)
{
    int64_t id;
    IJ_TRY(request_id(request, 0, 's', &id, reterr_err));
    return reply_sweep(request, id, reply, reterr_err);
}

/* Parameters only: whether runs and checkpoints exist that they name is seen at the submission. */
static enum ij_status check_runs(struct request *request, const json_t *runs,
                                 struct ij_err *reterr_err)
{
    const struct submit_lookup no_rows = {.data_roots = request->api->data_roots};
    mem_auto struct submit_result *result = mem_new(struct submit_result);
    json_t *errors = json_array();
    enum ij_status status =
        result && errors ? IJ_OK : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the check");
    for (size_t i = 0; i < json_array_size(runs) && status == IJ_OK; i++) {
        status = submit_check(json_array_get(runs, i), &no_rows, result, errors, reterr_err);
        if (status == IJ_OK)
            submit_result_done(result);
    }
    if (status == IJ_OK)
        json_decref(errors);
    else
        request->problem.errors = errors;
    return status;
}

/* The submissions that it would make. */
static enum ij_status dry_run(struct request *request, struct reply *reply,
                              struct ij_err *reterr_err)
{
    struct sweep sweep;
    IJ_TRY(sweep_expand(request->json, &sweep, reterr_err));
    enum ij_status status = check_runs(request, sweep.runs, reterr_err);
    if (status != IJ_OK) {
        sweep_done(&sweep);
        return status;
    }
    reply->status = 200;
    json_t *object =
        json_pack("{s:b, s:i, s:i, s:O}", "dry_run", 1, "count", (int)json_array_size(sweep.runs),
                  "max_parallel", (int)sweep.max_parallel, "runs", sweep.runs);
    sweep_done(&sweep);
    return reply_take_json(reply, object, reterr_err);
}

enum ij_status serve_sweeps_create(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    struct control_request command = {.verb = CONTROL_SWEEP, .body = request->json};
    struct control_reply answer;
    if (!request->json)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "JSON: the body is empty, an object is expected");
    if (query_flag(&request->query, "dry_run"))
        return dry_run(request, reply, reterr_err);
    IJ_TRY(serve_command_make(request, &command, &answer, reply, reterr_err));
    int64_t id = answer.run;
    control_reply_done(&answer);
    reply_header(reply, "Location", "/v1/sweeps/s%" PRId64, id);
    return reply_sweep(request, id, reply, reterr_err);
}

/* ---- Audit ---- */

static json_t *show_audit(const struct audit_row *row)
{
    return json_pack("{s:I, s:o, s:s, s:o, s:s, s:o, s:o}", "id", (json_int_t)row->id, "time",
                     show_time(row->ts_ms), "actor", row->actor, "address", show_text(row->address),
                     "action", row->action, "target", show_text(row->target), "detail",
                     row->detail[0] ? show_stored(row->detail) : json_null());
}

enum ij_status serve_audit_list(struct request *request, struct reply *reply,
                                struct ij_err *reterr_err)
{
    mem_auto struct audit_row *rows = NULL;
    struct store *store;
    size_t count = 0;
    uint32_t limit = (uint32_t)query_integer(&request->query, "limit", PAGE_DEFAULT);
    int64_t before = (int64_t)query_integer(&request->query, "before", 0);
    IJ_TRY(request_store(request, &store, reterr_err));
    const struct audit_row_filter filter = {.actor = request_query(request, "actor"),
                                            .action = request_query(request, "action"),
                                            .target = request_query(request, "target")};
    IJ_TRY(audit_row_list(store, &filter, before, limit, &rows, &count, reterr_err));
    json_t *items = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(items, show_audit(&rows[i]));
    return reply_page(request, reply, items, count == limit, count ? rows[count - 1].id : 0,
                      reterr_err);
}
