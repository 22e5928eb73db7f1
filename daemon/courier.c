/* See courier.h. */
#include "daemon/courier.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <jansson.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/spawn.h"

#define LOG_MODULE  "courier"
#define DEADLINE_MS (COURIER_TIMEOUT_MS + 10000)

struct slot {
    int64_t id, webhook; /* id 0: free */
    int64_t deadline_ms; /* monotonic */
};

struct courier {
    sd_event *event;
    char program[1024], socket[1024];
    void (*answered)(void *user, const struct courier_answer *answer);
    void *user;
    int fd, pidfd; /* -1: none */
    pid_t pid;
    sd_event_source *io;
    struct slot slots[COURIER_LETTERS_MAX];
};

/* ---- The helper ------------------------------------------------------------------------------ */

static void end_helper(struct courier *courier)
{
    courier->io = sd_event_source_disable_unref(courier->io);
    if (courier->pidfd >= 0) {
        siginfo_t info;
        spawn_signal(courier->pidfd, courier->pid, SIGKILL, true);
        while (waitid(P_PIDFD, (id_t)courier->pidfd, &info, WEXITED) < 0 && errno == EINTR)
            ;
    }
    mem_close_fd_at(&courier->pidfd);
    mem_close_fd_at(&courier->fd);
    courier->pidfd = courier->fd = -1;
}

/* Answers every letter that is out, and starts over with the next. */
static void fail_all(struct courier *courier, const char *error)
{
    end_helper(courier);
    for (size_t i = 0; i < COURIER_LETTERS_MAX; i++) {
        struct slot slot = courier->slots[i];
        courier->slots[i] = (struct slot){0};
        if (slot.id)
            courier->answered(
                courier->user,
                &(struct courier_answer){.id = slot.id, .webhook = slot.webhook, .error = error});
    }
}

static void take_answer(struct courier *courier, const char *packet, size_t size)
{
    json_t *object = json_loadb(packet, size, JSON_REJECT_DUPLICATES, NULL);
    int64_t id = json_integer_value(json_object_get(object, "id"));
    const char *error = json_string_value(json_object_get(object, "error"));
    for (size_t i = 0; id && i < COURIER_LETTERS_MAX; i++) {
        struct slot slot = courier->slots[i];
        if (slot.id != id)
            continue;
        courier->slots[i] = (struct slot){0};
        courier->answered(courier->user,
                          &(struct courier_answer){
                              .id = id,
                              .webhook = slot.webhook,
                              .http = (int)json_integer_value(json_object_get(object, "http")),
                              .refused = json_is_true(json_object_get(object, "refused")),
                              .error = error ? error : ""});
    }
    json_decref(object);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *user)
{
    (void)source;
    (void)events;
    struct courier *courier = user;
    char packet[4096];
    ssize_t n = recv(fd, packet, sizeof(packet), MSG_DONTWAIT);
    if (n > 0)
        take_answer(courier, packet, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        fail_all(courier, "the sending process ended");
    return 0;
}

static enum ij_status start_program(struct courier *courier, struct ij_err *reterr_err)
{
    static const char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
    const char *const arguments[] = {courier->program, NULL};
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return IJ_ERR_SYS(reterr_err, errno, "", "cannot make a socket pair");
    courier->fd = ends[0];
    fd_auto int theirs = ends[1];
    return spawn_start(&(struct spawn_options){.program = courier->program,
                                               .arguments = arguments,
                                               .environment = environment,
                                               .output_fd = STDERR_FILENO,
                                               .socket_fd = theirs},
                       &courier->pid, &courier->pidfd, reterr_err);
}

static enum ij_status reach_service(struct courier *courier, struct ij_err *reterr_err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(courier->socket);
    if (length >= sizeof(address.sun_path))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "webhook_socket", "webhook_socket is too long");
    memcpy(address.sun_path, courier->socket, length + 1);
    courier->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (courier->fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, "", "cannot make a socket");
    if (connect(courier->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return IJ_ERR_SYS(reterr_err, errno, courier->socket, "cannot reach %s", courier->socket);
    return IJ_OK;
}

static enum ij_status open_link(struct courier *courier, struct ij_err *reterr_err)
{
    if (courier->fd >= 0)
        return IJ_OK;
    enum ij_status status = courier->socket[0] ? reach_service(courier, reterr_err)
                                               : start_program(courier, reterr_err);
    if (status == IJ_OK) {
        int r = sd_event_add_io(courier->event, &courier->io, courier->fd, EPOLLIN, on_io, courier);
        if (r < 0)
            status = IJ_ERR_SYS(reterr_err, -r, "", "cannot watch the sender's socket");
    }
    if (status != IJ_OK)
        end_helper(courier);
    return status;
}

/* ---- Letters --------------------------------------------------------------------------------- */

bool courier_has_room(const struct courier *courier, int64_t webhook)
{
    size_t used = 0, own = 0;
    for (size_t i = 0; i < COURIER_LETTERS_MAX; i++) {
        used += courier->slots[i].id != 0;
        own += courier->slots[i].id != 0 && courier->slots[i].webhook == webhook;
    }
    return used < COURIER_LETTERS_MAX && own < COURIER_PER_HOOK_MAX;
}

bool courier_carries(const struct courier *courier, int64_t id)
{
    for (size_t i = 0; i < COURIER_LETTERS_MAX; i++)
        if (courier->slots[i].id == id)
            return true;
    return false;
}

static char *pack(const struct courier_letter *letter)
{
    json_t *headers = json_array();
    for (size_t i = 0; letter->headers[i]; i++)
        (void)json_array_append_new(headers, json_string(letter->headers[i]));
    json_t *object =
        json_pack("{s:I, s:s, s:o, s:s, s:i, s:b}", "id", (json_int_t)letter->id, "url",
                  letter->url, "headers", headers, "body", letter->body, "timeout_ms",
                  COURIER_TIMEOUT_MS, "allow_local", letter->allow_local);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

static enum ij_status put(struct courier *courier, const char *text, struct ij_err *reterr_err)
{
    size_t size = strlen(text);
    if (size > COURIER_PACKET_MAX)
        return IJ_ERR(reterr_err, IJ_TOO_LARGE, "the message has more than %d bytes",
                      COURIER_PACKET_MAX);
    IJ_TRY(open_link(courier, reterr_err));
    if (send(courier->fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size)
        return IJ_OK;
    return IJ_ERR_SYS(reterr_err, errno, "", "cannot hand the message to the sender");
}

enum ij_status courier_send(struct courier *courier, const struct courier_letter *letter,
                            struct ij_err *reterr_err)
{
    IJ_ASSERT(courier_has_room(courier, letter->webhook) && letter->id > 0);
    char *text = pack(letter);
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a message");
    enum ij_status status = put(courier, text, reterr_err);
    free(text);
    IJ_TRY(status);
    for (size_t i = 0; i < COURIER_LETTERS_MAX; i++)
        if (!courier->slots[i].id) {
            courier->slots[i] = (struct slot){.id = letter->id,
                                              .webhook = letter->webhook,
                                              .deadline_ms = clock_monotonic_ms() + DEADLINE_MS};
            return IJ_OK;
        }
    return IJ_OK;
}

pid_t courier_pid(const struct courier *courier)
{
    return courier->pid;
}

void courier_tick(struct courier *courier)
{
    int64_t now_ms = clock_monotonic_ms();
    for (size_t i = 0; i < COURIER_LETTERS_MAX; i++)
        if (courier->slots[i].id && courier->slots[i].deadline_ms < now_ms) {
            log_warn("the sending process does not answer and is ended");
            fail_all(courier, "the sending process did not answer");
            return;
        }
}

/* ---- Life ------------------------------------------------------------------------------------ */

enum ij_status courier_new(const struct courier_options *options, struct courier **ret_courier,
                           struct ij_err *reterr_err)
{
    struct courier *courier = mem_new(struct courier);
    if (!courier)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the courier");
    courier->event = options->event;
    courier->answered = options->answered;
    courier->user = options->user;
    courier->fd = courier->pidfd = -1;
    snprintf(courier->program, sizeof(courier->program), "%s", options->program);
    snprintf(courier->socket, sizeof(courier->socket), "%s", options->socket);
    *ret_courier = courier;
    return IJ_OK;
}

void courier_free(struct courier *courier)
{
    if (!courier)
        return;
    end_helper(courier);
    mem_free(courier);
}
