/* The event bus: order, lag, listeners, and readers beside a publisher. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "daemon/event_bus.h"

static void publish(struct event_bus *bus, int64_t id)
{
    json_t *data = json_pack("{s:I}", "n", (json_int_t)id);
    event_bus_publish(bus, id, 7, "run.state", data);
    json_decref(data);
}

static struct event_bus *bus_of(size_t slots)
{
    struct event_bus *bus = NULL;
    cr_assert_eq(event_bus_new(slots, &bus, NULL), IJ_OK);
    return bus;
}

Test(event_bus, items_come_in_order_and_once)
{
    struct event_bus *bus = bus_of(8);
    struct event_bus_item item;
    uint64_t cursor = event_bus_head(bus);
    bool lagged;
    cr_assert_not(event_bus_next(bus, &cursor, &item, &lagged));
    for (int64_t id = 1; id <= 5; id++)
        publish(bus, id);
    for (int64_t id = 1; id <= 5; id++) {
        cr_assert(event_bus_next(bus, &cursor, &item, &lagged));
        cr_assert_eq(item.event_id, id);
        cr_assert_eq(item.run, 7);
        cr_assert_str_eq(item.type, "run.state");
        cr_assert_not(lagged);
        event_bus_item_done(&item);
    }
    cr_assert_not(event_bus_next(bus, &cursor, &item, &lagged));
    event_bus_free(bus);
}

Test(event_bus, a_reader_behind_by_a_ring_is_told)
{
    struct event_bus *bus = bus_of(4);
    struct event_bus_item item;
    uint64_t cursor = event_bus_head(bus);
    bool lagged;
    for (int64_t id = 1; id <= 4; id++)
        publish(bus, id);
    uint64_t exact = cursor;
    cr_assert(event_bus_next(bus, &exact, &item, &lagged));
    cr_assert_not(lagged, "a full ring loses nothing");
    event_bus_item_done(&item);
    publish(bus, 5);
    cr_assert(event_bus_next(bus, &cursor, &item, &lagged));
    cr_assert(lagged);
    cr_assert_eq(item.event_id, 2);
    event_bus_item_done(&item);
    event_bus_free(bus);
}

static void count_call(void *user)
{
    atomic_fetch_add((_Atomic int *)user, 1);
}

Test(event_bus, listeners_are_called_until_they_leave)
{
    struct event_bus *bus = bus_of(4);
    _Atomic int calls = 0;
    for (int i = 0; i < EVENT_BUS_LISTENERS_MAX; i++)
        cr_assert_eq(event_bus_listen(bus, count_call, &calls, NULL), IJ_OK);
    cr_assert_eq(event_bus_listen(bus, count_call, &calls, NULL), IJ_BUSY);
    publish(bus, 1);
    cr_assert_eq(atomic_load(&calls), EVENT_BUS_LISTENERS_MAX);
    event_bus_unlisten(bus, count_call, &calls);
    publish(bus, 2);
    cr_assert_eq(atomic_load(&calls), EVENT_BUS_LISTENERS_MAX);
    event_bus_free(bus);
}

#define PUBLISHED 20000

static void *read_all(void *user)
{
    struct event_bus *bus = user;
    struct event_bus_item item;
    uint64_t cursor = 1;
    int64_t last = 0;
    bool lagged;
    while (last < PUBLISHED)
        if (event_bus_next(bus, &cursor, &item, &lagged)) {
            char text[32];
            snprintf(text, sizeof(text), "{\"n\":%lld}", (long long)item.event_id);
            cr_assert_str_eq(item.data, text);
            cr_assert_gt(item.event_id, last);
            last = item.event_id;
            event_bus_item_done(&item);
        } else {
            sched_yield();
        }
    return NULL;
}

Test(event_bus, readers_beside_a_publisher_see_whole_items, .timeout = 60)
{
    struct event_bus *bus = bus_of(64);
    pthread_t readers[2];
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&readers[i], NULL, read_all, bus), 0);
    for (int64_t id = 1; id <= PUBLISHED; id++)
        publish(bus, id);
    for (int i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    event_bus_free(bus);
}
