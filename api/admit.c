/* See admit.h. */
#include "api/admit.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/seed_bug.h"

/* A refused body up to this size is read and dropped before the answer. */
#define DROP_BYTES_MAX ((uint64_t)4 * 1024 * 1024)

static enum MHD_Result add_header(void *user, enum MHD_ValueKind kind, const char *name,
                                  size_t name_size, const char *value, size_t value_size)
{
    (void)kind;
    struct request *request = user;
    struct http_check_request *view = &request->view;
    if (view->header_count == HTTP_CHECK_HEADERS_MAX) {
        view->header_overflow = true;
        return MHD_NO;
    }
    request->headers[view->header_count++] = (struct http_check_header){
        .name = name, .value = value, .name_size = name_size, .value_size = value_size};
    return MHD_YES;
}

static void describe(struct request *request, const char *method, const char *version)
{
    request->view = (struct http_check_request){.method = method,
                                                .target = request->target,
                                                .version = version,
                                                .headers = request->headers};
    (void)MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, add_header, request);
}

/* Who is at the other end of a Unix socket. */
static struct auth_peer peer_of(const struct request *request)
{
    struct auth_peer peer = {.known = false};
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    if (request->listener->is_unix && info &&
        getsockopt(info->connect_fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) {
        peer.known = true;
        peer.uid = credentials.uid;
        peer.gid = credentials.gid;
    }
    return peer;
}

static void note_address(struct request *request)
{
    (void)snprintf(request->address, sizeof request->address, "unix");
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (request->listener->is_unix || !info || !info->client_addr)
        return;
    const struct sockaddr *address = info->client_addr;
    if (address->sa_family == AF_INET)
        (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, request->address,
                        sizeof request->address);
    else if (address->sa_family == AF_INET6)
        (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr,
                        request->address, sizeof request->address);
}

static enum ij_status find_route(struct request *request, struct ij_err *reterr_err)
{
    switch (router_find(routes_table, routes_count, request->view.method, request->target,
                        &request->match)) {
    case ROUTER_FOUND:
        return IJ_OK;
    case ROUTER_NO_METHOD:
        return request_refuse(request, PROBLEM_METHOD, "%s does not take %.16s", request->path,
                              request->view.method);
    case ROUTER_NO_PATH:
        break;
    }
    return IJ_ERR(reterr_err, IJ_NOT_FOUND, "there is nothing at %s", request->path);
}

static enum ij_status check_query(struct request *request, struct ij_err *reterr_err)
{
    const char *mark = strchr(request->target, '?');
    IJ_TRY(query_parse(mark ? mark + 1 : NULL, &request->query, reterr_err));
    return query_check(&request->query, request->match.route->query, reterr_err);
}

static bool is_open_route(const struct request *request)
{
    const struct route *route = request->match.route;
    return route->role == ROUTER_OPEN ||
           (request->api->options.open_metrics && strcmp(route->pattern, "/metrics") == 0);
}

/* The caller and, unless the route is open, whether the role is enough. */
static enum ij_status check_caller(struct request *request, struct ij_err *reterr_err)
{
    const struct route *route = request->match.route;
    if (is_open_route(request) ||
        (SEED_BUG(DELETE_OPEN) && strcmp(request->view.method, "DELETE") == 0))
        return IJ_OK;
    struct auth_peer peer = peer_of(request);
    struct store *store;
    IJ_TRY(request_store(request, &store, reterr_err));
    IJ_TRY(auth_identify(&request->view, &peer, &request->api->auth, request->api->sessions, store,
                         clock_wall_ms(), &request->who, reterr_err));
    if (request->who.role + 1 >= (unsigned)route->role)
        return IJ_OK;
    return IJ_ERR(reterr_err, IJ_FORBIDDEN, "this needs the role %s, the token has %s",
                  router_role_name(route->role), token_row_role_name(request->who.role));
}

/* Route, caller, origin, query; any failure is one problem. */
static enum ij_status check_policy(struct request *request, struct ij_err *reterr_err)
{
    IJ_TRY(find_route(request, reterr_err));
    IJ_TRY(check_caller(request, reterr_err));
    if (!http_check_is_read(request->view.method) &&
        http_check_change(&request->view, request->who.by_cookie, &request->problem) !=
            HTTP_CHECK_OK)
        return IJ_INVALID;
    return check_query(request, reterr_err);
}

enum admit_verdict admit_request(struct request *request, const char *method, const char *version)
{
    describe(request, method, version);
    note_address(request);
    const struct http_check_policy *policy = &request->listener->policy;
    uint64_t announced = 0;
    enum http_check_verdict verdict = http_check_shape(&request->view, &request->problem);
    if (verdict == HTTP_CHECK_OK)
        verdict = http_check_host(&request->view, policy, &request->problem);
    if (verdict != HTTP_CHECK_CLOSE) {
        struct problem size_problem;
        problem_init(&size_problem);
        enum http_check_verdict sized =
            http_check_size(&request->view, policy, &announced, &size_problem);
        if (verdict == HTTP_CHECK_OK && sized != HTTP_CHECK_OK) {
            verdict = sized;
            request->problem = size_problem;
        }
    }
    if (verdict == HTTP_CHECK_CLOSE) {
        request->must_close = true;
        return ADMIT_ANSWER_NOW;
    }
    struct ij_err err = IJ_ERR_INIT;
    if (verdict == HTTP_CHECK_OK && check_policy(request, &err) != IJ_OK && !request->problem.http)
        problem_from_err(&request->problem, &err);
    if (request->problem.http && announced > DROP_BYTES_MAX) {
        request->must_close = true;
        return ADMIT_ANSWER_NOW;
    }
    return ADMIT_READ_BODY;
}
