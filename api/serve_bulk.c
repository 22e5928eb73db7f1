/*
 * POST /v1/runs/bulk and POST /v1/queue/move.
 *
 * A bulk command is as many single commands: each run is changed or refused by itself, and the
 * answer tells which. What is wrong with the request as a whole is found before the first.
 */
#include <inttypes.h>
#include <string.h>

#include "api/handlers.h"
#include "api/json_in.h"
#include "api/show.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/control.h"
#include "daemon/submit.h"
#include "store/run_row.h"

#define BULK_MAX 200

static const enum control_verb bulk_verbs[] = {CONTROL_CANCEL,  CONTROL_KILL,      CONTROL_PAUSE,
                                               CONTROL_RESUME,  CONTROL_HOLD,      CONTROL_RELEASE,
                                               CONTROL_REQUEUE, CONTROL_CHECKPOINT};

static enum ij_status parse_action(const json_t *body, enum control_verb *ret_verb,
                                   struct ij_err *reterr_err)
{
    const char *names[COUNT_OF(bulk_verbs)], *action = NULL;
    IJ_TRY(json_in_text(body, "action", 16, &action, reterr_err));
    for (size_t i = 0; i < COUNT_OF(bulk_verbs); i++) {
        names[i] = control_verb_name(bulk_verbs[i]);
        if (action && strcmp(action, names[i]) == 0) {
            *ret_verb = bulk_verbs[i];
            return IJ_OK;
        }
    }
    const char *near = action ? text_nearest(action, names, COUNT_OF(names)) : NULL;
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/action",
                        "must be cancel, kill, pause, resume, hold, release, requeue or "
                        "checkpoint%s%s%s",
                        near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static enum ij_status parse_ids(const json_t *body, int64_t ret_ids[BULK_MAX], size_t *ret_count,
                                struct ij_err *reterr_err)
{
    const json_t *ids = json_object_get(body, "ids");
    size_t count = json_array_size(ids);
    if (!json_is_array(ids) || count == 0 || count > BULK_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/ids",
                            "must be an array of 1 to %d runs like \"r42\"", BULK_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(ids, i));
        char pointer[32];
        (void)snprintf(pointer, sizeof pointer, "/ids/%zu", i);
        if (!text || !submit_parse_id(text, 'r', &ret_ids[i]))
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, pointer, "must be a run like \"r42\"");
        for (size_t k = 0; k < i; k++)
            if (ret_ids[k] == ret_ids[i])
                return IJ_ERR_FIELD(reterr_err, IJ_INVALID, pointer, "r%" PRId64 " is there twice",
                                    ret_ids[i]);
    }
    *ret_count = count;
    return IJ_OK;
}

static json_t *show_outcome(int64_t run, unsigned status, const char *state,
                            const struct ij_err *err)
{
    bool good = status < 300;
    return json_pack("{s:o, s:i, s:o, s:o, s:o}", "id", show_id('r', run), "status", (int)status,
                     "state", show_text(state), "code",
                     good ? json_null() : json_string(ij_status_name(err->code)), "detail",
                     good ? json_null() : json_string(err->text));
}

/* One run: its command and what came of it. *ret_status is the HTTP status of the single command.
 */
static json_t *do_one(struct request *request, enum control_verb verb, int64_t run,
                      unsigned *ret_status)
{
    struct control_request command = {.verb = verb, .run = run};
    struct control_reply answer;
    struct ij_err err = IJ_ERR_INIT;
    struct run_row row = {0};
    struct store *store;
    enum ij_status status = serve_command_owner(request, run, &err);
    *ret_status = 200;
    if (status == IJ_OK)
        status = serve_command_call(request, &command, &answer, &err);
    if (status == IJ_OK) {
        *ret_status = answer.pending ? 202 : 200;
        control_reply_done(&answer);
    } else {
        *ret_status = (unsigned)ij_status_http(err.code);
    }
    problem_done(&request->problem); /* one run's refusal is not that of the request */
    bool known = request_store(request, &store, NULL) == IJ_OK &&
                 run_row_get(store, run, &row, NULL) == IJ_OK;
    json_t *item = show_outcome(run, *ret_status, known ? run_state_name(row.state) : NULL, &err);
    run_row_done(&row);
    return item;
}

enum ij_status serve_bulk_runs(struct request *request, struct reply *reply,
                               struct ij_err *reterr_err)
{
    static const char *const keys[] = {"action", "ids"};
    enum control_verb verb = CONTROL_CANCEL;
    int64_t ids[BULK_MAX];
    size_t count = 0, done = 0;
    if (!request->json)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a body with \"action\" and \"ids\" is needed");
    IJ_TRY(json_in_known_keys(request->json, keys, COUNT_OF(keys), &request->problem, reterr_err));
    IJ_TRY(parse_action(request->json, &verb, reterr_err));
    IJ_TRY(parse_ids(request->json, ids, &count, reterr_err));
    json_t *items = json_array();
    bool silent = false; /* the loop does not answer: do not wait as long for each of the others */
    for (size_t i = 0; i < count; i++) {
        struct ij_err err = IJ_ERR_INIT;
        unsigned status = 503;
        if (silent)
            (void)IJ_ERR(&err, IJ_BUSY, "not tried: the daemon did not answer");
        json_t *item = silent ? show_outcome(ids[i], status, NULL, &err)
                              : do_one(request, verb, ids[i], &status);
        silent = silent || status == 503;
        done += status < 300;
        (void)json_array_append_new(items, item);
    }
    return reply_take_json(reply,
                           json_pack("{s:s, s:I, s:I, s:o}", "action", control_verb_name(verb),
                                     "done", (json_int_t)done, "refused",
                                     (json_int_t)(count - done), "items", items),
                           reterr_err);
}

/* {"run": "r5", "before"|"after": "r3"} or {"run": "r5", "top": true}. */
enum ij_status serve_bulk_move(struct request *request, struct reply *reply,
                               struct ij_err *reterr_err)
{
    static const char *const keys[] = {"run", "before", "after", "top"};
    struct control_request command = {.verb = CONTROL_MOVE, .body = request->json};
    struct control_reply answer;
    const char *run = NULL;
    if (!request->json)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a body with \"run\" is needed");
    IJ_TRY(json_in_known_keys(request->json, keys, COUNT_OF(keys), &request->problem, reterr_err));
    IJ_TRY(json_in_text(request->json, "run", 24, &run, reterr_err));
    if (!run || !submit_parse_id(run, 'r', &command.run))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/run", "must be a run like \"r42\"");
    IJ_TRY(serve_command_owner(request, command.run, reterr_err));
    IJ_TRY(serve_command_call(request, &command, &answer, reterr_err));
    control_reply_done(&answer);
    return serve_runs_reply(request, command.run, reply, reterr_err);
}
