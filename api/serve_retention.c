/* What frees space: deletion of runs and checkpoints, pins, and the sweep over all old checkpoints.
 * With ?dry_run=1 the same rules answer, and nothing changes. */
#include <inttypes.h>

#include "api/handlers.h"
#include "api/json_in.h"
#include "api/show.h"
#include "base/file.h"
#include "base/mem.h"
#include "daemon/control.h"
#include "daemon/retention.h"
#include "daemon/run_erase.h"
#include "store/checkpoint_row.h"
#include "store/run_row.h"

#define GC_MAX      100
#define GC_KEEP_MAX 1000
#define GC_ROWS_MAX 2000

static json_t *show_deleted(char prefix, int64_t id, bool dry, json_int_t bytes)
{
    return json_pack("{s:o, s:b, s:I}", "id", show_id(prefix, id), "dry_run", dry, "freed_bytes",
                     bytes);
}

static json_int_t freed_of(const struct control_reply *answer)
{
    return json_integer_value(json_object_get(answer->details, "freed_bytes"));
}

/* ---- Checkpoints ---- */

/* The row that the path names; the caller must command its run. */
static enum ij_status find_checkpoint(struct request *request, struct store **ret_store,
                                      struct checkpoint_row *ret_row, struct ij_err *reterr_err)
{
    int64_t id;
    IJ_TRY(request_id(request, 0, 'c', &id, reterr_err));
    IJ_TRY(request_store(request, ret_store, reterr_err));
    IJ_TRY(checkpoint_row_get(*ret_store, id, ret_row, reterr_err));
    return serve_command_owner(request, ret_row->run, reterr_err);
}

enum ij_status serve_retention_pin(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    static const char *const keys[] = {"pinned"};
    struct checkpoint_row row;
    struct control_reply answer;
    struct store *store;
    bool pinned = false;
    if (!request->json)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a body with \"pinned\" is needed");
    IJ_TRY(json_in_known_keys(request->json, keys, COUNT_OF(keys), &request->problem, reterr_err));
    IJ_TRY(json_in_bool(request->json, "pinned", &pinned, reterr_err));
    IJ_TRY(find_checkpoint(request, &store, &row, reterr_err));
    struct control_request command = {
        .verb = CONTROL_CHECKPOINT_PIN, .checkpoint = row.id, .body = request->json};
    IJ_TRY(serve_command_call(request, &command, &answer, reterr_err));
    control_reply_done(&answer);
    IJ_TRY(checkpoint_row_get(store, row.id, &row, reterr_err));
    return reply_take_json(reply, show_checkpoint(&row), reterr_err);
}

enum ij_status serve_retention_checkpoint(struct request *request, struct reply *reply,
                                          struct ij_err *reterr_err)
{
    struct checkpoint_row row;
    struct control_reply answer;
    struct store *store;
    bool dry = query_flag(&request->query, "dry_run");
    IJ_TRY(find_checkpoint(request, &store, &row, reterr_err));
    if (dry) {
        IJ_TRY(retention_check_checkpoint(store, &row, reterr_err));
        json_int_t bytes = (json_int_t)file_tree_bytes(row.path);
        return reply_take_json(reply, show_deleted('c', row.id, true, bytes), reterr_err);
    }
    struct control_request command = {.verb = CONTROL_CHECKPOINT_DELETE, .checkpoint = row.id};
    IJ_TRY(serve_command_call(request, &command, &answer, reterr_err));
    json_t *object = show_deleted('c', row.id, false, freed_of(&answer));
    control_reply_done(&answer);
    return reply_take_json(reply, object, reterr_err);
}

/* ---- Runs ---- */

static enum ij_status check_run(struct request *request, int64_t run, struct ij_err *reterr_err)
{
    struct control_reply answer = {.err = IJ_ERR_INIT};
    struct store *store;
    IJ_TRY(request_store(request, &store, reterr_err));
    enum ij_status status = run_erase_check(store, run, &answer);
    if (status != IJ_OK)
        status = serve_command_refusal(request, &answer, reterr_err);
    control_reply_done(&answer);
    return status;
}

enum ij_status serve_retention_run(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    struct control_request command = {.verb = CONTROL_DELETE};
    struct control_reply answer;
    IJ_TRY(request_id(request, 0, 'r', &command.run, reterr_err));
    IJ_TRY(serve_command_owner(request, command.run, reterr_err));
    if (query_flag(&request->query, "dry_run")) {
        IJ_TRY(check_run(request, command.run, reterr_err));
        json_int_t bytes = (json_int_t)run_erase_bytes(request->api->state_dir, command.run);
        return reply_take_json(reply, show_deleted('r', command.run, true, bytes), reterr_err);
    }
    IJ_TRY(serve_command_call(request, &command, &answer, reterr_err));
    json_t *object = show_deleted('r', command.run, false, freed_of(&answer));
    control_reply_done(&answer);
    return reply_take_json(reply, object, reterr_err);
}

/* ---- All of them ---- */

static json_t *show_item(const struct checkpoint_row *row, json_int_t bytes,
                         const struct ij_err *err)
{
    return json_pack("{s:o, s:o, s:I, s:I, s:o}", "id", show_id('c', row->id), "run",
                     show_id('r', row->run), "step", (json_int_t)row->step, "freed_bytes", bytes,
                     "detail", err->code == IJ_OK ? json_null() : json_string(err->text));
}

/* Why the checkpoints of the run that is looked at stay. */
struct kept {
    int64_t run;
    struct checkpoint_row *rows;
    unsigned *reasons;
    size_t count;
};

static void kept_done(struct kept *kept)
{
    mem_free(kept->rows);
    mem_free(kept->reasons);
    *kept = (struct kept){.run = 0};
}

static enum ij_status kept_read(struct kept *kept, struct store *store, int64_t run,
                                struct ij_err *reterr_err)
{
    struct run_row row;
    if (kept->run == run)
        return IJ_OK;
    kept_done(kept);
    IJ_TRY(run_row_get(store, run, &row, reterr_err));
    struct retention_policy policy = retention_policy_of(&row);
    run_row_done(&row);
    IJ_TRY(retention_reasons(store, run, &policy, &kept->rows, &kept->reasons, &kept->count,
                             reterr_err));
    kept->run = run;
    return IJ_OK;
}

/* Does its run's policy keep it for something else than its age? */
static bool is_kept(struct kept *kept, struct store *store, const struct checkpoint_row *row)
{
    if (kept_read(kept, store, row->run, NULL) != IJ_OK)
        return true;
    for (size_t i = 0; i < kept->count; i++)
        if (kept->rows[i].id == row->id)
            return kept->reasons[i] & ~(unsigned)RETENTION_POLICY_IS_LATEST;
    return true;
}

/* One checkpoint goes, or would; *bytes is added to. */
static json_t *sweep_one(struct request *request, struct store *store,
                         const struct checkpoint_row *row, bool dry, json_int_t *bytes)
{
    struct control_request command = {.verb = CONTROL_CHECKPOINT_DELETE, .checkpoint = row->id};
    struct control_reply answer = {.err = IJ_ERR_INIT};
    struct ij_err err = IJ_ERR_INIT;
    json_int_t freed = 0;
    if (dry) {
        if (retention_check_checkpoint(store, row, &err) == IJ_OK)
            freed = (json_int_t)file_tree_bytes(row->path);
    } else if (serve_command_call(request, &command, &answer, &err) == IJ_OK) {
        freed = freed_of(&answer);
        control_reply_done(&answer);
    }
    problem_done(&request->problem); /* one refusal is not that of the request */
    *bytes += freed;
    return show_item(row, freed, &err);
}

enum ij_status serve_retention_gc(struct request *request, struct reply *reply,
                                  struct ij_err *reterr_err)
{
    static const char *const keys[] = {"keep"};
    mem_auto struct checkpoint_row *rows = NULL;
    struct store *store;
    json_int_t keep = 1, bytes = 0;
    size_t count = 0;
    bool dry = query_flag(&request->query, "dry_run");
    if (request->json) {
        IJ_TRY(
            json_in_known_keys(request->json, keys, COUNT_OF(keys), &request->problem, reterr_err));
        IJ_TRY(json_in_integer(request->json, "keep", 1, GC_KEEP_MAX, &keep, reterr_err));
    }
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(checkpoint_row_surplus(store, (uint32_t)keep, GC_ROWS_MAX, &rows, &count, reterr_err));
    bool more = count == GC_ROWS_MAX;
    json_t *items = json_array();
    struct kept kept = {.run = 0};
    for (size_t i = 0; i < count; i++) {
        if (is_kept(&kept, store, &rows[i]))
            continue;
        more |= json_array_size(items) == GC_MAX;
        if (json_array_size(items) == GC_MAX)
            break;
        (void)json_array_append_new(items, sweep_one(request, store, &rows[i], dry, &bytes));
    }
    kept_done(&kept);
    return reply_take_json(reply,
                           json_pack("{s:b, s:I, s:o, s:b}", "dry_run", dry, "freed_bytes", bytes,
                                     "items", items, "more", more),
                           reterr_err);
}
