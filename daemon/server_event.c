/* See server_event.h. */
#include "daemon/server_event.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/event_row.h"

enum ij_status server_event_put(struct daemon *daemon, const char *type, json_t *body,
                                struct ij_err *reterr_err)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct event_row row = {.ts_ms = clock_wall_ms(), .body = text};
    enum ij_status status =
        text ? IJ_OK : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an event");
    snprintf(row.type, sizeof(row.type), "%s", type);
    if (status == IJ_OK)
        status = event_row_append(daemon->store, &row, reterr_err);
    if (status == IJ_OK)
        event_bus_publish(daemon->bus, row.id, 0, type, body);
    free(text);
    json_decref(body);
    return status;
}
