/* See webhook_verb.h. The API has checked the form of the body; what it says is checked here. */
#include "daemon/webhook_verb.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "daemon/audit.h"
#include "daemon/idempotency.h"
#include "daemon/submit.h"
#include "daemon/webhook.h"
#include "daemon/webhook_event.h"
#include "daemon/webhook_sign.h"
#include "daemon/webhook_url.h"
#include "store/webhook_row.h"

/* Checks the body and fills what it says; the secret is new. */
static enum ij_status fill(struct daemon *daemon, const struct control_request *request,
                           struct webhook_row *row, struct ij_err *reterr_err)
{
    const char *url = json_string_value(json_object_get(request->body, "url"));
    const char *note = json_string_value(json_object_get(request->body, "note"));
    const json_t *events = json_object_get(request->body, "events");
    if (!url)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "/url", "url is required");
    IJ_TRY(webhook_url_check(url, daemon->config.webhook_allow_local, reterr_err));
    IJ_TRY(webhook_event_check(events, reterr_err));
    char *text = json_dumps(events, JSON_COMPACT);
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a webhook");
    snprintf(row->events, sizeof(row->events), "%s", text);
    free(text);
    snprintf(row->url, sizeof(row->url), "%s", url);
    snprintf(row->note, sizeof(row->note), "%s", note ? note : "");
    snprintf(row->user, sizeof(row->user), "%s", request->actor);
    row->enabled = true;
    row->created_ms = clock_wall_ms();
    return webhook_sign_new_secret(row->secret, reterr_err);
}

static enum ij_status create(struct daemon *daemon, const struct control_request *request,
                             struct control_reply *reply)
{
    struct webhook_row row = {.id = 0};
    char id[IDEMPOTENCY_ID_SIZE];
    bool known;
    IJ_TRY(idempotency_find(daemon->store, request, reply, id, &known));
    if (known)
        return submit_parse_id(id, 'w', &reply->webhook)
                   ? IJ_OK
                   : IJ_ERR_FIELD(&reply->err, IJ_INVALID, "Idempotency-Key",
                                  "the key was used for something else");
    IJ_TRY(fill(daemon, request, &row, &reply->err));
    IJ_TRY(webhook_row_insert(daemon->store, &row, &reply->err));
    reply->details = json_pack("{s:s}", "secret", row.secret);
    reply->webhook = row.id;
    snprintf(id, sizeof(id), "w%lld", (long long)row.id);
    IJ_TRY(idempotency_keep(daemon->store, request, id, &reply->err));
    explicit_bzero(row.secret, sizeof(row.secret));
    return IJ_OK;
}

static enum ij_status act(struct daemon *daemon, const struct control_request *request,
                          struct control_reply *reply)
{
    struct webhook_row row;
    struct ij_err *err = &reply->err;
    int64_t delivery = 0;
    if (request->verb == CONTROL_WEBHOOK_CREATE)
        return create(daemon, request, reply);
    reply->webhook = request->webhook;
    if (request->verb == CONTROL_WEBHOOK_DELETE)
        return webhook_row_delete(daemon->store, request->webhook, err);
    if (request->verb == CONTROL_WEBHOOK_PATCH) {
        bool enabled = json_is_true(json_object_get(request->body, "enabled"));
        return webhook_row_enable(daemon->store, request->webhook, enabled,
                                  enabled ? "" : "switched off by a person", clock_wall_ms(), err);
    }
    IJ_TRY(webhook_row_get(daemon->store, request->webhook, &row, err));
    if (!row.enabled)
        return IJ_ERR(err, IJ_CONFLICT, "w%lld is switched off", (long long)row.id);
    IJ_TRY(webhook_enqueue(daemon->store, &row, NULL, &delivery, err));
    reply->details = json_pack("{s:I}", "delivery", (json_int_t)delivery);
    return IJ_OK;
}

enum ij_status webhook_verb_handle(struct daemon *daemon, const struct control_request *request,
                                   struct control_reply *reply)
{
    IJ_TRY(store_begin(daemon->store, &reply->err));
    enum ij_status status = act(daemon, request, reply);
    struct control_request told = *request;
    told.webhook = reply->webhook;
    if (status == IJ_OK && !reply->replayed)
        status = audit_request(daemon->store, &told, 0, &reply->err);
    if (status == IJ_OK)
        status = store_commit(daemon->store, &reply->err);
    if (status != IJ_OK)
        store_rollback(daemon->store);
    else if (request->verb == CONTROL_WEBHOOK_TEST)
        webhook_pass(daemon->webhook);
    return status;
}
