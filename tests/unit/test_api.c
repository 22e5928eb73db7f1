/*
 * A listening server of its own, with limits small enough to reach: deadlines, connections, sizes,
 * restart on the same path, and an end while streams are open.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "api/api.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "daemon/control.h"
#include "daemon/event_bus.h"
#include "store/token_row.h"

#define TOKEN "ijp_t_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN-_0"

struct bench {
    char folder[32], path[64];
    struct store *store;
    struct control *control;
    struct event_bus *bus;
    struct api *api;
    struct api_options options;
};

static void bench_open(struct bench *bench)
{
    struct ij_err err = IJ_ERR_INIT;
    struct token_row row = {.id = "t", .user = "tester", .role = TOKEN_ROW_ADMIN, .created_ms = 1};
    *bench = (struct bench){.folder = "/tmp/api-XXXXXX"};
    cr_assert_not_null(mkdtemp(bench->folder));
    (void)snprintf(bench->path, sizeof bench->path, "%s/s", bench->folder);
    cr_assert_eq(store_open(bench->folder, &bench->store, &err), IJ_OK, "%s", err.text);
    hash_bytes(TOKEN, strlen(TOKEN), row.sha256);
    cr_assert_eq(token_row_insert(bench->store, &row, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(control_new(&bench->control, &err), IJ_OK);
    cr_assert_eq(event_bus_new(64, &bench->bus, &err), IJ_OK);
    bench->options = (struct api_options){.listen = "127.0.0.1:0",
                                          .unix_path = bench->path,
                                          .state_dir = bench->folder,
                                          .control = bench->control,
                                          .events = bench->bus};
}

static void bench_start(struct bench *bench)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(api_new(&bench->options, &bench->api, &err), IJ_OK, "%s", err.text);
}

static void bench_close(struct bench *bench)
{
    api_free(bench->api);
    event_bus_free(bench->bus);
    control_free(bench->control);
    store_close(bench->store);
    cr_expect_eq(file_remove_tree(bench->folder, NULL), IJ_OK);
}

static int dial(const struct bench *bench)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)api_port(bench->api)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void say_request(const struct bench *bench, int fd, const char *path, const char *more)
{
    char text[1024];
    (void)snprintf(text, sizeof text,
                   "GET %s HTTP/1.1\r\nHost: localhost:%u\r\nAuthorization: Bearer " TOKEN
                   "\r\n%s\r\n",
                   path, api_port(bench->api), more);
    say(fd, text);
}

/* Reads until the peer closes or `limit_ms` pass; how long that took, -1 if it did not close. */
static int64_t read_to_end(int fd, char *text, size_t size, int64_t limit_ms)
{
    int64_t start_ms = clock_monotonic_ms(), now_ms = start_ms;
    size_t used = 0;
    for (; now_ms - start_ms < limit_ms; now_ms = clock_monotonic_ms()) {
        struct pollfd item = {.fd = fd, .events = POLLIN};
        if (poll(&item, 1, (int)(limit_ms - (now_ms - start_ms))) <= 0)
            break;
        ssize_t got = recv(fd, text + used, size - 1 - used, 0);
        if (got <= 0) {
            text[used] = '\0';
            return clock_monotonic_ms() - start_ms;
        }
        used += (size_t)got;
    }
    text[used] = '\0';
    return -1;
}

static unsigned status_of(const char *answer)
{
    unsigned status = 0;
    (void)sscanf(answer, "HTTP/1.1 %u", &status);
    return status;
}

static unsigned ask(const struct bench *bench, const char *path)
{
    char answer[65536];
    fd_auto int fd = dial(bench);
    say_request(bench, fd, path, "Connection: close\r\n");
    cr_expect_geq(read_to_end(fd, answer, sizeof answer, 5000), 0);
    return status_of(answer);
}

Test(api, a_head_that_trickles_is_cut_off, .timeout = 30)
{
    struct bench bench;
    char answer[4096];
    bench_open(&bench);
    bench.options.header_timeout_ms = 700;
    bench.options.idle_timeout_s = 60;
    bench_start(&bench);
    fd_auto int silent = dial(&bench), slow = dial(&bench);
    say(slow, "GET / HTTP/1.1\r\nHost: loc");
    for (int i = 0; i < 30; i++) { /* a byte every 50 ms: never idle */
        struct pollfd item = {.fd = slow, .events = POLLRDHUP};
        if (poll(&item, 1, 50) > 0)
            break;
        say(slow, "a");
    }
    cr_expect_geq(read_to_end(slow, answer, sizeof answer, 3000), 0, "the slow one is closed");
    cr_expect_geq(read_to_end(silent, answer, sizeof answer, 3000), 0, "the silent one too");
    cr_expect_eq(ask(&bench, "/healthz"), 200);
    bench_close(&bench);
}

Test(api, a_body_that_trickles_is_cut_off, .timeout = 30)
{
    struct bench bench;
    char answer[4096], head[512];
    bench_open(&bench);
    bench.options.body_timeout_ms = 700;
    bench.options.idle_timeout_s = 60;
    bench_start(&bench);
    fd_auto int fd = dial(&bench);
    (void)snprintf(head, sizeof head,
                   "POST /v1/runs HTTP/1.1\r\nHost: localhost:%u\r\nAuthorization: Bearer " TOKEN
                   "\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
                   api_port(bench.api));
    say(fd, head);
    cr_expect_geq(read_to_end(fd, answer, sizeof answer, 5000), 0);
    cr_expect_eq(ask(&bench, "/healthz"), 200);
    bench_close(&bench);
}

Test(api, a_body_at_its_limit, .timeout = 30)
{
    struct bench bench;
    bench_open(&bench);
    bench.options.body_bytes_max = 100;
    bench_start(&bench);
    for (size_t size = 100; size <= 101; size++) {
        char answer[4096], text[1024];
        fd_auto int fd = dial(&bench);
        (void)snprintf(text, sizeof text,
                       "POST /v1/preview/masks HTTP/1.1\r\nHost: localhost:%u\r\nAuthorization: "
                       "Bearer " TOKEN "\r\nContent-Type: application/json\r\nConnection: "
                       "close\r\nContent-Length: %zu\r\n\r\n{\"x\":1%*s}",
                       api_port(bench.api), size, (int)size - 7, "");
        say(fd, text);
        cr_expect_geq(read_to_end(fd, answer, sizeof answer, 5000), 0);
        cr_expect_eq(status_of(answer), size == 100 ? 422 : 413, "%s", answer);
    }
    bench_close(&bench);
}

Test(api, connections_at_the_limit, .timeout = 30)
{
    struct bench bench;
    enum { LIMIT = 8 };
    int fds[LIMIT];
    char answer[4096];
    bench_open(&bench);
    bench.options.connections_max = LIMIT;
    bench_start(&bench);
    for (int i = 0; i < LIMIT; i++) {
        fds[i] = dial(&bench);
        say_request(&bench, fds[i], "/healthz", "");
        struct pollfd item = {.fd = fds[i], .events = POLLIN};
        cr_assert_gt(poll(&item, 1, 5000), 0, "connection %d is served", i);
    }
    fd_auto int extra = dial(&bench);
    say_request(&bench, extra, "/healthz", "");
    struct pollfd item = {.fd = extra, .events = POLLIN};
    bool answered = poll(&item, 1, 300) > 0 && recv(extra, answer, 12, MSG_PEEK) == 12;
    cr_expect_not(answered, "one more is not served");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, bench.path);
    fd_auto int local = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(local, (struct sockaddr *)&address, sizeof address), 0);
    say(local, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    cr_expect_geq(read_to_end(local, answer, sizeof answer, 5000), 0);
    cr_expect_eq(status_of(answer), 200, "the Unix socket has its own quota");
    for (int i = 0; i < LIMIT; i++)
        close(fds[i]);
    bench_close(&bench);
}

Test(api, streams_at_the_limit_and_an_end_while_they_are_open, .timeout = 30)
{
    struct bench bench;
    int fds[3];
    char answer[65536];
    bench_open(&bench);
    bench.options.streams_max = 3;
    bench.options.streams_per_token_max = 10;
    bench_start(&bench);
    for (int i = 0; i < 3; i++) {
        fds[i] = dial(&bench);
        say_request(&bench, fds[i], "/v1/events", "");
        struct pollfd item = {.fd = fds[i], .events = POLLIN};
        cr_assert_gt(poll(&item, 1, 5000), 0);
    }
    cr_expect_eq(ask(&bench, "/v1/events"), 429);
    json_t *data = json_pack("{s:s}", "run", "r7");
    event_bus_publish(bench.bus, 0, 7, "run.progress", data);
    json_decref(data);
    int64_t start_ms = clock_monotonic_ms();
    api_stop(bench.api);
    cr_expect_lt(clock_monotonic_ms() - start_ms, 3000);
    for (int i = 0; i < 3; i++) {
        cr_expect_geq(read_to_end(fds[i], answer, sizeof answer, 2000), 0, "stream %d ends", i);
        cr_expect(strstr(answer, ": connected"), "%s", answer);
        close(fds[i]);
    }
    bench_close(&bench);
}

/* More items than the ring holds, faster than a stream can take them: it goes on and loses only
 * what has no id. */
Test(api, a_stream_that_falls_behind_goes_on, .timeout = 30)
{
    struct bench bench;
    char answer[65536];
    bench_open(&bench);
    bench_start(&bench);
    fd_auto int fd = dial(&bench);
    say_request(&bench, fd, "/v1/events?topics=metrics", "");
    struct pollfd item = {.fd = fd, .events = POLLIN};
    cr_assert_gt(poll(&item, 1, 5000), 0);
    json_t *data = json_pack("{s:s}", "run", "r7");
    for (int i = 0; i < 5000; i++)
        event_bus_publish(bench.bus, 0, 7, "metric.frame", data);
    event_bus_publish(bench.bus, 0, 8, "metric.last", data);
    json_decref(data);
    size_t used = 0;
    for (int64_t start_ms = clock_monotonic_ms(); clock_monotonic_ms() - start_ms < 10000;) {
        if (used > 60000) { /* the end is what counts */
            memmove(answer, answer + 50000, used - 50000);
            used -= 50000;
        }
        ssize_t got = poll(&item, 1, 1000) > 0 ? recv(fd, answer + used, 65000 - used, 0) : 0;
        used += got > 0 ? (size_t)got : 0;
        answer[used] = '\0';
        if (strstr(answer, "metric.last"))
            break;
    }
    cr_expect(strstr(answer, "metric.last"), "the newest arrives");
    api_stop(bench.api);
    bench_close(&bench);
}

Test(api, what_cannot_be_listened_on, .timeout = 30)
{
    struct bench bench;
    bench_open(&bench);
    bench_start(&bench);
    char taken[64];
    (void)snprintf(taken, sizeof taken, "127.0.0.1:%u", api_port(bench.api));
    static const struct {
        const char *listen;
        enum ij_status status;
    } bad[] = {
        {"127.0.0.1", IJ_INVALID},    {"nowhere:1", IJ_INVALID}, {"127.0.0.1:70000", IJ_INVALID},
        {"0.0.0.0:0", IJ_INVALID},    {"[::]:0", IJ_INVALID},    {"127.0.0.1:x", IJ_INVALID},
        {"127.0.0.1:-1", IJ_INVALID}, {"", IJ_INVALID},          {NULL, IJ_BUSY}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct api_options options = bench.options;
        struct ij_err err = IJ_ERR_INIT;
        struct api *api = NULL;
        options.listen = bad[i].listen ? bad[i].listen : taken;
        options.unix_path = NULL;
        cr_expect_eq(api_new(&options, &api, &err), bad[i].status, "%s: %s", options.listen,
                     err.text);
        cr_expect_str_eq(err.field, "listen");
        cr_expect_null(api);
    }
    cr_expect_eq(ask(&bench, "/readyz"), 200, "the first one was not disturbed");
    bench_close(&bench);
}

Test(api, the_unix_path, .timeout = 30)
{
    struct bench bench;
    struct ij_err err = IJ_ERR_INIT;
    struct api *api = NULL;
    bench_open(&bench);
    bench_start(&bench);
    struct api_options options = bench.options;
    options.listen = NULL;
    cr_expect_eq(api_new(&options, &api, &err), IJ_BUSY, "a live socket is not taken over");
    cr_expect_eq(access(bench.path, F_OK), 0);
    api_free(bench.api);
    cr_expect_neq(access(bench.path, F_OK), 0, "the path goes with the server");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, bench.path);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    bench_start(&bench); /* a dead socket's file is replaced */
    api_free(bench.api);
    bench.api = NULL;
    cr_assert_eq(file_write_durable(bench.path, "precious", 8, 0600, &err), IJ_OK);
    cr_expect_eq(api_new(&bench.options, &api, &err), IJ_CONFLICT, "a file is left alone");
    cr_expect_eq(access(bench.path, F_OK), 0);
    bench_close(&bench);
}

Test(api, names_that_the_server_answers_to, .timeout = 30)
{
    struct bench bench;
    static const char *const names[] = {"gpu1.lab", "proxy.lab:8443"};
    bench_open(&bench);
    bench.options.allowed_hosts = names;
    bench.options.allowed_host_count = COUNT_OF(names);
    bench_start(&bench);
    static const struct {
        const char *host;
        unsigned status;
    } rows[] = {{"gpu1.lab", 200},     {"gpu1.lab:%u", 200}, {"proxy.lab:8443", 200},
                {"proxy.lab:%u", 421}, {"proxy.lab", 421},   {"gpu1.lab:1", 421},
                {"xgpu1.lab", 421},    {"127.0.0.1", 421},   {"127.0.0.1:%u", 200}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char host[64], text[256], answer[4096];
        const char *mark = strstr(rows[i].host, "%u");
        (void)snprintf(host, sizeof host, "%.*s", (int)strcspn(rows[i].host, "%"), rows[i].host);
        if (mark)
            (void)snprintf(host + strlen(host), sizeof host - strlen(host), "%u",
                           api_port(bench.api));
        fd_auto int fd = dial(&bench);
        (void)snprintf(text, sizeof text,
                       "GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host);
        say(fd, text);
        cr_expect_geq(read_to_end(fd, answer, sizeof answer, 5000), 0);
        cr_expect_eq(status_of(answer), rows[i].status, "%s", host);
    }
    bench_close(&bench);
}
