/* How the server itself is: what was restored, what is wrong, which backups there are. */
#include "api/handlers.h"
#include "api/json_in.h"
#include "api/show.h"
#include "base/clock.h"
#include "base/mem.h"
#include "daemon/condition.h"
#include "daemon/control.h"
#include "store/backup_set.h"

static void add_alert(json_t *alerts, const char *name, const char *text)
{
    (void)json_array_append_new(alerts, json_pack("{s:s, s:s}", "alert", name, "text", text));
}

static json_t *alerts_of(const struct condition_view *view)
{
    json_t *alerts = json_array();
    if (view->degraded)
        add_alert(alerts, "degraded",
                  "the database was restored from a backup; submissions are refused until an "
                  "operator acknowledges it");
    if (view->wal_large)
        add_alert(alerts, "wal", "the write-ahead logs are larger than wal_alarm_bytes");
    if (view->metrics_damaged)
        add_alert(alerts, "metrics", "metrics.db is damaged; what is read from it may be wrong");
    if (view->backup_error[0])
        add_alert(alerts, "backup", view->backup_error);
    return alerts;
}

enum ij_status serve_status_show(struct request *request, struct reply *reply,
                                 struct ij_err *reterr_err)
{
    struct condition_view view;
    condition_read(request->api->condition, &view);
    json_t *account = condition_account(request->api->condition);
    const struct cordon_row *drain = &view.drain;
    json_t *drained = drain->ts_ms ? json_pack("{s:s, s:s, s:o}", "by", drain->actor, "reason",
                                               drain->reason, "since", show_time(drain->ts_ms))
                                   : json_null();
    int64_t up_ms = clock_wall_ms() - request->api->started_ms;
    return reply_take_json(reply,
                           json_pack("{s:s, s:f, s:o, s:o, s:o, s:{s:o, s:o, s:b, s:o}}", "status",
                                     view.degraded ? "degraded" : "ok", "uptime_s",
                                     (double)(up_ms > 0 ? up_ms : 0) / 1000.0, "degraded",
                                     account ? account : json_null(), "drained", drained, "alerts",
                                     alerts_of(&view), "backups", "state",
                                     show_time(view.backup_ms[0]), "metrics",
                                     show_time(view.backup_ms[1]), "running", view.backup_running,
                                     "error", show_text(view.backup_error)),
                           reterr_err);
}

enum ij_status serve_status_backups(struct request *request, struct reply *reply,
                                    struct ij_err *reterr_err)
{
    mem_auto struct backup_set_entry *entries = NULL;
    size_t count = 0;
    IJ_TRY(backup_set_list(request->api->state_dir, &entries, &count, reterr_err));
    json_t *items = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(items,
                                    json_pack("{s:s, s:s, s:o, s:I}", "name", entries[i].name,
                                              "database", entries[i].metrics ? "metrics" : "state",
                                              "made", show_time(entries[i].made_ms), "size_bytes",
                                              (json_int_t)entries[i].bytes));
    return serve_runs_items(reply, items, reterr_err);
}

enum ij_status serve_status_acknowledge(struct request *request, struct reply *reply,
                                        struct ij_err *reterr_err)
{
    struct control_request command = {.verb = CONTROL_ACKNOWLEDGE};
    struct control_reply answer;
    if (request->json)
        IJ_TRY(json_in_known_keys(request->json, NULL, 0, &request->problem, reterr_err));
    IJ_TRY(serve_command_call(request, &command, &answer, reterr_err));
    control_reply_done(&answer);
    return reply_take_json(reply, json_pack("{s:b}", "acknowledged", 1), reterr_err);
}

enum ij_status serve_status_drain(struct request *request, struct reply *reply,
                                  struct ij_err *reterr_err)
{
    static const char *const keys[] = {"reason"};
    struct control_request command = {.verb = CONTROL_DRAIN};
    struct control_reply answer;
    if (!request->json)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "a body with \"reason\" is needed");
    IJ_TRY(json_in_known_keys(request->json, keys, COUNT_OF(keys), &request->problem, reterr_err));
    command.body = request->json;
    IJ_TRY(serve_command_call(request, &command, &answer, reterr_err));
    control_reply_done(&answer);
    return serve_status_show(request, reply, reterr_err);
}

enum ij_status serve_status_undrain(struct request *request, struct reply *reply,
                                    struct ij_err *reterr_err)
{
    struct control_request command = {.verb = CONTROL_UNDRAIN};
    struct control_reply answer;
    if (request->json)
        IJ_TRY(json_in_known_keys(request->json, NULL, 0, &request->problem, reterr_err));
    IJ_TRY(serve_command_call(request, &command, &answer, reterr_err));
    control_reply_done(&answer);
    return serve_status_show(request, reply, reterr_err);
}
