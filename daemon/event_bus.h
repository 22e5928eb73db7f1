/*
 * What happens, told to whoever streams it.
 *
 * Two classes. Durable events (state changes, checkpoints, alerts) have `event_id`, the row in the
 * event table, and are published after their commit. Ephemeral notices (metrics, progress) have
 * event_id 0. Both sit in one ring of fixed size; a reader that falls behind by a whole ring is
 * told so and goes on from the oldest item (durable ones can be read again from the store).
 *
 * The loop thread publishes; any thread reads. One mutex, never held across I/O or a callback.
 */
#ifndef DAEMON_EVENT_BUS_H
#define DAEMON_EVENT_BUS_H

#include <jansson.h>
#include <stdint.h>

#include "base/status.h"

#define EVENT_BUS_SLOTS         4096
#define EVENT_BUS_TYPE_MAX      32
#define EVENT_BUS_LISTENERS_MAX 8

struct event_bus;

/* One item as a reader gets it; release with event_bus_item_done. */
struct event_bus_item {
    uint64_t seq;                  /* position in the bus, from 1, without gaps */
    int64_t event_id;              /* row of the event table; 0 = ephemeral */
    int64_t run;                   /* 0 = about no run */
    char type[EVENT_BUS_TYPE_MAX]; /* "run.state", "run.checkpoint", "run.result", "run.warning",
                                      "metric.frame", "run.progress" */
    char *data;                    /* one line of JSON, an object; owned */
};

/* Is told, in the publisher's thread and without a lock held, that there is something new. It must
 * not block and must not call back into the bus but for event_bus_next. */
typedef void (*event_bus_listener)(void *user);

IJ_MUST_USE enum ij_status event_bus_new(size_t slots, struct event_bus **ret_bus,
                                         struct ij_err *reterr_err);
void event_bus_free(struct event_bus *bus); /* NULL is fine */

/* Copies `data`. Without memory the item is dropped and readers see it as a gap (lagged). */
void event_bus_publish(struct event_bus *bus, int64_t event_id, int64_t run, const char *type,
                       const json_t *data);

/* Position after the newest item: a cursor that only sees what comes later. */
uint64_t event_bus_head(struct event_bus *bus);
/* Gives the item at *cursor and moves it on. False: nothing newer. *ret_lagged: items between the
 * cursor and this one were overwritten. */
bool event_bus_next(struct event_bus *bus, uint64_t *cursor, struct event_bus_item *ret_item,
                    bool *ret_lagged);
void event_bus_item_done(struct event_bus_item *item);

/* IJ_BUSY when EVENT_BUS_LISTENERS_MAX are there. After event_bus_unlisten returns, the listener is
 * not running and will not be called. */
IJ_MUST_USE enum ij_status event_bus_listen(struct event_bus *bus, event_bus_listener listener,
                                            void *user, struct ij_err *reterr_err);
void event_bus_unlisten(struct event_bus *bus, event_bus_listener listener, void *user);

#endif
