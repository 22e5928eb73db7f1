/* GET /v1/events: one stream for everything that happens (api/stream.h). */
#include <string.h>

#include "api/handlers.h"
#include "base/text.h"
#include "store/event_row.h"

/* Last-Event-ID, or the newest id there is: a new client hears of what comes, not of the past. */
static enum ij_status start_position(struct request *request, struct stream_options *options,
                                     struct ij_err *reterr_err)
{
    const char *header = request_header(request, "last-event-id");
    uint64_t id;
    if (header && text_to_u64(header, &id) && id <= INT64_MAX) {
        options->replay = true;
        options->last_event_id = (int64_t)id;
        return IJ_OK;
    }
    if (header)
        return IJ_ERR_FIELD(reterr_err, IJ_MALFORMED, "Last-Event-ID", "must be a number");
    int64_t oldest;
    struct store *store;
    IJ_TRY(request_store(request, &store, reterr_err));
    return event_row_bounds(store, &oldest, &options->last_event_id, reterr_err);
}

enum ij_status serve_events_stream(struct request *request, struct reply *reply,
                                   struct ij_err *reterr_err)
{
    struct stream_options options = {.replay = false};
    options.owner = request->who.token_id[0] ? request->who.token_id : request->who.user;
    IJ_TRY(stream_parse_topics(request_query(request, "topics"), &options.topics, reterr_err));
    IJ_TRY(start_position(request, &options, reterr_err));
    struct ij_err err = IJ_ERR_INIT;
    enum ij_status status =
        stream_open(request->api->streams, request->connection, &options, reply, &err);
    if (status == IJ_BUSY)
        return request_refuse(request, PROBLEM_TOO_MANY, "%s", err.text);
    if (status != IJ_OK && reterr_err)
        *reterr_err = err;
    return status;
}
