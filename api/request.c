/* See request.h. */
#include "api/request.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "daemon/submit.h"

struct request *request_new(struct listener *listener, struct MHD_Connection *connection,
                            const char *target)
{
    struct request *request = mem_new(struct request);
    char *copy = mem_strdup(target);
    if (!request || !copy) {
        mem_free(request);
        mem_free(copy);
        return NULL;
    }
    request->api = listener->api;
    request->listener = listener;
    request->connection = connection;
    request->target = copy;
    request->started_ns = clock_monotonic_ns();
    (void)snprintf(request->path, sizeof request->path, "%.*s",
                   (int)(strcspn(target, "?") < 255 ? strcspn(target, "?") : 255), target);
    uint64_t number = atomic_fetch_add(&request->api->requests, 1) + 1;
    (void)snprintf(request->id, sizeof request->id, "q%llx-%llu",
                   (unsigned long long)(request->api->started_ms / 1000 & 0xffffff),
                   (unsigned long long)number);
    buf_init(&request->body, request->api->options.body_bytes_max);
    return request;
}

void request_free(struct request *request)
{
    if (!request)
        return;
    request_release_store(request);
    problem_done(&request->problem);
    query_done(&request->query);
    buf_done(&request->body);
    json_decref(request->json);
    mem_free(request->target);
    mem_free(request);
}

enum ij_status request_store(struct request *request, struct store **ret_store,
                             struct ij_err *reterr_err)
{
    if (!request->store)
        IJ_TRY(readers_take(request->api->readers, &request->store, reterr_err));
    *ret_store = request->store;
    return IJ_OK;
}

void request_release_store(struct request *request)
{
    readers_give(request->api->readers, request->store);
    request->store = NULL;
}

enum ij_status request_refuse(struct request *request, enum problem_kind kind, const char *format,
                              ...)
{
    char detail[IJ_ERR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    problem_set(&request->problem, kind, "%s", detail);
    return IJ_INVALID;
}

enum ij_status request_id(const struct request *request, size_t index, char prefix, int64_t *ret_id,
                          struct ij_err *reterr_err)
{
    const char *text = request->match.args[index];
    if (submit_parse_id(text, prefix, ret_id))
        return IJ_OK;
    return IJ_ERR(reterr_err, IJ_NOT_FOUND, "\"%s\" is not an id like %c42", text, prefix);
}

const char *request_header(const struct request *request, const char *name)
{
    return http_check_header_value(&request->view, name, NULL);
}

const char *request_query(const struct request *request, const char *name)
{
    return query_get(&request->query, name);
}
