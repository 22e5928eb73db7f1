/* See drain.h. */
#include "daemon/drain.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "daemon/audit.h"
#include "daemon/condition.h"
#include "daemon/queue.h"
#include "daemon/server_event.h"

#define LOG_MODULE "drain"
#define MACHINE    "*"

void drain_load(struct daemon *daemon, struct cordon_row *rows, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        if (strcmp(rows[i].device, MACHINE) == 0) {
            daemon->drain = rows[i];
            condition_set_drain(daemon->condition, &daemon->drain);
            log_notice("nothing is started: drained by %s: %s", rows[i].actor, rows[i].reason);
            memmove(rows + i, rows + i + 1, (--*count - i) * sizeof(*rows));
            return;
        }
}

static enum ij_status write_change(struct daemon *daemon, const struct control_request *request,
                                   const struct cordon_row *drain, struct ij_err *reterr_err)
{
    IJ_TRY(drain->ts_ms ? cordon_row_put(daemon->store, drain, reterr_err)
                        : cordon_row_delete(daemon->store, MACHINE, reterr_err));
    return audit_request(daemon->store, request, 0, reterr_err);
}

static enum ij_status change(struct daemon *daemon, const struct control_request *request,
                             const struct cordon_row *drain, struct ij_err *reterr_err)
{
    IJ_TRY(store_begin(daemon->store, reterr_err));
    enum ij_status status = write_change(daemon, request, drain, reterr_err);
    if (status == IJ_OK)
        status = store_commit(daemon->store, reterr_err);
    if (status != IJ_OK) {
        store_rollback(daemon->store);
        return status;
    }
    daemon->drain = *drain;
    condition_set_drain(daemon->condition, drain);
    log_notice(drain->ts_ms ? "%s drains the machine: %s" : "%s ends the draining%s",
               request->actor, drain->reason);
    queue_schedule(daemon);
    return server_event_put(
        daemon, drain->ts_ms ? "server.drained" : "server.undrained",
        json_pack("{s:s, s:s}", "user", request->actor, "reason", drain->reason), reterr_err);
}

enum ij_status drain_handle(struct daemon *daemon, const struct control_request *request,
                            struct control_reply *reply)
{
    struct cordon_row row = {.ts_ms = 0};
    if (request->verb == CONTROL_UNDRAIN)
        return daemon->drain.ts_ms ? change(daemon, request, &row, &reply->err) : IJ_OK;
    const char *reason = json_string_value(json_object_get(request->body, "reason"));
    if (!reason || !reason[0] || strlen(reason) > CORDON_ROW_REASON_MAX)
        return IJ_ERR_FIELD(&reply->err, IJ_INVALID, "/reason",
                            "reason must say why, in 1 to %d bytes", CORDON_ROW_REASON_MAX);
    row.ts_ms = clock_wall_ms();
    snprintf(row.device, sizeof(row.device), MACHINE);
    snprintf(row.actor, sizeof(row.actor), "%s", request->actor);
    snprintf(row.reason, sizeof(row.reason), "%s", reason);
    return change(daemon, request, &row, &reply->err);
}
