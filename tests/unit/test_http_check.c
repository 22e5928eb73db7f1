/* The request checks: each shape that is refused, beside the nearest one that is not. */
#include <criterion/criterion.h>
#include <string.h>

#include "api/http_check.h"
#include "base/mem.h"

#define HOST "127.0.0.1:8765"

static struct http_check_header headers[HTTP_CHECK_HEADERS_MAX];
static struct http_check_request request;
static struct problem problem;

static void add(const char *name, const char *value)
{
    headers[request.header_count++] = (struct http_check_header){
        .name = name, .value = value, .name_size = strlen(name), .value_size = strlen(value)};
}

/* A good request, to be spoilt. */
static void begin(const char *method, const char *target)
{
    request = (struct http_check_request){
        .method = method, .target = target, .version = "HTTP/1.1", .headers = headers};
    problem_init(&problem);
    add("Host", HOST);
}

static enum http_check_verdict shape(void)
{
    return http_check_shape(&request, &problem);
}

Test(http_check, good_targets)
{
    static const char *const targets[] = {"/", "/v1/runs?name=a%2Fb&x=..", "/v1/runs/r1", "/a.b/c"};
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        begin("GET", targets[i]);
        cr_expect_eq(shape(), HTTP_CHECK_OK, "%s: %s", targets[i], problem.detail);
    }
}

Test(http_check, bad_targets)
{
    static const char *const targets[] = {
        "",          "*",        "http://evil/",  "v1",     "/..",     "/a/../b", "/a//b",
        "//evil",    "/a%2fb",   "/a%2Fb",        "/a%5cb", "/%2e%2e", "/%252e",  "/a%00",
        "/a?b=%00c", "/a\\b",    "/a b",          "/a;b",   "/a#b",    "/a\x7f",  "/a\xc3\xa4",
        "/<x>",      "/a?b=\"c", "/a?b=<script>", "/a{b}",  "/a|b",    "/\x01"};
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        begin("GET", targets[i]);
        cr_expect_eq(shape(), HTTP_CHECK_CLOSE, "%s", targets[i]);
        cr_expect_eq(problem.http, 400);
    }
}

Test(http_check, target_length_at_the_limit)
{
    static char target[HTTP_CHECK_TARGET_MAX + 2];
    memset(target, 'a', sizeof target - 1);
    target[0] = '/';
    target[HTTP_CHECK_TARGET_MAX] = '\0';
    begin("GET", target);
    cr_expect_eq(shape(), HTTP_CHECK_OK);
    target[HTTP_CHECK_TARGET_MAX] = 'a';
    begin("GET", target);
    cr_expect_eq(shape(), HTTP_CHECK_CLOSE);
}

Test(http_check, headers_that_make_two_readings)
{
    static const char *const pairs[][2] = {{"Host", HOST},
                                           {"Host", "evil"},
                                           {"Transfer-Encoding", "chunked"},
                                           {"transfer-encoding", ""},
                                           {"Content-Length ", "1"},
                                           {"X Y", "1"},
                                           {"X\tY", "1"},
                                           {"", "1"},
                                           {"X:Y", "1"},
                                           {"Upgrade", "h2c"},
                                           {"Trailer", "X"},
                                           {"X", "a\x01z"},
                                           {"X", "a\nb"},
                                           {"X", "\x7f"}};
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        begin("GET", "/");
        add(pairs[i][0], pairs[i][1]);
        cr_expect_eq(shape(), HTTP_CHECK_CLOSE, "%s: %s", pairs[i][0], pairs[i][1]);
    }
    begin("GET", "/");
    add("X", "a\tb");
    cr_expect_eq(shape(), HTTP_CHECK_OK, "a tab is allowed in a value");
}

Test(http_check, headers_that_may_come_once)
{
    static const char *const names[] = {"Content-Length", "Content-Type",   "Authorization",
                                        "Origin",         "Cookie",         "If-Match",
                                        "Range",          "Idempotency-Key"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        begin("GET", "/");
        add(names[i], "1");
        cr_expect_eq(shape(), HTTP_CHECK_OK, "%s once", names[i]);
        add(names[i], "1");
        cr_expect_eq(shape(), HTTP_CHECK_CLOSE, "%s twice", names[i]);
    }
}

Test(http_check, a_host_is_needed_and_the_number_of_headers_is_limited)
{
    begin("GET", "/");
    request.header_count = 0;
    cr_expect_eq(shape(), HTTP_CHECK_CLOSE);
    begin("GET", "/");
    request.header_overflow = true;
    cr_expect_eq(shape(), HTTP_CHECK_CLOSE);
    begin("GET", "/");
    request.version = "HTTP/2.0";
    cr_expect_eq(shape(), HTTP_CHECK_CLOSE);
}

static const char *const hosts[] = {HOST, "localhost:8765", "[::1]:8765"};
static const struct http_check_policy policy = {hosts, COUNT_OF(hosts), 1000};

static enum http_check_verdict host(const char *value)
{
    begin("GET", "/");
    headers[0].value = value;
    headers[0].value_size = strlen(value);
    return http_check_host(&request, &policy, &problem);
}

Test(http_check, hosts_are_compared_whole)
{
    static const char *const good[] = {HOST, "localhost:8765", "LocalHost:8765", "[::1]:8765"};
    static const char *const bad[] = {"",
                                      "localhost",
                                      "127.0.0.1",
                                      "localhost:8766",
                                      "localhost:8765.evil.test",
                                      "evil.test:8765",
                                      "a.localhost:8765",
                                      "localhost:8765,evil",
                                      "::1:8765",
                                      "localhost.:8765",
                                      " localhost:8765"};
    for (size_t i = 0; i < COUNT_OF(good); i++)
        cr_expect_eq(host(good[i]), HTTP_CHECK_OK, "%s", good[i]);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        cr_expect_eq(host(bad[i]), HTTP_CHECK_REFUSED, "%s", bad[i]);
        cr_expect_eq(problem.http, 421);
    }
}

/* The status of a change with these headers; NULL: not sent. 0: allowed. */
static unsigned change(const char *type, const char *origin, const char *site, bool cookie)
{
    begin("POST", "/");
    if (type)
        add("Content-Type", type);
    if (origin)
        add("Origin", origin);
    if (site)
        add("Sec-Fetch-Site", site);
    return http_check_change(&request, cookie, &problem) == HTTP_CHECK_OK ? 0 : problem.http;
}

Test(http_check, changes_need_json)
{
    static const char *const good[] = {"application/json", "Application/JSON",
                                       "application/json; charset=utf-8", "application/json ;x=y"};
    static const char *const bad[] = {NULL,
                                      "",
                                      "text/plain",
                                      "application/jsonx",
                                      "application/json-patch+json",
                                      "x application/json",
                                      "application/x-www-form-urlencoded"};
    for (size_t i = 0; i < COUNT_OF(good); i++)
        cr_expect_eq(change(good[i], NULL, NULL, false), 0, "%s", good[i]);
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_eq(change(bad[i], NULL, NULL, false), 415, "%s", bad[i] ? bad[i] : "none");
}

Test(http_check, changes_come_from_here)
{
    static const char json[] = "application/json";
    cr_expect_eq(change(json, "http://" HOST, NULL, false), 0);
    cr_expect_eq(change(json, "https://" HOST, NULL, false), 0);
    cr_expect_eq(change(json, "http://" HOST, "same-origin", true), 0);
    cr_expect_eq(change(json, NULL, "none", false), 0);
    static const char *const origins[] = {
        "null",        "",   "http://evil.test", "http://" HOST ".evil", "http://localhost:8765",
        "ftp://" HOST, HOST, "http://" HOST "/"};
    for (size_t i = 0; i < COUNT_OF(origins); i++)
        cr_expect_eq(change(json, origins[i], NULL, false), 403, "%s", origins[i]);
    cr_expect_eq(change(json, NULL, "cross-site", false), 403);
    cr_expect_eq(change(json, NULL, "same-site", false), 403);
    cr_expect_eq(change(json, "http://" HOST, "cross-site", false), 403);
    cr_expect_eq(change(json, NULL, NULL, true), 403, "a cookie needs an Origin");
}

static unsigned size(const char *length, uint64_t *ret_size)
{
    begin("POST", "/");
    if (length)
        add("Content-Length", length);
    return http_check_size(&request, &policy, ret_size, &problem) == HTTP_CHECK_OK ? 0
                                                                                   : problem.http;
}

Test(http_check, size_at_the_limit)
{
    uint64_t announced = 7;
    cr_expect_eq(size(NULL, &announced), 0);
    cr_expect_eq(announced, 0);
    cr_expect_eq(size("1000", &announced), 0);
    cr_expect_eq(announced, 1000);
    cr_expect_eq(size("1001", &announced), 413);
    static const char *const bad[] = {
        "", "-1", "+1", "1 ", "0x10", "1,1", "99999999999999999999999"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        cr_expect_eq(size(bad[i], &announced), 400, "%s", bad[i]);
}
