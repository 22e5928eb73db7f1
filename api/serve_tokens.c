/* Tokens: list, make, revoke. The text of a token is told once, in the answer that makes it. */
#include <string.h>

#include "api/handlers.h"
#include "api/json_in.h"
#include "api/show.h"
#include "base/mem.h"
#include "base/text.h"
#include "daemon/control.h"

#define LIST_MAX 500

enum ij_status serve_tokens_list(struct request *request, struct reply *reply,
                                 struct ij_err *reterr_err)
{
    struct token_row *rows = NULL;
    struct store *store;
    size_t count;
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(token_row_list(store, LIST_MAX, &rows, &count, reterr_err));
    json_t *items = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(items, show_token(&rows[i]));
    mem_free(rows);
    return serve_runs_items(reply, items, reterr_err);
}

static enum ij_status check_create(struct request *request, struct ij_err *reterr_err)
{
    static const char *const keys[] = {"user", "role", "expires_s"};
    const char *user = NULL, *role = NULL;
    json_int_t expires_s = 0;
    enum token_row_role parsed;
    if (!request->json)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a body with \"user\" and \"role\" is needed");
    IJ_TRY(json_in_known_keys(request->json, keys, COUNT_OF(keys), &request->problem, reterr_err));
    IJ_TRY(json_in_text(request->json, "user", 64, &user, reterr_err));
    IJ_TRY(json_in_text(request->json, "role", 16, &role, reterr_err));
    IJ_TRY(json_in_integer(request->json, "expires_s", 1, 315360000, &expires_s, reterr_err));
    if (!user || !text_is_name(user))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/user",
                            "must be 1 to 64 letters, digits, '.', '_' or '-'");
    if (!role || !token_row_role_from_name(role, &parsed))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/role",
                            "must be viewer, submitter, operator or admin");
    return IJ_OK;
}

enum ij_status serve_tokens_create(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    struct control_request command = {.verb = CONTROL_TOKEN_CREATE, .body = request->json};
    struct control_reply answer;
    IJ_TRY(check_create(request, reterr_err));
    IJ_TRY(serve_command_make(request, &command, &answer, reply, reterr_err));
    json_t *details = json_incref(answer.details);
    control_reply_done(&answer);
    return reply_take_json(reply, details, reterr_err);
}

enum ij_status serve_tokens_revoke(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    struct control_reply answer;
    json_t *body = json_pack("{s:s}", "id", request->match.args[0]);
    if (!body)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the command");
    struct control_request command = {.verb = CONTROL_TOKEN_REVOKE, .body = body};
    enum ij_status status = serve_command_call(request, &command, &answer, reterr_err);
    json_decref(body);
    IJ_TRY(status);
    control_reply_done(&answer);
    return reply_take_json(
        reply, json_pack("{s:s, s:b}", "id", request->match.args[0], "revoked", 1), reterr_err);
}
