/* See stream.h. */
#include "api/stream.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "daemon/event_bus.h"
#include "daemon/submit.h"
#include "store/event_row.h"

#define PENDING_MAX  ((size_t)256 * 1024)
#define REPLAY_BATCH 200
#define FILL_TARGET  ((size_t)16 * 1024) /* stop collecting once this much is pending */

struct stream {
    struct stream *next, *previous; /* guarded by the hub's mutex */
    struct stream_hub *hub;
    struct MHD_Connection *connection;
    struct stream_topics topics;
    char owner[65];
    int fd;               /* of the connection, borrowed */
    bool suspended, gone; /* guarded by the hub's mutex; gone: the peer has closed */

    /* From here on: the connection's thread only. */
    struct buf pending;
    size_t sent; /* bytes of pending that are gone */
    uint64_t cursor;
    bool replaying;
    int64_t last_id, spoke_ms;
};

struct stream_hub {
    struct event_bus *bus;
    struct readers *readers;
    unsigned streams_max, per_owner_max;
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    bool news, closing;   /* guarded by mutex */
    struct stream *first; /* guarded by mutex */
    unsigned count;       /* guarded by mutex */
    int64_t beat_ms;      /* ticker only */
    _Atomic uint64_t dropped;
};

/* ---- Hub ---- */

static void on_publish(void *user)
{
    struct stream_hub *hub = user;
    pthread_mutex_lock(&hub->mutex);
    hub->news = true;
    pthread_cond_signal(&hub->condition);
    pthread_mutex_unlock(&hub->mutex);
}

enum ij_status stream_hub_new(struct event_bus *bus, struct readers *readers, unsigned streams_max,
                              unsigned per_owner_max, struct stream_hub **ret_hub,
                              struct ij_err *reterr_err)
{
    struct stream_hub *hub = mem_new(struct stream_hub);
    if (!hub)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for event streams");
    *hub = (struct stream_hub){
        .bus = bus, .readers = readers, .streams_max = streams_max, .per_owner_max = per_owner_max};
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&hub->condition, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&hub->mutex, NULL);
    enum ij_status status = bus ? event_bus_listen(bus, on_publish, hub, reterr_err) : IJ_OK;
    if (status == IJ_OK) {
        *ret_hub = hub;
        return IJ_OK;
    }
    hub->bus = NULL;
    stream_hub_free(hub);
    return status;
}

void stream_hub_free(struct stream_hub *hub)
{
    if (!hub)
        return;
    if (hub->bus)
        event_bus_unlisten(hub->bus, on_publish, hub);
    IJ_ASSERT(!hub->first);
    pthread_cond_destroy(&hub->condition);
    pthread_mutex_destroy(&hub->mutex);
    mem_free(hub);
}

/* With the mutex held. libmicrohttpd does not watch a suspended connection: look here whether its
 * peer has closed. (One that only ends its sending is taken for gone too.) The descriptor of a
 * suspended connection is open. */
static bool peer_has_closed(const struct stream *stream)
{
    struct pollfd item = {.fd = stream->fd, .events = POLLRDHUP};
    return poll(&item, 1, 0) > 0 && item.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

static void resume_closed(struct stream_hub *hub)
{
    for (struct stream *stream = hub->first; stream; stream = stream->next) {
        if (!stream->suspended || !peer_has_closed(stream))
            continue;
        stream->gone = true;
        stream->suspended = false;
        MHD_resume_connection(stream->connection);
    }
}

/* With the mutex held. */
static void resume_all(struct stream_hub *hub)
{
    for (struct stream *stream = hub->first; stream; stream = stream->next) {
        if (!stream->suspended)
            continue;
        stream->suspended = false;
        MHD_resume_connection(stream->connection);
    }
}

void stream_hub_wait(struct stream_hub *hub, int64_t max_ms)
{
    int64_t until_ns = clock_monotonic_ns() + max_ms * 1000000;
    struct timespec until = {.tv_sec = until_ns / 1000000000, .tv_nsec = until_ns % 1000000000};
    pthread_mutex_lock(&hub->mutex);
    while (!hub->news && !hub->closing)
        if (pthread_cond_timedwait(&hub->condition, &hub->mutex, &until) == ETIMEDOUT)
            break;
    int64_t now_ms = clock_monotonic_ms();
    resume_closed(hub);
    if (hub->news || hub->closing || now_ms - hub->beat_ms >= STREAM_HEARTBEAT_MS / 3) {
        hub->news = false;
        hub->beat_ms = now_ms;
        resume_all(hub);
    }
    pthread_mutex_unlock(&hub->mutex);
}

void stream_hub_close(struct stream_hub *hub)
{
    pthread_mutex_lock(&hub->mutex);
    hub->closing = true;
    resume_all(hub);
    pthread_cond_signal(&hub->condition);
    pthread_mutex_unlock(&hub->mutex);
}

unsigned stream_hub_count(struct stream_hub *hub)
{
    pthread_mutex_lock(&hub->mutex);
    unsigned count = hub->count;
    pthread_mutex_unlock(&hub->mutex);
    return count;
}

uint64_t stream_hub_dropped(struct stream_hub *hub)
{
    return atomic_load(&hub->dropped);
}

/* ---- What a stream says ---- */

static bool is_metric(const char *type)
{
    return strncmp(type, "metric.", 7) == 0;
}

static bool wants(const struct stream *stream, int64_t run, const char *type)
{
    for (size_t i = 0; i < stream->topics.run_count; i++)
        if (run && stream->topics.run[i] == run)
            return true;
    if (strncmp(type, "gpu.", 4) == 0)
        return stream->topics.gpus;
    return is_metric(type) ? stream->topics.metrics : stream->topics.runs;
}

static void say_event(struct stream *stream, int64_t id, const char *type, const char *data)
{
    if (id)
        buf_printf(&stream->pending, "id: %lld\n", (long long)id);
    buf_printf(&stream->pending, "event: %s\ndata: %s\n\n", type, data);
}

static void say_item(struct stream *stream, const struct event_bus_item *item)
{
    if (item->event_id && item->event_id <= stream->last_id)
        return; /* the replay has told it */
    if (item->event_id)
        stream->last_id = item->event_id;
    if (!wants(stream, item->run, item->type))
        return;
    say_event(stream, item->event_id, item->type, item->data);
}

/* A client that missed events which are no longer stored must load everything anew. */
static enum ij_status check_retention(struct stream *stream, struct store *store)
{
    int64_t oldest, newest;
    IJ_TRY(event_row_bounds(store, &oldest, &newest, NULL));
    if (stream->last_id > newest || (oldest && stream->last_id < oldest - 1)) {
        stream->last_id = newest;
        say_event(stream, newest, "reset", "{}");
    }
    return IJ_OK;
}

/* One batch of stored events; ends the replay when there are no more. */
static enum ij_status replay_batch(struct stream *stream, struct store *store)
{
    IJ_TRY(check_retention(stream, store));
    struct event_row_list list;
    IJ_TRY(event_row_list(store, 0, stream->last_id, REPLAY_BATCH, &list, NULL));
    for (size_t i = 0; i < list.count; i++) {
        const struct event_row *row = &list.rows[i];
        stream->last_id = row->id;
        if (wants(stream, row->run, row->type))
            say_event(stream, row->id, row->type, row->body);
    }
    stream->replaying = list.count == REPLAY_BATCH;
    event_row_list_done(&list);
    return IJ_OK;
}

static enum ij_status replay(struct stream *stream)
{
    struct store *store;
    IJ_TRY(readers_take(stream->hub->readers, &store, NULL));
    enum ij_status status = replay_batch(stream, store);
    readers_give(stream->hub->readers, store);
    return status;
}

static void collect_live(struct stream *stream)
{
    struct event_bus_item item;
    bool lagged = false;
    uint64_t before = stream->cursor;
    while (stream->pending.size < FILL_TARGET && stream->hub->bus &&
           event_bus_next(stream->hub->bus, &stream->cursor, &item, &lagged)) {
        if (lagged) {
            atomic_fetch_add(&stream->hub->dropped, stream->cursor - before);
            stream->replaying = true; /* the lost durable ones are in the store */
            event_bus_item_done(&item);
            break;
        }
        say_item(stream, &item);
        event_bus_item_done(&item);
        before = stream->cursor;
    }
}

/* Fills `pending`. An error ends the stream; the client comes back with its Last-Event-ID. */
static enum ij_status collect(struct stream *stream)
{
    while (stream->replaying && stream->pending.size < FILL_TARGET)
        IJ_TRY(replay(stream));
    if (!stream->replaying)
        collect_live(stream);
    int64_t now_ms = clock_monotonic_ms();
    if (stream->pending.size)
        stream->spoke_ms = now_ms;
    else if (now_ms - stream->spoke_ms >= STREAM_HEARTBEAT_MS) {
        stream->spoke_ms = now_ms;
        buf_append_text(&stream->pending, ": hb\n\n");
    }
    return buf_status(&stream->pending);
}

/* Suspends unless something came meanwhile. False: the stream shall end. */
static bool sleep_or_end(struct stream *stream)
{
    struct stream_hub *hub = stream->hub;
    pthread_mutex_lock(&hub->mutex);
    bool goes_on = !hub->closing && !stream->gone;
    if (goes_on && !stream->replaying &&
        (!hub->bus || event_bus_head(hub->bus) == stream->cursor)) {
        stream->suspended = true;
        MHD_suspend_connection(stream->connection);
    }
    pthread_mutex_unlock(&hub->mutex);
    return goes_on;
}

static ssize_t read_stream(void *user, uint64_t position, char *buffer, size_t max)
{
    (void)position;
    struct stream *stream = user;
    if (stream->sent == stream->pending.size) {
        size_t limit = stream->pending.max;
        buf_done(&stream->pending);
        buf_init(&stream->pending, limit);
        stream->sent = 0;
        if (collect(stream) != IJ_OK)
            return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    size_t size = stream->pending.size - stream->sent;
    if (size == 0)
        return sleep_or_end(stream) ? 0 : MHD_CONTENT_READER_END_OF_STREAM;
    if (size > max)
        size = max;
    memcpy(buffer, stream->pending.data + stream->sent, size);
    stream->sent += size;
    return (ssize_t)size;
}

/* ---- Life of a stream ---- */

static void release_stream(void *user)
{
    struct stream *stream = user;
    struct stream_hub *hub = stream->hub;
    pthread_mutex_lock(&hub->mutex);
    if (stream->next)
        stream->next->previous = stream->previous;
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        hub->first = stream->next;
    hub->count--;
    pthread_mutex_unlock(&hub->mutex);
    buf_done(&stream->pending);
    mem_free(stream);
}

/* Joins the hub unless a limit is reached. */
static enum ij_status join_hub(struct stream *stream, struct ij_err *reterr_err)
{
    struct stream_hub *hub = stream->hub;
    enum ij_status status = IJ_OK;
    unsigned mine = 0;
    pthread_mutex_lock(&hub->mutex);
    for (struct stream *each = hub->first; each; each = each->next)
        mine += strcmp(each->owner, stream->owner) == 0;
    if (hub->closing)
        status = IJ_ERR(reterr_err, IJ_BUSY, "the server is stopping");
    else if (hub->count >= hub->streams_max)
        status = IJ_ERR(reterr_err, IJ_BUSY, "%u event streams are open, no more are allowed",
                        hub->count);
    else if (mine >= hub->per_owner_max)
        status = IJ_ERR(reterr_err, IJ_BUSY, "this token has %u event streams, no more are allowed",
                        mine);
    if (status == IJ_OK) {
        stream->next = hub->first;
        if (stream->next)
            stream->next->previous = stream;
        hub->first = stream;
        hub->count++;
    }
    pthread_mutex_unlock(&hub->mutex);
    return status;
}

enum ij_status stream_open(struct stream_hub *hub, struct MHD_Connection *connection,
                           const struct stream_options *options, struct reply *reply,
                           struct ij_err *reterr_err)
{
    struct stream *stream = mem_new(struct stream);
    if (!stream)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an event stream");
    *stream = (struct stream){.hub = hub,
                              .connection = connection,
                              .topics = options->topics,
                              .replaying = options->replay,
                              .last_id = options->last_event_id,
                              .spoke_ms = clock_monotonic_ms()};
    (void)snprintf(stream->owner, sizeof stream->owner, "%s", options->owner);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    stream->fd = info ? info->connect_fd : -1;
    stream->cursor = hub->bus ? event_bus_head(hub->bus) : 0;
    buf_init(&stream->pending, PENDING_MAX);
    buf_append_text(&stream->pending, "retry: 2000\n: connected\n\n");
    enum ij_status status = join_hub(stream, reterr_err);
    if (status != IJ_OK) {
        buf_done(&stream->pending);
        mem_free(stream);
        return status;
    }
    reply->type = "text/event-stream";
    reply->stream = read_stream;
    reply->stream_release = release_stream;
    reply->stream_user = stream;
    reply_header(reply, "X-Accel-Buffering", "no");
    return IJ_OK;
}

static enum ij_status parse_topic(const char *word, struct stream_topics *topics,
                                  struct ij_err *reterr_err)
{
    if (strcmp(word, "runs") == 0)
        topics->runs = true;
    else if (strcmp(word, "metrics") == 0)
        topics->metrics = true;
    else if (strcmp(word, "gpus") == 0)
        topics->gpus = true;
    else if (strncmp(word, "run:", 4) == 0 && topics->run_count < STREAM_TOPICS_MAX &&
             submit_parse_id(word + 4, 'r', &topics->run[topics->run_count]))
        topics->run_count++;
    else
        return IJ_ERR_FIELD(
            reterr_err, IJ_INVALID, "topics",
            "\"%.64s\" is none of runs, gpus, metrics, run:r42 (at most %d of these)", word,
            STREAM_TOPICS_MAX);
    return IJ_OK;
}

enum ij_status stream_parse_topics(const char *text, struct stream_topics *ret_topics,
                                   struct ij_err *reterr_err)
{
    *ret_topics = (struct stream_topics){.runs = !text};
    if (!text)
        return IJ_OK;
    mem_auto char *copy = mem_strdup(text);
    if (!copy)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for topics");
    char *rest = copy, *word;
    while ((word = strsep(&rest, ",")))
        IJ_TRY(parse_topic(word, ret_topics, reterr_err));
    return IJ_OK;
}
