/* See webhook.h. */
#include "daemon/webhook.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/build.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/courier.h"
#include "daemon/webhook_event.h"
#include "daemon/webhook_sign.h"
#include "store/event_row.h"
#include "store/run_row.h"

#define LOG_MODULE   "webhook"
#define EVENTS_MAX   200 /* looked at in one pass */
#define PAUSE_MAX_MS 3600000
#define BODY_MAX     32768
#define HTTP_GONE    410

struct webhook {
    struct daemon *daemon;
    struct courier *courier;
};

int64_t webhook_pause_ms(uint32_t base_ms, int32_t tries)
{
    int64_t pause_ms = base_ms;
    for (int32_t i = 1; i < tries && pause_ms < PAUSE_MAX_MS; i++)
        pause_ms *= 4;
    return pause_ms < PAUSE_MAX_MS ? pause_ms : PAUSE_MAX_MS;
}

/* ---- Messages -------------------------------------------------------------------------------- */

/* {"id", "name", "kind", "user"}; null where the run is none or gone. */
static json_t *run_json(struct store *store, int64_t id)
{
    struct run_row row;
    if (!id || run_row_get(store, id, &row, NULL) != IJ_OK)
        return json_null();
    json_t *object = json_pack("{s:o, s:s, s:s, s:s}", "id", json_sprintf("r%" PRId64, id), "name",
                               row.name, "kind", row.kind, "user", row.user);
    run_row_done(&row);
    return object;
}

static char *message(struct store *store, const char *name, const struct event_row *event,
                     json_t *data)
{
    char time[CLOCK_RFC3339_SIZE];
    clock_rfc3339(event->ts_ms, time);
    json_t *object =
        json_pack("{s:s, s:I, s:s, s:o, s:O}", "event", name, "id", (json_int_t)event->id, "time",
                  time, "run", run_json(store, event->run), "data", data);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    if (text && strlen(text) > BODY_MAX) {
        free(text);
        json_object_set_new(object, "data", json_null());
        json_object_set_new(object, "truncated", json_true());
        text = json_dumps(object, JSON_COMPACT);
    }
    json_decref(object);
    return text;
}

static enum ij_status enqueue(struct store *store, const struct webhook_row *hook,
                              const struct event_row *event, json_t *data, int64_t *ret_id,
                              struct ij_err *reterr_err)
{
    int64_t now_ms = clock_wall_ms();
    struct delivery_row row = {.webhook = hook->id,
                               .event = event->id,
                               .run = event->run,
                               .next_ms = now_ms,
                               .created_ms = now_ms};
    webhook_event_name(event->type, data, row.type, sizeof(row.type));
    char *text = message(store, row.type, event, data);
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a message");
    row.body = text;
    enum ij_status status = delivery_row_insert(store, &row, reterr_err);
    free(text);
    if (ret_id)
        *ret_id = row.id;
    return status;
}

enum ij_status webhook_enqueue(struct store *store, const struct webhook_row *hook,
                               const struct event_row *event, int64_t *ret_id,
                               struct ij_err *reterr_err)
{
    struct event_row test = {.ts_ms = clock_wall_ms(), .type = WEBHOOK_EVENT_TEST};
    json_t *data = event ? json_loads(event->body, 0, NULL) : json_object();
    enum ij_status status = enqueue(store, hook, event ? event : &test, data, ret_id, reterr_err);
    json_decref(data);
    return status;
}

/* ---- From events to deliveries --------------------------------------------------------------- */

static enum ij_status take_event(struct store *store, const struct webhook_row *hooks, size_t count,
                                 const struct event_row *event, struct ij_err *reterr_err)
{
    json_t *data = json_loads(event->body, 0, NULL);
    enum ij_status status = IJ_OK;
    for (size_t i = 0; i < count && status == IJ_OK; i++) {
        if (!hooks[i].enabled || hooks[i].cursor >= event->id)
            continue;
        json_t *names = json_loads(hooks[i].events, 0, NULL);
        if (webhook_event_matches(names, event->type, data))
            status = enqueue(store, &hooks[i], event, data, NULL, reterr_err);
        json_decref(names);
    }
    json_decref(data);
    return status;
}

static enum ij_status take_events(struct webhook *webhook, const struct webhook_row *hooks,
                                  size_t count, struct ij_err *reterr_err)
{
    struct store *store = webhook->daemon->store;
    struct event_row_list list;
    int64_t after = INT64_MAX;
    for (size_t i = 0; i < count; i++)
        if (hooks[i].enabled && hooks[i].cursor < after)
            after = hooks[i].cursor;
    if (after == INT64_MAX)
        return IJ_OK;
    IJ_TRY(event_row_list(store, 0, after, EVENTS_MAX, &list, reterr_err));
    enum ij_status status = list.count ? store_begin(store, reterr_err) : IJ_OK;
    for (size_t i = 0; i < list.count && status == IJ_OK; i++)
        status = take_event(store, hooks, count, &list.rows[i], reterr_err);
    if (status == IJ_OK && list.count)
        status = webhook_row_advance(store, list.rows[list.count - 1].id, reterr_err);
    if (status == IJ_OK && list.count)
        status = store_commit(store, reterr_err);
    if (status != IJ_OK)
        store_rollback(store);
    event_row_list_done(&list);
    return status;
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void judge(const struct config *config, const struct courier_answer *answer,
                  struct delivery_row *row)
{
    int64_t now_ms = clock_wall_ms();
    bool taken = answer->http >= 200 && answer->http < 300;
    row->tries++;
    row->http = answer->http;
    if (taken)
        row->error[0] = '\0';
    else if (answer->error[0])
        snprintf(row->error, sizeof(row->error), "%s", answer->error);
    else
        snprintf(row->error, sizeof(row->error), "answered %d", answer->http);
    bool last = answer->refused || answer->http == HTTP_GONE ||
                row->tries >= (int32_t)config->webhook_tries;
    row->state = taken ? DELIVERY_ROW_DELIVERED : last ? DELIVERY_ROW_FAILED : DELIVERY_ROW_WAITING;
    if (row->state == DELIVERY_ROW_WAITING)
        row->next_ms = now_ms + webhook_pause_ms(config->webhook_retry_base_ms, row->tries);
    else
        row->ended_ms = now_ms;
}

static enum ij_status write_answer(struct webhook *webhook, const struct courier_answer *answer,
                                   struct ij_err *reterr_err)
{
    struct store *store = webhook->daemon->store;
    struct delivery_row row;
    IJ_TRY(delivery_row_get(store, answer->id, &row, reterr_err));
    bool open = row.state == DELIVERY_ROW_WAITING; /* not given up meanwhile */
    judge(&webhook->daemon->config, answer, &row);
    enum ij_status status = store_begin(store, reterr_err);
    if (status == IJ_OK && open)
        status = delivery_row_update(store, &row, reterr_err);
    if (status == IJ_OK && answer->http == HTTP_GONE)
        status = webhook_row_enable(store, answer->webhook, false,
                                    "the receiver answered 410: it wants no more", clock_wall_ms(),
                                    reterr_err);
    if (status == IJ_OK)
        status = store_commit(store, reterr_err);
    if (status != IJ_OK)
        store_rollback(store);
    if (row.state == DELIVERY_ROW_FAILED)
        log_message(LOG_LEVEL_WARN, WEBHOOK_GIVEN_UP,
                    "d%lld to webhook w%lld given up after %d tries: %s", (long long)row.id,
                    (long long)row.webhook, row.tries, row.error);
    delivery_row_done(&row);
    return status;
}

static void on_answer(void *user, const struct courier_answer *answer)
{
    struct webhook *webhook = user;
    struct ij_err err = IJ_ERR_INIT;
    enum ij_status status = write_answer(webhook, answer, &err);
    if (status != IJ_OK && status != IJ_NOT_FOUND) /* it may have been deleted */
        daemon_storage_error(webhook->daemon, "what came of a delivery", &err);
}

/* ---- Sending --------------------------------------------------------------------------------- */

static enum ij_status send_one(struct webhook *webhook, const struct webhook_row *hook,
                               const struct delivery_row *row, struct ij_err *reterr_err)
{
    int64_t seconds = clock_wall_ms() / 1000;
    char id[32], id_line[64], time_line[64], agent[96], signature[WEBHOOK_SIGN_SIZE],
        signature_line[96];
    snprintf(id, sizeof(id), "d%lld", (long long)row->id);
    IJ_TRY(webhook_sign(hook->secret, id, seconds, row->body, signature, reterr_err));
    snprintf(id_line, sizeof(id_line), "webhook-id: %s", id);
    snprintf(time_line, sizeof(time_line), "webhook-timestamp: %lld", (long long)seconds);
    snprintf(signature_line, sizeof(signature_line), "webhook-signature: %s", signature);
    snprintf(agent, sizeof(agent), "User-Agent: ijepad/%.60s", build_id());
    const char *const headers[] = {
        "Content-Type: application/json", id_line, time_line, signature_line, agent, NULL};
    return courier_send(
        webhook->courier,
        &(struct courier_letter){.id = row->id,
                                 .webhook = hook->id,
                                 .url = hook->url,
                                 .body = row->body,
                                 .headers = headers,
                                 .allow_local = webhook->daemon->config.webhook_allow_local},
        reterr_err);
}

static enum ij_status send_due(struct webhook *webhook, const struct webhook_row *hook,
                               struct ij_err *reterr_err)
{
    struct delivery_row_list list;
    if (!hook->enabled || !courier_has_room(webhook->courier, hook->id))
        return IJ_OK;
    IJ_TRY(delivery_row_due(webhook->daemon->store, hook->id, clock_wall_ms(),
                            2 * COURIER_PER_HOOK_MAX, &list, reterr_err));
    for (size_t i = 0; i < list.count && courier_has_room(webhook->courier, hook->id); i++) {
        struct ij_err err = IJ_ERR_INIT;
        if (courier_carries(webhook->courier, list.rows[i].id))
            continue;
        if (send_one(webhook, hook, &list.rows[i], &err) != IJ_OK)
            on_answer(webhook, &(struct courier_answer){
                                   .id = list.rows[i].id, .webhook = hook->id, .error = err.text});
    }
    delivery_row_list_done(&list);
    return IJ_OK;
}

pid_t webhook_pid(const struct webhook *webhook)
{
    return courier_pid(webhook->courier);
}

void webhook_pass(struct webhook *webhook)
{
    struct ij_err err = IJ_ERR_INIT;
    mem_auto struct webhook_row *hooks = NULL;
    size_t count = 0;
    courier_tick(webhook->courier);
    enum ij_status status = webhook_row_list(webhook->daemon->store, &hooks, &count, &err);
    if (status == IJ_OK)
        status = take_events(webhook, hooks, count, &err);
    for (size_t i = 0; i < count && status == IJ_OK; i++)
        status = send_due(webhook, &hooks[i], &err);
    if (status != IJ_OK && status != IJ_BUSY)
        daemon_storage_error(webhook->daemon, "webhooks", &err);
}

/* ---- Life ------------------------------------------------------------------------------------ */

enum ij_status webhook_new(struct daemon *daemon, struct webhook **ret_webhook,
                           struct ij_err *reterr_err)
{
    struct webhook *webhook = mem_new(struct webhook);
    if (!webhook)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for webhooks");
    webhook->daemon = daemon;
    enum ij_status status =
        courier_new(&(struct courier_options){.event = daemon->event,
                                              .program = daemon->config.webhook_program,
                                              .socket = daemon->config.webhook_socket,
                                              .answered = on_answer,
                                              .user = webhook},
                    &webhook->courier, reterr_err);
    if (status == IJ_OK)
        *ret_webhook = webhook;
    else
        mem_free(webhook);
    return status;
}

void webhook_free(struct webhook *webhook)
{
    if (!webhook)
        return;
    courier_free(webhook->courier);
    mem_free(webhook);
}
