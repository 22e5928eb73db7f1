/* Is the process alive, can it work, what is it. */
#include <microhttpd.h>
#include <stdatomic.h>
#include <string.h>

#include "api/handlers.h"
#include "base/build.h"
#include "base/clock.h"
#include "base/file.h"
#include "daemon/condition.h"
#include "store/run_row.h"

static bool is_degraded(struct request *request)
{
    struct condition_view view;
    condition_read(request->api->condition, &view);
    return view.degraded;
}

/* Touches nothing: a stuck database must not look like a dead process. */
enum ij_status serve_health_live(struct request *request, struct reply *reply,
                                 struct ij_err *reterr_err)
{
    int64_t up_ms = clock_wall_ms() - request->api->started_ms;
    return reply_take_json(reply,
                           json_pack("{s:s, s:f, s:b}", "status", "ok", "uptime_s",
                                     (double)(up_ms > 0 ? up_ms : 0) / 1000.0, "degraded",
                                     is_degraded(request)),
                           reterr_err);
}

static const char *check_store(struct request *request)
{
    struct store *store;
    int64_t counts[RUN_STATE_COUNT];
    enum ij_status status = request_store(request, &store, NULL);
    if (status == IJ_OK)
        status = run_row_count_by_state(store, counts, NULL);
    return ij_status_name(status);
}

/* Open to all, so it names no path and no run. */
enum ij_status serve_health_ready(struct request *request, struct reply *reply,
                                  struct ij_err *reterr_err)
{
    const char *store = check_store(request);
    bool stopping = atomic_load(&request->api->stopping);
    const char *disk = file_free_bytes(request->api->state_dir) > 0 ? "ok" : "full";
    bool ready = !stopping && strcmp(store, "ok") == 0 && strcmp(disk, "ok") == 0;
    reply->status = ready ? 200 : 503;
    if (!ready)
        reply_header(reply, "Retry-After", "2");
    return reply_take_json(reply,
                           json_pack("{s:s, s:{s:s, s:s, s:s}, s:b}", "status",
                                     ready ? "ready" : "not_ready", "checks", "store", store,
                                     "disk", disk, "server", stopping ? "stopping" : "ok",
                                     "degraded", is_degraded(request)),
                           reterr_err);
}

enum ij_status serve_health_version(struct request *request, struct reply *reply,
                                    struct ij_err *reterr_err)
{
    struct store *store;
    struct store_facts facts;
    IJ_TRY(request_store(request, &store, reterr_err));
    store_facts(store, &facts);
    return reply_take_json(reply,
                           json_pack("{s:s, s:s, s:s, s:s}", "api", "v1", "build", build_id(),
                                     "sqlite", facts.sqlite_version, "libmicrohttpd",
                                     MHD_get_version()),
                           reterr_err);
}
