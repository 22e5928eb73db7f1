/* See respond.h. */
#include "api/respond.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/compress.h"
#include "base/clock.h"
#include "base/mem.h"

#define STREAM_BLOCK 16384

static const char *const fixed_headers[][2] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
     "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
};

static void count_answer(struct request *request, unsigned status)
{
    size_t row = routes_index(request->match.route);
    histogram_add(&request->api->counts[row].answers[status / 100 % 6],
                  clock_monotonic_ns() - request->started_ns);
}

/* Takes the reply's body. NULL: no memory; the reply then still owns it. */
static struct MHD_Response *make_response(struct reply *reply)
{
    struct MHD_Response *response;
    if (reply->stream) {
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, reply->stream,
                                                     reply->stream_user, reply->stream_release);
        if (response)
            reply->stream_release = NULL;
    } else if (reply->fd >= 0) {
        response =
            MHD_create_response_from_fd_at_offset64(reply->fd_size, reply->fd, reply->fd_offset);
        if (response)
            reply->fd = -1;
    } else if (reply->data) {
        response = MHD_create_response_from_buffer(reply->size, reply->data, MHD_RESPMEM_MUST_FREE);
        if (response)
            reply->data = NULL;
    } else {
        void *fixed = (void *)(uintptr_t)(reply->fixed ? reply->fixed : "");
        response = MHD_create_response_from_buffer(reply->size, fixed, MHD_RESPMEM_PERSISTENT);
    }
    return response;
}

static void add_headers(struct request *request, const struct reply *reply, unsigned status,
                        struct MHD_Response *response)
{
    for (size_t i = 0; i < COUNT_OF(fixed_headers); i++)
        (void)MHD_add_response_header(response, fixed_headers[i][0], fixed_headers[i][1]);
    if (!reply->cacheable)
        (void)MHD_add_response_header(response, "Cache-Control", "no-store");
    if (status != 304 && status != 204)
        (void)MHD_add_response_header(response, "Content-Type",
                                      reply->type ? reply->type : "application/json");
    (void)MHD_add_response_header(response, "Request-Id", request->id);
    for (size_t i = 0; i < reply->header_count; i++)
        (void)MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
    if (request->must_close)
        (void)MHD_add_response_header(response, "Connection", "close");
}

enum MHD_Result respond_reply(struct request *request, struct reply *reply)
{
    unsigned status = reply->status ? reply->status : request->match.route->success;
    compress_reply(reply, request_header(request, "accept-encoding"));
    struct MHD_Response *response = make_response(reply);
    enum MHD_Result result = MHD_NO;
    if (response) {
        add_headers(request, reply, status, response);
        result = MHD_queue_response(request->connection, status, response);
        MHD_destroy_response(response);
    }
    reply_done(reply);
    request->phase = REQUEST_ANSWERED;
    count_answer(request, status);
    return result;
}

static void add_problem_headers(struct request *request, struct reply *reply)
{
    const struct problem *problem = &request->problem;
    if (problem->http == 401)
        reply_header(reply, "WWW-Authenticate", "Bearer realm=\"ijepad\"");
    if (problem->retry_after_s)
        reply_header(reply, "Retry-After", "%u", problem->retry_after_s);
    if (problem->http == 416)
        reply_header(reply, "Content-Range", "bytes */%" PRIu64, problem->file_bytes);
    if (problem->http == 405) {
        char allow[128];
        router_allow(routes_table, routes_count, request->target, allow, sizeof allow);
        reply_header(reply, "Allow", "%s", allow);
    }
}

enum MHD_Result respond_problem(struct request *request)
{
    struct reply reply;
    reply_init(&reply);
    reply.status = request->problem.http;
    reply.type = "application/problem+json";
    /* The path is echoed only where it passed the shape check: a JSON string in any case. */
    json_t *document =
        problem_to_json(&request->problem, request->must_close ? "/" : request->path, request->id);
    if (reply_take_json(&reply, document, NULL) != IJ_OK)
        reply.size = 0; /* no memory: the status alone has to do */
    add_problem_headers(request, &reply);
    return respond_reply(request, &reply);
}
