/* See event_bus.h. A ring of slots; slot of sequence number s is (s - 1) % slots. */
#include "daemon/event_bus.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

struct listener {
    event_bus_listener call;
    void *user;
};

struct event_bus {
    pthread_mutex_t lock;          /* guards the ring */
    pthread_mutex_t listener_lock; /* guards `listeners`; held while they are called; taken alone */
    size_t slots;
    uint64_t newest; /* sequence number of the newest item; 0 = none yet */
    struct event_bus_item *ring;
    struct listener listeners[EVENT_BUS_LISTENERS_MAX];
};

enum ij_status event_bus_new(size_t slots, struct event_bus **ret_bus, struct ij_err *reterr_err)
{
    IJ_ASSERT(slots > 0);
    struct event_bus *bus = mem_new(struct event_bus);
    struct event_bus_item *ring = mem_array(struct event_bus_item, slots);
    if (!bus || !ring) {
        mem_free(bus);
        mem_free(ring);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu events", slots);
    }
    bus->slots = slots;
    bus->ring = ring;
    pthread_mutex_init(&bus->lock, NULL);
    pthread_mutex_init(&bus->listener_lock, NULL);
    *ret_bus = bus;
    return IJ_OK;
}

void event_bus_free(struct event_bus *bus)
{
    if (!bus)
        return;
    for (size_t i = 0; i < bus->slots; i++)
        event_bus_item_done(&bus->ring[i]);
    pthread_mutex_destroy(&bus->lock);
    pthread_mutex_destroy(&bus->listener_lock);
    mem_free(bus->ring);
    mem_free(bus);
}

void event_bus_item_done(struct event_bus_item *item)
{
    mem_free(item->data);
    *item = (struct event_bus_item){0};
}

static void call_listeners(struct event_bus *bus)
{
    pthread_mutex_lock(&bus->listener_lock);
    for (size_t i = 0; i < EVENT_BUS_LISTENERS_MAX; i++)
        if (bus->listeners[i].call)
            bus->listeners[i].call(bus->listeners[i].user);
    pthread_mutex_unlock(&bus->listener_lock);
}

void event_bus_publish(struct event_bus *bus, int64_t event_id, int64_t run, const char *type,
                       const json_t *data)
{
    char *text = data ? json_dumps(data, JSON_COMPACT) : NULL;
    char *copy = mem_strdup(text ? text : "{}");
    free(text);
    struct event_bus_item item = {.event_id = event_id, .run = run, .data = copy};
    snprintf(item.type, sizeof(item.type), "%s", type);

    pthread_mutex_lock(&bus->lock);
    item.seq = ++bus->newest;
    struct event_bus_item *slot = &bus->ring[(item.seq - 1) % bus->slots];
    struct event_bus_item old = *slot;
    *slot = item;
    pthread_mutex_unlock(&bus->lock);

    event_bus_item_done(&old);
    call_listeners(bus);
}

uint64_t event_bus_head(struct event_bus *bus)
{
    pthread_mutex_lock(&bus->lock);
    uint64_t head = bus->newest + 1;
    pthread_mutex_unlock(&bus->lock);
    return head;
}

/* The first readable item at or after *cursor; with the lock held. NULL: none. An item whose copy
 * failed for want of memory is skipped like an overwritten one. */
static const struct event_bus_item *find_item(struct event_bus *bus, uint64_t *cursor,
                                              bool *ret_lagged)
{
    uint64_t oldest = bus->newest >= bus->slots ? bus->newest - bus->slots + 1 : 1;
    if (*cursor < oldest) {
        *ret_lagged = *cursor != 0;
        *cursor = oldest;
    }
    for (; *cursor <= bus->newest; ++*cursor) {
        const struct event_bus_item *item = &bus->ring[(*cursor - 1) % bus->slots];
        if (item->data)
            return item;
        *ret_lagged = true;
    }
    return NULL;
}

bool event_bus_next(struct event_bus *bus, uint64_t *cursor, struct event_bus_item *ret_item,
                    bool *ret_lagged)
{
    bool found = false;
    *ret_lagged = false;
    pthread_mutex_lock(&bus->lock);
    const struct event_bus_item *item = find_item(bus, cursor, ret_lagged);
    if (item) {
        char *copy = mem_strdup(item->data);
        if (copy) {
            *ret_item = *item;
            ret_item->data = copy;
            ++*cursor;
            found = true;
        }
    }
    pthread_mutex_unlock(&bus->lock);
    return found;
}

enum ij_status event_bus_listen(struct event_bus *bus, event_bus_listener listener, void *user,
                                struct ij_err *reterr_err)
{
    enum ij_status status = IJ_BUSY;
    pthread_mutex_lock(&bus->listener_lock);
    for (size_t i = 0; i < EVENT_BUS_LISTENERS_MAX && status != IJ_OK; i++)
        if (!bus->listeners[i].call) {
            bus->listeners[i] = (struct listener){.call = listener, .user = user};
            status = IJ_OK;
        }
    pthread_mutex_unlock(&bus->listener_lock);
    if (status != IJ_OK)
        return IJ_ERR(reterr_err, status, "more than %d listeners", EVENT_BUS_LISTENERS_MAX);
    return IJ_OK;
}

void event_bus_unlisten(struct event_bus *bus, event_bus_listener listener, void *user)
{
    pthread_mutex_lock(&bus->listener_lock);
    for (size_t i = 0; i < EVENT_BUS_LISTENERS_MAX; i++)
        if (bus->listeners[i].call == listener && bus->listeners[i].user == user)
            bus->listeners[i] = (struct listener){0};
    pthread_mutex_unlock(&bus->listener_lock);
}
