/* Rows of events: order, replay, trimming. */
#include "tests/unit/store_fixture.h"

#include "store/event_row.h"

TestSuite(event_row, .init = fixture_open, .fini = fixture_close);

static int64_t append(int64_t run, int64_t ts_ms, char *body)
{
    struct event_row row = {.run = run, .ts_ms = ts_ms, .type = "run.state", .body = body};
    OK(event_row_append(store, &row, &err));
    return row.id;
}

Test(event_row, replays_after_an_id)
{
    struct event_row_list list;
    append(1, 10, "{\"state\":\"queued\"}");
    int64_t second = append(2, 20, NULL);
    append(1, 30, "{\"state\":\"running\"}");
    OK(event_row_list(store, 0, 0, 10, &list, &err));
    cr_assert_eq(list.count, 3);
    cr_assert(list.rows[0].id == 1 && list.rows[0].ts_ms == 10 && list.rows[0].run == 1);
    cr_assert_str_eq(list.rows[0].type, "run.state");
    cr_assert_str_eq(list.rows[0].body, "{\"state\":\"queued\"}");
    cr_assert_str_eq(list.rows[1].body, "{}");
    event_row_list_done(&list);
    OK(event_row_list(store, 0, second, 10, &list, &err));
    cr_assert(list.count == 1 && list.rows[0].id == 3);
    event_row_list_done(&list);
    OK(event_row_list(store, 1, 0, 1, &list, &err));
    cr_assert(list.count == 1 && list.rows[0].id == 1);
    event_row_list_done(&list);
    OK(event_row_list(store, 1, 1, 10, &list, &err));
    cr_assert(list.count == 1 && list.rows[0].id == 3);
    event_row_list_done(&list);
}

Test(event_row, trimming_keeps_the_newest_and_never_reuses_ids)
{
    int64_t oldest, newest, removed;
    OK(event_row_bounds(store, &oldest, &newest, &err));
    cr_assert(oldest == 0 && newest == 0);
    for (int i = 1; i <= 100; i++)
        append(0, i, NULL);
    OK(event_row_trim(store, 100, 0, &removed, &err));
    cr_assert_eq(removed, 0);
    OK(event_row_trim(store, 99, 0, &removed, &err));
    cr_assert_eq(removed, 1);
    OK(event_row_trim(store, 1000, 51, &removed, &err));
    cr_assert_eq(removed, 49);
    OK(event_row_bounds(store, &oldest, &newest, &err));
    cr_assert(oldest == 51 && newest == 100);
    OK(event_row_trim(store, 0, 0, &removed, &err));
    cr_assert_eq(removed, 50);
    cr_assert_eq(append(0, 1, NULL), 101);
}

Test(event_row, a_body_must_be_an_object)
{
    struct event_row row = {.type = "x", .body = "[1]"};
    GIVES(IJ_INVALID, event_row_append(store, &row, &err));
}
