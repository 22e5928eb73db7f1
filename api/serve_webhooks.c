/* Webhooks: who is told of events, and the log of what was sent. Secrets leave once, when made. */
#include <inttypes.h>
#include <string.h>

#include "api/handlers.h"
#include "api/json_in.h"
#include "api/page_link.h"
#include "api/show.h"
#include "base/mem.h"
#include "daemon/control.h"
#include "store/webhook_row.h"

#define PAGE_DEFAULT 50

static json_t *show_webhook(const struct webhook_row *row)
{
    bool ended = row->last_ms != 0;
    return json_pack(
        "{s:o, s:s, s:o, s:o, s:s, s:b, s:o, s:o, s:I, s:o, s:o, s:o}", "id", show_id('w', row->id),
        "url", row->url, "events", show_stored(row->events), "note", show_text(row->note), "user",
        row->user, "enabled", row->enabled, "reason", show_text(row->reason), "created",
        show_time(row->created_ms), "waiting", (json_int_t)row->waiting, "last_state",
        ended ? json_string(delivery_row_state_name(row->last_state)) : json_null(), "last_http",
        ended && row->last_http ? json_integer(row->last_http) : json_null(), "last_ended",
        show_time(row->last_ms));
}

static json_t *show_delivery(const struct delivery_row *row)
{
    bool waits = row->state == DELIVERY_ROW_WAITING;
    return json_pack(
        "{s:o, s:s, s:o, s:o, s:s, s:i, s:o, s:o, s:o, s:o, s:o}", "id", show_id('d', row->id),
        "event", row->type, "event_id", row->event ? json_integer(row->event) : json_null(), "run",
        show_id('r', row->run), "state", delivery_row_state_name(row->state), "tries",
        (int)row->tries, "next", show_time(waits ? row->next_ms : 0), "http",
        row->http ? json_integer(row->http) : json_null(), "error", show_text(row->error),
        "created", show_time(row->created_ms), "ended", show_time(row->ended_ms));
}

static enum ij_status read_webhook(struct request *request, int64_t id, json_t **ret_object,
                                   struct ij_err *reterr_err)
{
    struct webhook_row row;
    struct store *store;
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(webhook_row_get(store, id, &row, reterr_err));
    *ret_object = show_webhook(&row);
    explicit_bzero(row.secret, sizeof row.secret);
    return *ret_object ? IJ_OK : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the answer");
}

/* ---- Reading ---- */

enum ij_status serve_webhooks_list(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    mem_auto struct webhook_row *rows = NULL;
    struct store *store;
    size_t count;
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(webhook_row_list(store, &rows, &count, reterr_err));
    json_t *items = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(items, show_webhook(&rows[i]));
    return serve_runs_items(reply, items, reterr_err);
}

enum ij_status serve_webhooks_show(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    int64_t id;
    json_t *object;
    IJ_TRY(request_id(request, 0, 'w', &id, reterr_err));
    IJ_TRY(read_webhook(request, id, &object, reterr_err));
    return reply_take_json(reply, object, reterr_err);
}

enum ij_status serve_webhooks_deliveries(struct request *request, struct reply *reply,
                                         struct ij_err *reterr_err)
{
    struct delivery_row_list list;
    struct webhook_row row;
    struct store *store;
    int64_t id, before = (int64_t)query_integer(&request->query, "before", 0);
    uint32_t limit = (uint32_t)query_integer(&request->query, "limit", PAGE_DEFAULT);
    IJ_TRY(request_id(request, 0, 'w', &id, reterr_err));
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(webhook_row_get(store, id, &row, reterr_err));
    IJ_TRY(delivery_row_list(store, id, before, limit, &list, reterr_err));
    json_t *items = json_array();
    for (size_t i = 0; i < list.count; i++)
        (void)json_array_append_new(items, show_delivery(&list.rows[i]));
    json_t *next = list.count == limit ? json_integer(list.rows[list.count - 1].id) : json_null();
    delivery_row_list_done(&list);
    page_link_before(request, reply, json_integer_value(next));
    return reply_take_json(reply, json_pack("{s:o, s:o}", "items", items, "next_before", next),
                           reterr_err);
}

/* ---- Changing ---- */

static enum ij_status check_create(struct request *request, struct ij_err *reterr_err)
{
    static const char *const keys[] = {"url", "events", "note"};
    const char *url = NULL, *note = NULL;
    if (!request->json)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a body with \"url\" and \"events\" is needed");
    IJ_TRY(json_in_known_keys(request->json, keys, COUNT_OF(keys), &request->problem, reterr_err));
    IJ_TRY(json_in_text(request->json, "url", WEBHOOK_ROW_URL_SIZE - 1, &url, reterr_err));
    IJ_TRY(json_in_text(request->json, "note", 128, &note, reterr_err));
    return IJ_OK;
}

enum ij_status serve_webhooks_create(struct request *request, struct reply *reply,
                                     struct ij_err *reterr_err)
{
    struct control_request command = {.verb = CONTROL_WEBHOOK_CREATE, .body = request->json};
    struct control_reply answer;
    json_t *object = NULL;
    IJ_TRY(check_create(request, reterr_err));
    IJ_TRY(serve_command_make(request, &command, &answer, reply, reterr_err));
    int64_t id = answer.webhook;
    enum ij_status status = read_webhook(request, id, &object, reterr_err);
    if (status == IJ_OK)
        (void)json_object_set_new(
            object, "secret",
            answer.replayed ? json_null() : json_incref(json_object_get(answer.details, "secret")));
    control_reply_done(&answer);
    IJ_TRY(status);
    reply_header(reply, "Location", "/v1/webhooks/w%" PRId64, id);
    return reply_take_json(reply, object, reterr_err);
}

/* The commands on one webhook, whose number the path gives. */
static enum ij_status command(struct request *request, enum control_verb verb, const json_t *body,
                              struct control_reply *ret_answer, int64_t *ret_id,
                              struct ij_err *reterr_err)
{
    IJ_TRY(request_id(request, 0, 'w', ret_id, reterr_err));
    struct control_request told = {.verb = verb, .webhook = *ret_id, .body = body};
    return serve_command_call(request, &told, ret_answer, reterr_err);
}

enum ij_status serve_webhooks_patch(struct request *request, struct reply *reply,
                                    struct ij_err *reterr_err)
{
    static const char *const keys[] = {"enabled"};
    struct control_reply answer;
    json_t *object;
    bool enabled;
    int64_t id;
    if (!request->json)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a body with \"enabled\" is needed");
    IJ_TRY(json_in_known_keys(request->json, keys, COUNT_OF(keys), &request->problem, reterr_err));
    IJ_TRY(json_in_bool(request->json, "enabled", &enabled, reterr_err));
    if (!json_is_boolean(json_object_get(request->json, "enabled")))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/enabled", "enabled must be true or false");
    IJ_TRY(command(request, CONTROL_WEBHOOK_PATCH, request->json, &answer, &id, reterr_err));
    control_reply_done(&answer);
    IJ_TRY(read_webhook(request, id, &object, reterr_err));
    return reply_take_json(reply, object, reterr_err);
}

enum ij_status serve_webhooks_delete(struct request *request, struct reply *reply,
                                     struct ij_err *reterr_err)
{
    struct control_reply answer;
    int64_t id;
    IJ_TRY(command(request, CONTROL_WEBHOOK_DELETE, NULL, &answer, &id, reterr_err));
    control_reply_done(&answer);
    return reply_take_json(reply, json_pack("{s:o, s:b}", "id", show_id('w', id), "deleted", 1),
                           reterr_err);
}

enum ij_status serve_webhooks_test(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    struct control_reply answer;
    int64_t id;
    if (request->json)
        IJ_TRY(json_in_known_keys(request->json, NULL, 0, &request->problem, reterr_err));
    IJ_TRY(command(request, CONTROL_WEBHOOK_TEST, NULL, &answer, &id, reterr_err));
    json_int_t delivery = json_integer_value(json_object_get(answer.details, "delivery"));
    control_reply_done(&answer);
    return reply_take_json(reply, json_pack("{s:o}", "delivery", show_id('d', delivery)),
                           reterr_err);
}
