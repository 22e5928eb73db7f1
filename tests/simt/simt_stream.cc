/*
 * Streams and events: copies from pinned memory wait in their stream's queue and are done only when
 * somebody waits for an event behind them, or for the stream. A GPU may be this late.
 */
#include "tests/simt/simt_stream.h"

#include <stdio.h>
#include <stdlib.h>

#include "tests/simt/simt_memory.h"

enum { COPIES_MAX = 64, STREAMS_MAX = 256, LOG_MAX = 1 << 16 };

struct copy {
    void *to;
    const void *from;
    size_t bytes;
};
struct simt_stream {
    int number;
    uint64_t asked, done; /* copies */
    struct copy copies[COPIES_MAX];
};
struct simt_event {
    int number;
    struct simt_stream *stream; /* of the last record; NULL: none yet */
    uint64_t asked;
};

static struct simt_stream *streams[STREAMS_MAX];
static int stream_count, event_count;
static char log_text[LOG_MAX];
static bool logging;

void simt_log_begin(void)
{
    logging = true;
    log_text[0] = '\0';
}

const char *simt_log_text(void)
{
    return log_text;
}

static void note(const char *what, int stream, int event)
{
    size_t used = strlen(log_text);
    if (!logging || used + 64 > LOG_MAX)
        return;
    used += (size_t)snprintf(log_text + used, LOG_MAX - used, "%s", what);
    if (stream)
        used += (size_t)snprintf(log_text + used, LOG_MAX - used, " s%d", stream);
    if (event)
        used += (size_t)snprintf(log_text + used, LOG_MAX - used, " e%d", event);
    snprintf(log_text + used, LOG_MAX - used, "\n");
}

/* Does the stream's copies up to number `until`. */
static void run(struct simt_stream *stream, uint64_t until)
{
    simt_memory_open();
    for (; stream->done < until; stream->done++) {
        const struct copy *c = &stream->copies[stream->done % COPIES_MAX];
        memcpy(c->to, c->from, c->bytes);
    }
    simt_memory_close();
}

void simt_stream_copy(cudaStream_t stream, void *to, const void *from, size_t bytes)
{
    note("copy", stream->number, 0);
    if (stream->asked - stream->done == COPIES_MAX)
        run(stream, stream->done + 1);
    stream->copies[stream->asked++ % COPIES_MAX] = {to, from, bytes};
}

void simt_stream_finish(cudaStream_t stream)
{
    if (stream)
        run(stream, stream->asked);
}

void simt_stream_finish_all(void)
{
    for (int i = 0; i < stream_count; i++)
        simt_stream_finish(streams[i]);
}

cudaError_t simt_stream_new(cudaStream_t *stream)
{
    struct simt_stream *made = (struct simt_stream *)calloc(1, sizeof(*made));
    if (!made || stream_count == STREAMS_MAX)
        return cudaErrorMemoryAllocation;
    streams[stream_count++] = made;
    made->number = stream_count;
    *stream = made;
    return cudaSuccess;
}

/* Streams are kept, so that events know them. */
cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    simt_stream_finish(stream);
    return cudaSuccess;
}

cudaError_t simt_event_new(cudaEvent_t *event)
{
    struct simt_event *made = (struct simt_event *)calloc(1, sizeof(*made));
    if (!made)
        return cudaErrorMemoryAllocation;
    made->number = ++event_count;
    *event = made;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    free(event);
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    note("record", stream->number, event->number);
    event->stream = stream;
    event->asked = stream->asked;
    return cudaSuccess;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    note("wait", stream->number, event->number);
    if (event->stream && event->stream != stream)
        run(event->stream, event->asked);
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    note("host", 0, event->number);
    if (event->stream)
        run(event->stream, event->asked);
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    bool done = !event->stream || event->stream->done >= event->asked;
    return done ? cudaSuccess : cudaErrorNotReady;
}
