/* Rows of deliveries: round trip, what is due, the two limits, the end with their webhook. */
#include "tests/unit/store_fixture.h"

#include "store/webhook_row.h"

static int64_t hook;

static void open_with_hook(void)
{
    fixture_open();
    struct webhook_row row = {.url = "http://a/", .events = "[]", .enabled = true};
    OK(webhook_row_insert(store, &row, &err));
    hook = row.id;
}

TestSuite(delivery_row, .init = open_with_hook, .fini = fixture_close);

static struct delivery_row make(int64_t next_ms)
{
    struct delivery_row row = {.webhook = hook,
                               .event = 3,
                               .run = 4,
                               .type = "run.failed",
                               .next_ms = next_ms,
                               .created_ms = 9,
                               .body = "{\"a\":1}"};
    OK(delivery_row_insert(store, &row, &err));
    return row;
}

Test(delivery_row, round_trip_and_update)
{
    struct delivery_row row = make(50), got;
    row.state = DELIVERY_ROW_DELIVERED;
    row.tries = 2;
    row.http = 204;
    row.ended_ms = 60;
    snprintf(row.error, sizeof row.error, "none");
    OK(delivery_row_update(store, &row, &err));
    OK(delivery_row_get(store, row.id, &got, &err));
    cr_assert(got.webhook == hook && got.event == 3 && got.run == 4 && got.created_ms == 9);
    cr_assert(got.state == DELIVERY_ROW_DELIVERED && got.tries == 2 && got.http == 204);
    cr_assert(got.ended_ms == 60 && got.next_ms == 50);
    cr_assert_str_eq(got.error, "none");
    cr_assert_str_eq(got.body, "{\"a\":1}");
    delivery_row_done(&got);
    row.id++;
    GIVES(IJ_NOT_FOUND, delivery_row_update(store, &row, &err));
    GIVES(IJ_NOT_FOUND, delivery_row_get(store, row.id, &got, &err));
}

Test(delivery_row, due_are_those_whose_time_has_come_oldest_first)
{
    int64_t first = make(10).id, second = make(5).id;
    make(11);
    struct delivery_row_list list;
    OK(delivery_row_due(store, hook, 10, 8, &list, &err));
    cr_assert_eq(list.count, 2);
    cr_assert(list.rows[0].id == first && list.rows[1].id == second);
    cr_assert_str_eq(list.rows[0].body, "{\"a\":1}");
    delivery_row_list_done(&list);
    OK(delivery_row_due(store, hook, 10, 1, &list, &err));
    cr_assert_eq(list.count, 1);
    delivery_row_list_done(&list);
    OK(delivery_row_list(store, hook, second + 1, 50, &list, &err));
    cr_assert(list.count == 2 && list.rows[0].id == second && !list.rows[0].body);
    delivery_row_list_done(&list);
}

Test(delivery_row, a_thousand_wait_and_the_next_is_given_up)
{
    OK(store_begin(store, &err));
    for (int i = 0; i < DELIVERY_ROW_WAITING_MAX; i++)
        cr_assert_eq(make(1).state, DELIVERY_ROW_WAITING);
    struct delivery_row row = make(1);
    OK(store_commit(store, &err));
    cr_assert_eq(row.state, DELIVERY_ROW_FAILED);
    cr_assert(strstr(row.error, "1000"), "%s", row.error);
    cr_assert_eq(row.ended_ms, 9);
}

Test(delivery_row, only_the_newest_thousand_ended_are_kept)
{
    int64_t waiting = make(1).id, removed;
    OK(store_begin(store, &err));
    for (int i = 0; i <= DELIVERY_ROW_KEEP; i++) {
        struct delivery_row row = make(1);
        row.state = DELIVERY_ROW_FAILED;
        OK(delivery_row_update(store, &row, &err));
    }
    OK(store_commit(store, &err));
    OK(delivery_row_trim(store, &removed, &err));
    cr_assert_eq(removed, 1);
    OK(delivery_row_trim(store, &removed, &err));
    cr_assert_eq(removed, 0);
    struct delivery_row got;
    OK(delivery_row_get(store, waiting, &got, &err));
    delivery_row_done(&got);
    GIVES(IJ_NOT_FOUND, delivery_row_get(store, waiting + 1, &got, &err));
}

Test(delivery_row, go_with_their_webhook)
{
    struct delivery_row row = make(1), got;
    OK(webhook_row_delete(store, hook, &err));
    GIVES(IJ_NOT_FOUND, delivery_row_get(store, row.id, &got, &err));
    GIVES(IJ_NOT_FOUND, delivery_row_insert(store, &row, &err));
}
