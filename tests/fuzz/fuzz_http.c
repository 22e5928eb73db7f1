/* The head of a request: method, target and headers, one a line. What passes has one meaning. */
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <strings.h>

#include "api/http_check.h"
#include "api/query.h"
#include "api/routes.h"
#include "base/mem.h"

#define LINES_MAX (HTTP_CHECK_HEADERS_MAX + 2)

static size_t split(char *text, char *lines[LINES_MAX])
{
    size_t count = 0;
    while (count < LINES_MAX) {
        lines[count++] = text;
        text = strchr(text, '\n');
        if (!text)
            break;
        *text++ = '\0';
    }
    return count;
}

static struct http_check_header header_of(char *line)
{
    char *colon = strchr(line, ':'), *value = colon ? colon + 1 : line + strlen(line);
    size_t name_size = colon ? (size_t)(colon - line) : strlen(line);
    if (colon)
        *colon = '\0';
    value += strspn(value, " ");
    return (struct http_check_header){
        .name = line, .value = value, .name_size = name_size, .value_size = strlen(value)};
}

/* Nothing that passed leads out of its place, whoever decodes it again. */
static void check_target(const char *target)
{
    const char *end = strchr(target, '?');
    size_t n = end ? (size_t)(end - target) : strlen(target);
    IJ_ASSERT(target[0] == '/' && strlen(target) <= HTTP_CHECK_TARGET_MAX);
    for (size_t i = 0; i < n; i++)
        IJ_ASSERT(target[i] > ' ' && target[i] < 0x7f && target[i] != '\\' && target[i] != ';');
    for (const char *at = target; (at = strstr(at, "/..")) && at < target + n; at += 3)
        IJ_ASSERT(at[3] != '/' && at[3] != '\0' && at[3] != '?');
}

static void find(const char *target, const char *method)
{
    struct router_match match;
    struct query query;
    const char *mark = strchr(target, '?');
    if (router_find(routes_table, routes_count, method, target, &match) != ROUTER_FOUND ||
        query_parse(mark ? mark + 1 : NULL, &query, NULL) != IJ_OK)
        return;
    (void)!query_check(&query, match.route->query, NULL);
    query_done(&query);
}

const char fuzz_target[] = "http";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const hosts[] = {"127.0.0.1:8765"};
    struct http_check_policy policy = {.hosts = hosts, .host_count = 1, .body_bytes_max = 1 << 20};
    struct http_check_header headers[HTTP_CHECK_HEADERS_MAX];
    char *lines[LINES_MAX];
    mem_auto char *text = mem_array(char, size + 1);
    IJ_ASSERT(text);
    if (size)
        memcpy(text, data, size);
    size_t count = split(text, lines);
    if (count < 2)
        return 0;
    for (size_t i = 2; i < count; i++)
        headers[i - 2] = header_of(lines[i]);
    struct http_check_request request = {.method = lines[0],
                                         .target = lines[1],
                                         .version = "HTTP/1.1",
                                         .headers = headers,
                                         .header_count = count - 2};
    struct problem problem;
    uint64_t body;
    problem_init(&problem);
    if (http_check_shape(&request, &problem) == HTTP_CHECK_OK) {
        check_target(lines[1]);
        if (http_check_host(&request, &policy, &problem) == HTTP_CHECK_OK)
            IJ_ASSERT(!strcasecmp(http_check_header_value(&request, "host", NULL), hosts[0]));
        if (http_check_size(&request, &policy, &body, &problem) == HTTP_CHECK_OK)
            IJ_ASSERT(body <= policy.body_bytes_max);
        (void)http_check_change(&request, size & 1, &problem);
        find(lines[1], lines[0]);
    }
    problem_done(&problem);
    return 0;
}
