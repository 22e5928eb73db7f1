/* See worker_link.h. */
#include "daemon/worker_link.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/build.h"
#include "base/clock.h"
#include "base/mem.h"
#include "daemon/worker_host.h"

#define STREAMS_MAX 64

struct stream {
    char *name, *keys; /* keys joined by newlines */
};

struct worker_link {
    int fd;
    pthread_t reader;
    bool reading;
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t changed;
    uint64_t seq_out, acked, seq_in;
    bool closed, stop, abort, checkpoint_now;
    struct stream streams[STREAMS_MAX];
    uint32_t stream_count;
    uint8_t bytes[WIRE_FRAME_MAX]; /* being sent */
};

/* ---- Sending --------------------------------------------------------------------------------- */

static struct timespec deadline_of(int64_t at_ns)
{
    return (struct timespec){.tv_sec = (time_t)(at_ns / INT64_C(1000000000)),
                             .tv_nsec = (long)(at_ns % INT64_C(1000000000))};
}

static void close_locked(struct worker_link *link)
{
    link->closed = true;
    pthread_cond_broadcast(&link->changed);
}

/* With the lock held. The socket blocks while the daemon is slow to read. */
static enum ij_status send_locked(struct worker_link *link, enum wire_type type,
                                  const void *payload, size_t size)
{
    size_t total;
    ssize_t n;
    while (!link->closed && link->seq_out - link->acked >= WIRE_WINDOW)
        pthread_cond_wait(&link->changed, &link->lock);
    if (link->closed)
        return IJ_STOPPED;
    IJ_TRY(wire_encode(type, link->seq_out + 1, payload, size, link->bytes, &total, NULL));
    do
        n = send(link->fd, link->bytes, total, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        close_locked(link);
        return IJ_STOPPED;
    }
    link->seq_out++;
    return IJ_OK;
}

enum ij_status worker_link_send(struct worker_link *link, enum wire_type type, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text)
        return IJ_NO_MEMORY;
    pthread_mutex_lock(&link->lock);
    enum ij_status status = send_locked(link, type, text, strlen(text));
    pthread_mutex_unlock(&link->lock);
    free(text);
    return status;
}

static bool same_keys(const char *joined, const char *const *keys, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(keys[i]);
        if (strncmp(joined, keys[i], n) != 0 || joined[n] != '\n')
            return false;
        joined += n + 1;
    }
    return *joined == '\0';
}

static char *join_keys(const char *const *keys, size_t count)
{
    size_t size = 1;
    for (size_t i = 0; i < count; i++)
        size += strlen(keys[i]) + 1;
    char *joined = mem_alloc_zero(size, 1), *at = joined;
    for (size_t i = 0; joined && i < count; i++) {
        at = stpcpy(at, keys[i]);
        *at++ = '\n';
    }
    return joined;
}

static enum ij_status declare(struct worker_link *link, const char *name, const char *const *keys,
                              size_t count, uint32_t *ret_stream)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_string(keys[i]));
    struct stream stream = {.name = mem_strdup(name), .keys = join_keys(keys, count)};
    json_t *message =
        json_pack("{s:i, s:s, s:o}", "stream", (int)link->stream_count, "name", name, "keys", list);
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    json_decref(message);
    enum ij_status status = stream.name && stream.keys && text
                                ? send_locked(link, WIRE_STREAM, text, strlen(text))
                                : IJ_NO_MEMORY;
    free(text);
    if (status != IJ_OK) {
        mem_free(stream.name);
        mem_free(stream.keys);
        return status;
    }
    *ret_stream = link->stream_count;
    link->streams[link->stream_count++] = stream;
    return IJ_OK;
}

enum ij_status worker_link_metrics(struct worker_link *link, const char *stream, uint64_t step,
                                   const char *const *keys, const float *values, size_t count)
{
    uint8_t payload[24 + 4 * WIRE_KEYS_MAX];
    struct wire_metrics metrics = {
        .count = (uint32_t)count, .step = step, .ts_ms = clock_wall_ms(), .values = values};
    if (count < 1 || count > WIRE_KEYS_MAX)
        return IJ_TOO_LARGE;
    pthread_mutex_lock(&link->lock);
    enum ij_status status = IJ_OK;
    while (metrics.stream < link->stream_count &&
           (strcmp(link->streams[metrics.stream].name, stream) != 0 ||
            !same_keys(link->streams[metrics.stream].keys, keys, count)))
        metrics.stream++;
    if (metrics.stream == STREAMS_MAX)
        status = IJ_TOO_LARGE;
    else if (metrics.stream == link->stream_count)
        status = declare(link, stream, keys, count, &metrics.stream);
    if (status == IJ_OK)
        status = send_locked(link, WIRE_METRICS, payload, wire_metrics_encode(&metrics, payload));
    pthread_mutex_unlock(&link->lock);
    return status;
}

enum ij_status worker_link_drain(struct worker_link *link, int64_t timeout_ms)
{
    struct timespec deadline = deadline_of(clock_monotonic_ns() + timeout_ms * INT64_C(1000000));
    enum ij_status status = IJ_OK;
    pthread_mutex_lock(&link->lock);
    uint64_t wanted = link->seq_out;
    while (!link->closed && link->acked < wanted && status == IJ_OK)
        if (pthread_cond_timedwait(&link->changed, &link->lock, &deadline) == ETIMEDOUT)
            status = IJ_TIMEOUT;
    if (link->acked >= wanted)
        status = IJ_OK;
    else if (link->closed)
        status = IJ_STOPPED;
    pthread_mutex_unlock(&link->lock);
    return status;
}

enum engine_command worker_link_command(struct worker_link *link)
{
    enum engine_command command = worker_host_signal_command();
    pthread_mutex_lock(&link->lock);
    if (link->closed || link->abort || command == ENGINE_ABORT) {
        command = ENGINE_ABORT;
    } else if (link->stop) {
        command = ENGINE_STOP;
    } else if (command == ENGINE_CONTINUE && link->checkpoint_now) {
        link->checkpoint_now = false;
        command = ENGINE_CHECKPOINT_NOW;
    }
    pthread_mutex_unlock(&link->lock);
    return command;
}

/* ---- Receiving ------------------------------------------------------------------------------- */

/* With the lock held. False: what came makes no sense, which ends the link. */
static bool take(struct worker_link *link, const struct wire_frame *frame)
{
    uint64_t acked;
    switch (frame->type) {
    case WIRE_STOP:
        link->stop = true;
        return true;
    case WIRE_ABORT:
        link->abort = true;
        return true;
    case WIRE_CHECKPOINT_NOW:
        link->checkpoint_now = true;
        return true;
    case WIRE_ACK:
        if (wire_ack_decode(frame, &acked, NULL) != IJ_OK || acked > link->seq_out)
            return false;
        if (acked > link->acked)
            link->acked = acked;
        pthread_cond_broadcast(&link->changed);
        return true;
    default:
        return false;
    }
}

/* The next frame into `bytes`; false at the end. */
static bool receive(struct worker_link *link, uint8_t bytes[WIRE_FRAME_MAX],
                    struct wire_frame *ret_frame)
{
    ssize_t n;
    do
        n = recv(link->fd, bytes, WIRE_FRAME_MAX, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0 || wire_decode(bytes, (size_t)n, false, link->seq_in + 1, ret_frame, NULL) != IJ_OK)
        return false;
    link->seq_in++;
    return true;
}

static void *read_all(void *user)
{
    struct worker_link *link = user;
    uint8_t bytes[WIRE_FRAME_MAX];
    struct wire_frame frame;
    bool open = true;
    while (open && receive(link, bytes, &frame)) {
        pthread_mutex_lock(&link->lock);
        open = take(link, &frame);
        pthread_mutex_unlock(&link->lock);
    }
    pthread_mutex_lock(&link->lock);
    close_locked(link);
    pthread_mutex_unlock(&link->lock);
    struct timespec wait = {.tv_sec = WORKER_LINK_ORPHAN_MS / 1000};
    nanosleep(&wait, NULL); /* a cancellation point: worker_link_close ends it */
    _exit(ij_status_exit_code(IJ_STOPPED));
}

/* ---- Life ------------------------------------------------------------------------------------ */

static enum ij_status greet(struct worker_link *link, json_t **ret_spec, struct ij_err *reterr_err)
{
    struct wire_frame frame;
    mem_auto uint8_t *bytes = mem_alloc_zero(WIRE_FRAME_MAX, 1);
    if (!bytes)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the link");
    if (worker_link_send(link, WIRE_HELLO,
                         json_pack("{s:s, s:i}", "build", build_id(), "pid", (int)getpid())) !=
            IJ_OK ||
        !receive(link, bytes, &frame) || frame.type != WIRE_SPEC)
        return IJ_ERR(reterr_err, IJ_STOPPED, "the daemon did not say what to run");
    return wire_json(&frame, ret_spec, reterr_err);
}

enum ij_status worker_link_open(int fd, struct worker_link **ret_link, json_t **ret_spec,
                                struct ij_err *reterr_err)
{
    struct worker_link *link = mem_new(struct worker_link);
    pthread_condattr_t attr;
    if (!link)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the link");
    link->fd = fd;
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&link->changed, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&link->lock, NULL);
    enum ij_status status = greet(link, ret_spec, reterr_err);
    if (status == IJ_OK) {
        int r = pthread_create(&link->reader, NULL, read_all, link);
        link->reading = r == 0;
        if (r != 0)
            status = IJ_ERR_SYS(reterr_err, r, "", "cannot start the link's thread");
    }
    if (status != IJ_OK) {
        worker_link_close(link);
        return status;
    }
    *ret_link = link;
    return IJ_OK;
}

void worker_link_close(struct worker_link *link)
{
    if (!link)
        return;
    if (link->reading) {
        pthread_cancel(link->reader);
        pthread_join(link->reader, NULL);
    }
    for (uint32_t i = 0; i < link->stream_count; i++) {
        mem_free(link->streams[i].name);
        mem_free(link->streams[i].keys);
    }
    pthread_cond_destroy(&link->changed);
    pthread_mutex_destroy(&link->lock);
    close(link->fd);
    mem_free(link);
}
