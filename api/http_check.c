/* See http_check.h. */
#include "api/http_check.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/seed_bug.h"
#include "base/text.h"

static enum http_check_verdict refuse_shape(struct problem *problem, const char *why)
{
    struct ij_err err;
    (void)IJ_ERR(&err, IJ_MALFORMED, "%s", why);
    problem_from_err(problem, &err);
    return HTTP_CHECK_CLOSE;
}

const char *http_check_header_value(const struct http_check_request *request, const char *name,
                                    size_t *ret_count)
{
    const char *value = NULL;
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_check_header *header = &request->headers[i];
        if (strcasecmp(header->name, name) != 0)
            continue;
        count++;
        value = header->value ? header->value : "";
    }
    if (ret_count)
        *ret_count = count;
    return value;
}

bool http_check_is_read(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/* Printable ASCII without what no client needs to send raw. */
static bool target_bytes_ok(const char *target)
{
    for (const char *c = target; *c; c++)
        if (*c <= ' ' || *c >= 0x7f || strchr("\\\"<>^`{|}#", *c))
            return false;
    return true;
}

/* A path never needs an escape here: every name in it is plain. %00 is refused in the query too. */
static const char *target_fault(const char *target)
{
    if (target[0] != '/')
        return "the request target must begin with /";
    if (strlen(target) > HTTP_CHECK_TARGET_MAX)
        return "the request target is longer than 4096 bytes";
    if (!target_bytes_ok(target))
        return "the request target has a byte that must be percent-encoded";
    if (strstr(target, "%00"))
        return "the request target has a NUL";
    const char *end = target + strcspn(target, "?");
    for (const char *c = target; c < end; c++) {
        if (strncmp(c, "..", 2) == 0 || strncmp(c, "//", 2) == 0)
            return "the path has .. or //";
        if (*c == '%' && (strncasecmp(c, "%2f", 3) == 0 || strncasecmp(c, "%5c", 3) == 0 ||
                          strncasecmp(c, "%2e", 3) == 0 || strncasecmp(c, "%25", 3) == 0))
            return "the path hides a separator, a dot or a percent sign";
        if (*c == ';')
            return "the path has a semicolon";
    }
    return NULL;
}

static bool is_token(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", c))
            return false;
    }
    return size > 0;
}

static const char *header_fault(const struct http_check_header *header)
{
    if (!is_token(header->name, header->name_size))
        return "a header name is not a token";
    for (size_t i = 0; i < header->value_size; i++) {
        unsigned char c = (unsigned char)header->value[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return "a header value has a control byte";
    }
    if (strcasecmp(header->name, "transfer-encoding") == 0)
        return "Transfer-Encoding is not accepted: send Content-Length";
    if (strcasecmp(header->name, "upgrade") == 0 || strcasecmp(header->name, "trailer") == 0)
        return "Upgrade and Trailer are not accepted";
    return NULL;
}

/* Headers that mean two things when they come twice. */
static const char *repeated_fault(const struct http_check_request *request)
{
    static const char *const single[] = {
        "content-length", "host",     "content-type",    "authorization", "origin",
        "cookie",         "if-match", "idempotency-key", "range"};
    for (size_t i = 0; i < COUNT_OF(single); i++) {
        size_t count;
        (void)http_check_header_value(request, single[i], &count);
        if (count > 1)
            return "a header is there twice that may be there once";
    }
    return NULL;
}

enum http_check_verdict http_check_shape(const struct http_check_request *request,
                                         struct problem *problem)
{
    const char *fault = target_fault(request->target);
    if (!fault && strcmp(request->version, "HTTP/1.1") != 0 &&
        strcmp(request->version, "HTTP/1.0") != 0)
        fault = "only HTTP/1.1 and HTTP/1.0 are spoken here";
    if (!fault && request->header_overflow)
        fault = "more than 64 headers";
    for (size_t i = 0; i < request->header_count && !fault; i++)
        fault = header_fault(&request->headers[i]);
    if (!fault)
        fault = repeated_fault(request);
    if (!fault && !http_check_header_value(request, "host", NULL))
        fault = "a Host header is needed";
    return fault ? refuse_shape(problem, fault) : HTTP_CHECK_OK;
}

enum http_check_verdict http_check_host(const struct http_check_request *request,
                                        const struct http_check_policy *policy,
                                        struct problem *problem)
{
    const char *host = http_check_header_value(request, "host", NULL);
    for (size_t i = 0; host && i < policy->host_count; i++)
        if (SEED_BUG(HOST_UNCHECKED) || strcasecmp(host, policy->hosts[i]) == 0)
            return HTTP_CHECK_OK;
    problem_set(problem, PROBLEM_MISDIRECTED,
                "the Host header is not one of this server's names; the administrator adds names "
                "with the configuration key \"hosts\"");
    return HTTP_CHECK_REFUSED;
}

/* "application/json", with parameters or without. */
static bool is_json_type(const char *type)
{
    static const char json[] = "application/json";
    if (!type || strncasecmp(type, json, sizeof json - 1) != 0)
        return false;
    const char *rest = type + sizeof json - 1;
    rest += strspn(rest, " \t");
    return *rest == '\0' || *rest == ';';
}

/* "http://HOST" or, behind a proxy that ends TLS, "https://HOST". */
static bool origin_is_host(const char *origin, const char *host)
{
    if (strncasecmp(origin, "http://", 7) == 0)
        origin += 7;
    else if (strncasecmp(origin, "https://", 8) == 0)
        origin += 8;
    else
        return false;
    return host && strcasecmp(origin, host) == 0;
}

static enum http_check_verdict refuse_origin(struct problem *problem)
{
    struct ij_err err;
    (void)IJ_ERR(&err, IJ_FORBIDDEN, "a page of another origin may not change anything here");
    problem_from_err(problem, &err);
    return HTTP_CHECK_REFUSED;
}

enum http_check_verdict http_check_change(const struct http_check_request *request,
                                          bool need_origin, struct problem *problem)
{
    const char *site = http_check_header_value(request, "sec-fetch-site", NULL);
    if (site && strcasecmp(site, "same-origin") != 0 && strcasecmp(site, "none") != 0)
        return refuse_origin(problem);
    const char *origin = http_check_header_value(request, "origin", NULL);
    const char *host = http_check_header_value(request, "host", NULL);
    if ((origin || need_origin) && !(origin && origin_is_host(origin, host)))
        return refuse_origin(problem);
    if (!is_json_type(http_check_header_value(request, "content-type", NULL))) {
        problem_set(problem, PROBLEM_MEDIA_TYPE,
                    "send Content-Type: application/json, also without a body");
        return HTTP_CHECK_REFUSED;
    }
    return HTTP_CHECK_OK;
}

enum http_check_verdict http_check_size(const struct http_check_request *request,
                                        const struct http_check_policy *policy, uint64_t *ret_size,
                                        struct problem *problem)
{
    *ret_size = 0;
    const char *length = http_check_header_value(request, "content-length", NULL);
    if (!length)
        return HTTP_CHECK_OK;
    if (!text_to_u64(length, ret_size))
        return refuse_shape(problem, "Content-Length is not a number");
    if (*ret_size <= policy->body_bytes_max)
        return HTTP_CHECK_OK;
    struct ij_err err;
    (void)IJ_ERR(&err, IJ_TOO_LARGE, "a body has at most %zu bytes", policy->body_bytes_max);
    problem_from_err(problem, &err);
    return HTTP_CHECK_REFUSED;
}
