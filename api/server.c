/* See server.h. */
#include "api/server.h"

#include <netinet/in.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "api/admit.h"
#include "api/json_in.h"
#include "api/request.h"
#include "api/respond.h"
#include "base/clock.h"
#include "base/log.h"

#define LOG_MODULE "api"

#define CONNECTION_MEMORY ((size_t)64 * 1024)

static struct deadline_entry *entry_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* `from_now_ms` 0: no deadline. */
static void set_deadline(struct listener *listener, struct MHD_Connection *connection,
                         int64_t from_now_ms)
{
    deadline_set(listener->api->deadlines, entry_of(connection),
                 from_now_ms ? clock_monotonic_ms() + from_now_ms : 0);
}

static void on_connection(void *user, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct listener *listener = user;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        deadline_remove(listener->api->deadlines, *socket_context);
        *socket_context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info)
        *socket_context =
            deadline_add(listener->api->deadlines, info->connect_fd,
                         clock_monotonic_ms() + listener->api->options.header_timeout_ms);
}

static void *on_target(void *user, const char *target, struct MHD_Connection *connection)
{
    return request_new(user, connection, target);
}

/* The next head must be complete in the idle time plus the head's own. */
static void on_completed(void *user, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    (void)code;
    struct listener *listener = user;
    const struct api_options *options = &listener->api->options;
    set_deadline(listener, connection,
                 (int64_t)options->idle_timeout_s * 1000 + options->header_timeout_ms);
    request_free(*state);
    *state = NULL;
}

static enum ij_status parse_body(struct request *request, struct ij_err *reterr_err)
{
    enum ij_status status = buf_status(&request->body);
    if (status == IJ_TOO_LARGE)
        return IJ_ERR(reterr_err, status, "a body has at most %zu bytes", request->body.max);
    if (status != IJ_OK)
        return IJ_ERR(reterr_err, status, "no memory for the body");
    if (request->body.size == 0)
        return IJ_OK;
    if (!request->match.route->request_schema)
        return IJ_ERR(reterr_err, IJ_MALFORMED, "this request takes no body");
    return json_in_object(request->body.data, request->body.size, &request->json, reterr_err);
}

/* What the route's handler says, or the problem that came before. */
static enum MHD_Result answer(struct request *request)
{
    if (request->problem.http)
        return respond_problem(request);
    struct ij_err err = IJ_ERR_INIT;
    struct reply reply;
    reply_init(&reply);
    enum ij_status status = parse_body(request, &err);
    if (status == IJ_OK) {
        atomic_store(&request->listener->busy_since_ms, clock_monotonic_ms());
        status = request->match.route->handler(request, &reply, &err);
        atomic_store(&request->listener->busy_since_ms, 0);
    }
    request_release_store(request); /* not while a peer takes its time with the answer */
    if (status == IJ_OK)
        return respond_reply(request, &reply);
    reply_done(&reply);
    if (!request->problem.http)
        problem_from_err(&request->problem, &err);
    if (request->problem.http >= 500)
        log_warn("%s %s: %s", request->view.method, request->path, request->problem.detail);
    return respond_problem(request);
}

static enum MHD_Result on_head(struct request *request, const char *method, const char *version)
{
    request->phase = REQUEST_BODY;
    set_deadline(request->listener, request->connection, request->api->options.body_timeout_ms);
    enum admit_verdict verdict = admit_request(request, method, version);
    request_release_store(request); /* not while a peer takes its time with the body */
    return verdict == ADMIT_ANSWER_NOW ? respond_problem(request) : MHD_YES;
}

static enum MHD_Result on_request(void *user, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **state)
{
    (void)user, (void)url;
    struct request *request = *state;
    if (!request)
        return MHD_NO; /* no memory at the first line */
    if (request->phase == REQUEST_NEW)
        return on_head(request, method, version);
    if (*size) {
        if (!request->problem.http)
            buf_append(&request->body, data, *size);
        *size = 0;
        return MHD_YES;
    }
    set_deadline(request->listener, connection, 0);
    return answer(request);
}

/* libmicrohttpd also reports each peer that went away: nothing for the log at its usual level. */
__attribute__((format(printf, 2, 0))) static void on_log(void *user, const char *format,
                                                         va_list args)
{
    (void)user;
    char text[256];
    (void)vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    log_debug("libmicrohttpd: %s", text);
}

enum ij_status server_start(struct listener *listener, struct ij_err *reterr_err)
{
    const struct api_options *options = &listener->api->options;
    unsigned flags =
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem items[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)on_log, listener},
        {MHD_OPTION_LISTEN_SOCKET, listener->fd, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)options->connections_max, NULL},
        {MHD_OPTION_PER_IP_CONNECTION_LIMIT,
         listener->is_unix ? 0 : (intptr_t)options->connections_per_ip_max, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)options->idle_timeout_s, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)CONNECTION_MEMORY, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, listener},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, listener},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, listener},
        {MHD_OPTION_END, 0, NULL},
    };
    listener->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, listener,
                                        MHD_OPTION_ARRAY, items, MHD_OPTION_END);
    if (!listener->daemon)
        return IJ_ERR(reterr_err, IJ_IO, "the HTTP server does not start (port %u)",
                      listener->port);
    return IJ_OK;
}

/* libmicrohttpd hands the listening socket back, and listener_done closes it. */
void server_quiesce(struct listener *listener)
{
    if (listener->daemon)
        (void)MHD_quiesce_daemon(listener->daemon);
}

void server_stop(struct listener *listener)
{
    if (listener->daemon)
        MHD_stop_daemon(listener->daemon);
    listener->daemon = NULL;
}
