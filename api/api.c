/* See api.h. */
#include "api/api.h"

#include <stdatomic.h>
#include <string.h>

#include "api/context.h"
#include "api/server.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define LOG_MODULE "api"
#define TICK_MS    500

static void *run_ticker(void *user)
{
    struct api *api = user;
    while (!atomic_load(&api->stopping)) {
        int64_t now_ms = clock_monotonic_ms();
        atomic_store(&api->ticked_ms, now_ms);
        atomic_fetch_add(&api->overdue, deadline_enforce(api->deadlines, now_ms));
        stream_hub_wait(api->streams, TICK_MS);
    }
    return NULL;
}

static unsigned or_default(unsigned value, unsigned fallback)
{
    return value ? value : fallback;
}

static void fill_limits(struct api_options *options)
{
    options->connections_max = or_default(options->connections_max, 256);
    options->streams_max = or_default(options->streams_max, 32);
    options->streams_per_token_max = or_default(options->streams_per_token_max, 4);
    options->header_timeout_ms = or_default(options->header_timeout_ms, 10000);
    options->body_timeout_ms = or_default(options->body_timeout_ms, 30000);
    options->idle_timeout_s = or_default(options->idle_timeout_s, 10);
    if (options->body_bytes_max == 0)
        options->body_bytes_max = (size_t)1024 * 1024;
}

static enum ij_status copy_options(struct api *api, const struct api_options *options,
                                   struct ij_err *reterr_err)
{
    api->options = *options;
    fill_limits(&api->options);
    api->state_dir = mem_strdup(options->state_dir);
    api->run_dir = mem_strdup(options->run_dir ? options->run_dir : "");
    api->admin_group = mem_strdup(options->admin_group ? options->admin_group : "");
    api->data_roots = mem_strdup(options->data_roots ? options->data_roots : "");
    if (!api->state_dir || !api->run_dir || !api->admin_group || !api->data_roots)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the API's options");
    api->control = options->control;
    api->events = options->events;
    api->condition = options->condition;
    api->tally = options->tally;
    api->devices = options->devices;
    api->auth = (struct auth_policy){.admin_uid = geteuid(), .admin_group = api->admin_group};
    api->started_ms = clock_wall_ms();
    return IJ_OK;
}

static enum ij_status make_parts(struct api *api, struct ij_err *reterr_err)
{
    IJ_TRY(readers_new(api->state_dir, &api->readers, reterr_err));
    IJ_TRY(session_table_new(&api->sessions, reterr_err));
    IJ_TRY(deadline_table_new(&api->deadlines, reterr_err));
    return stream_hub_new(api->events, api->readers, api->options.streams_max,
                          api->options.streams_per_token_max, &api->streams, reterr_err);
}

static enum ij_status keep_listener(struct api *api, struct listener *listener,
                                    struct ij_err *reterr_err)
{
    if (api->listener_count == CONTEXT_LISTENERS_MAX) {
        listener_done(listener);
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "listen", "more than %d listening sockets",
                            CONTEXT_LISTENERS_MAX);
    }
    listener->api = api;
    listener->policy.body_bytes_max = api->options.body_bytes_max;
    api->listeners[api->listener_count++] = *listener;
    struct listener *kept = &api->listeners[api->listener_count - 1];
    return listener_set_hosts(kept, api->options.allowed_hosts, api->options.allowed_host_count,
                              reterr_err);
}

static enum ij_status open_tcp(struct api *api, struct ij_err *reterr_err)
{
    mem_auto char *copy = mem_strdup(api->options.listen ? api->options.listen : "");
    if (!copy)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for addresses");
    char *rest = copy, *address;
    while ((address = strsep(&rest, " "))) {
        if (!*address)
            continue;
        struct listener listener;
        IJ_TRY(listener_tcp(address, api->options.allow_remote, &listener, reterr_err));
        IJ_TRY(keep_listener(api, &listener, reterr_err));
    }
    return IJ_OK;
}

static enum ij_status open_listeners(struct api *api, struct ij_err *reterr_err)
{
    struct listener listener;
    IJ_TRY(open_tcp(api, reterr_err));
    if (api->options.unix_path && *api->options.unix_path) {
        IJ_TRY(listener_unix(api->options.unix_path, api->admin_group, &listener, reterr_err));
        IJ_TRY(keep_listener(api, &listener, reterr_err));
    }
    for (size_t i = 0; i < api->options.inherited_count; i++) {
        IJ_TRY(listener_inherit(api->options.inherited_fds[i], &listener, reterr_err));
        IJ_TRY(keep_listener(api, &listener, reterr_err));
    }
    if (api->listener_count == 0)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "listen", "there is no address to listen on");
    return IJ_OK;
}

static enum ij_status start_threads(struct api *api, struct ij_err *reterr_err)
{
    atomic_store(&api->ticked_ms, clock_monotonic_ms());
    if (pthread_create(&api->ticker, NULL, run_ticker, api) != 0)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no thread for the API's ticker");
    api->ticker_started = true;
    for (size_t i = 0; i < api->listener_count; i++)
        IJ_TRY(server_start(&api->listeners[i], reterr_err));
    return IJ_OK;
}

/* Inherited descriptors stay the caller's when api_new fails. */
static void disown_inherited(struct api *api)
{
    for (size_t i = 0; i < api->listener_count; i++)
        for (size_t k = 0; k < api->options.inherited_count; k++)
            if (api->listeners[i].fd == api->options.inherited_fds[k])
                api->listeners[i].fd = -1;
}

enum ij_status api_new(const struct api_options *options, struct api **ret_api,
                       struct ij_err *reterr_err)
{
    struct api *api = mem_new(struct api);
    if (!api)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the API");
    enum ij_status status = copy_options(api, options, reterr_err);
    if (status == IJ_OK)
        status = make_parts(api, reterr_err);
    if (status == IJ_OK)
        status = open_listeners(api, reterr_err);
    if (status == IJ_OK)
        status = start_threads(api, reterr_err);
    if (status != IJ_OK) {
        api_stop(api);
        disown_inherited(api);
        api_free(api);
        return status;
    }
    /* The caller's strings need not outlive this call. */
    api->options.listen = api->options.unix_path = api->options.state_dir = NULL;
    api->options.run_dir = api->options.admin_group = api->options.data_roots = NULL;
    api->options.inherited_fds = NULL;
    api->options.allowed_hosts = NULL;
    *ret_api = api;
    return IJ_OK;
}

void api_stop(struct api *api)
{
    if (atomic_exchange(&api->stopping, true))
        return;
    for (size_t i = 0; i < api->listener_count; i++)
        server_quiesce(&api->listeners[i]);
    if (api->streams)
        stream_hub_close(api->streams);
    if (api->ticker_started)
        pthread_join(api->ticker, NULL);
    for (size_t i = 0; i < api->listener_count; i++)
        server_stop(&api->listeners[i]);
}

void api_free(struct api *api)
{
    if (!api)
        return;
    api_stop(api);
    for (size_t i = 0; i < api->listener_count; i++)
        listener_done(&api->listeners[i]);
    stream_hub_free(api->streams);
    deadline_table_free(api->deadlines);
    session_table_free(api->sessions);
    readers_free(api->readers);
    mem_free(api->state_dir);
    mem_free(api->run_dir);
    mem_free(api->admin_group);
    mem_free(api->data_roots);
    mem_free(api);
}

unsigned api_port(const struct api *api)
{
    for (size_t i = 0; i < api->listener_count; i++)
        if (!api->listeners[i].is_unix)
            return api->listeners[i].port;
    return 0;
}

int64_t api_silence_ms(const struct api *api)
{
    int64_t oldest_ms = atomic_load(&api->ticked_ms);
    for (size_t i = 0; i < api->listener_count; i++) {
        int64_t since_ms = atomic_load(&api->listeners[i].busy_since_ms);
        if (since_ms && since_ms < oldest_ms)
            oldest_ms = since_ms;
    }
    return clock_monotonic_ms() - oldest_ms;
}
