/* See audit.h. */
#include "daemon/audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/audit_row.h"

/* Details only where they are short and tell what changed; submissions are in the run's row. */
static bool has_detail(enum control_verb verb)
{
    switch (verb) {
    case CONTROL_PATCH:
    case CONTROL_MOVE:
    case CONTROL_TOKEN_CREATE:
    case CONTROL_TOKEN_REVOKE:
    case CONTROL_BACKUP:
    case CONTROL_CORDON:
    case CONTROL_UNCORDON:
    case CONTROL_DRAIN:
    case CONTROL_WEBHOOK_CREATE:
    case CONTROL_WEBHOOK_PATCH:
        return true;
    default:
        return false;
    }
}

static bool is_about_devices(enum control_verb verb)
{
    return verb == CONTROL_CORDON || verb == CONTROL_UNCORDON;
}

enum ij_status audit_request(struct store *store, const struct control_request *request,
                             int64_t run, struct ij_err *reterr_err)
{
    struct audit_row row = {.ts_ms = clock_wall_ms()};
    snprintf(row.actor, sizeof(row.actor), "%s", request->actor ? request->actor : "");
    snprintf(row.address, sizeof(row.address), "%s", request->address ? request->address : "");
    const char *noun = is_about_devices(request->verb) ? "gpu."
                       : run && !request->checkpoint   ? "run."
                                                       : "";
    snprintf(row.action, sizeof(row.action), "%s%s", noun, control_verb_name(request->verb));
    if (request->checkpoint)
        snprintf(row.target, sizeof(row.target), "c%lld", (long long)request->checkpoint);
    else if (is_about_devices(request->verb))
        snprintf(row.target, sizeof(row.target), "%s",
                 json_string_value(json_object_get(request->body, "gpu")));
    else if (run)
        snprintf(row.target, sizeof(row.target), "r%lld", (long long)run);
    else if (request->webhook)
        snprintf(row.target, sizeof(row.target), "w%lld", (long long)request->webhook);
    if (request->body && has_detail(request->verb)) {
        char *text = json_dumps(request->body, JSON_COMPACT);
        snprintf(row.detail, sizeof(row.detail), "%s",
                 text && strlen(text) < sizeof(row.detail) ? text : "{}");
        free(text);
    }
    return audit_row_append(store, &row, reterr_err);
}
