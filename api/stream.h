/*
 * Event streams (text/event-stream): subscribers of the event bus over suspended connections.
 *
 * A stream reads the bus by its own cursor when libmicrohttpd asks for bytes; with nothing to say
 * it suspends its connection. The bus's publisher only sets a flag; the ticker thread resumes. The
 * flag "suspended" is set and cleared under the hub's mutex, so no wake-up is lost and no
 * connection is resumed that is not suspended. libmicrohttpd never notices that the peer of a
 * suspended connection left: the ticker looks, and the heartbeat of STREAM_HEARTBEAT_MS finds the
 * rest.
 *
 * Durable events carry their id and are replayed from the store after Last-Event-ID; a reader that
 * falls a whole ring behind is caught up from the store too and loses the others.
 */
#ifndef API_STREAM_H
#define API_STREAM_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/readers.h"
#include "api/reply.h"
#include "base/status.h"

#define STREAM_HEARTBEAT_MS 15000
#define STREAM_TOPICS_MAX   16

struct event_bus;
struct stream_hub;

struct stream_topics {
    bool runs, metrics;             /* of every run */
    bool gpus;                      /* of every device */
    int64_t run[STREAM_TOPICS_MAX]; /* everything about these */
    size_t run_count;
};

struct stream_options {
    struct stream_topics topics;
    const char *owner; /* limit per owner; borrowed for the call */
    bool replay;       /* Last-Event-ID was sent */
    int64_t last_event_id;
};

/* `bus` may be NULL: streams then carry heartbeats only. */
IJ_MUST_USE enum ij_status stream_hub_new(struct event_bus *bus, struct readers *readers,
                                          unsigned streams_max, unsigned per_owner_max,
                                          struct stream_hub **ret_hub, struct ij_err *reterr_err);
void stream_hub_free(struct stream_hub *hub); /* after every connection has ended */

/* Makes *reply a stream. IJ_BUSY: a limit is reached, the text says which. */
IJ_MUST_USE enum ij_status stream_open(struct stream_hub *hub, struct MHD_Connection *connection,
                                       const struct stream_options *options, struct reply *reply,
                                       struct ij_err *reterr_err);
/* "runs,run:r42": IJ_INVALID names the word that is none. NULL: runs. */
IJ_MUST_USE enum ij_status stream_parse_topics(const char *text, struct stream_topics *ret_topics,
                                               struct ij_err *reterr_err);

/* Ticker side: sleeps until there is news or `max_ms` passed, then resumes whom it concerns. */
void stream_hub_wait(struct stream_hub *hub, int64_t max_ms);
/* Ends every stream: no connection stays suspended after it. */
void stream_hub_close(struct stream_hub *hub);
unsigned stream_hub_count(struct stream_hub *hub);
/* Items that readers were too slow for, since the start: lost, or read again from the store. */
uint64_t stream_hub_dropped(struct stream_hub *hub);

#endif
