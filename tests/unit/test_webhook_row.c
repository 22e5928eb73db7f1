/* Rows of webhooks: round trip, their number, the cursor over events, switching off and on. */
#include "tests/unit/store_fixture.h"

#include "store/event_row.h"
#include "store/webhook_row.h"

TestSuite(webhook_row, .init = fixture_open, .fini = fixture_close);

static int64_t make_event(void)
{
    struct event_row row = {.ts_ms = 1, .type = "run.state", .body = "{}"};
    OK(event_row_append(store, &row, &err));
    return row.id;
}

static struct webhook_row make(const char *url)
{
    struct webhook_row row = {.events = "[\"run.failed\"]",
                              .secret = "whsec_x",
                              .note = "n",
                              .user = "ann",
                              .enabled = true,
                              .created_ms = 5};
    snprintf(row.url, sizeof row.url, "%s", url);
    OK(webhook_row_insert(store, &row, &err));
    return row;
}

Test(webhook_row, round_trip_begins_at_the_newest_event)
{
    int64_t event = make_event();
    struct webhook_row row = make("https://example.org/x"), got;
    OK(webhook_row_get(store, row.id, &got, &err));
    cr_assert_str_eq(got.url, "https://example.org/x");
    cr_assert_str_eq(got.events, "[\"run.failed\"]");
    cr_assert_str_eq(got.secret, "whsec_x");
    cr_assert_str_eq(got.user, "ann");
    cr_assert(got.enabled && got.cursor == event && got.created_ms == 5);
    cr_assert(got.waiting == 0 && got.last_ms == 0);
    GIVES(IJ_NOT_FOUND, webhook_row_get(store, row.id + 1, &got, &err));
    row.events[0] = '{';
    cr_assert_neq(webhook_row_insert(store, &row, &err), IJ_OK, "events are a JSON array");
}

Test(webhook_row, sixteen_and_no_more)
{
    struct webhook_row row = make("http://a/0"), *rows = NULL;
    size_t count;
    for (int i = 1; i < WEBHOOK_ROW_MAX; i++)
        make("http://a/x");
    GIVES(IJ_CONFLICT, webhook_row_insert(store, &row, &err));
    OK(webhook_row_delete(store, row.id, &err));
    GIVES(IJ_NOT_FOUND, webhook_row_delete(store, row.id, &err));
    make("http://a/17");
    OK(webhook_row_list(store, &rows, &count, &err));
    cr_assert_eq(count, WEBHOOK_ROW_MAX);
    cr_assert_str_eq(rows[WEBHOOK_ROW_MAX - 1].url, "http://a/17");
    mem_free(rows);
}

Test(webhook_row, the_cursor_only_moves_forward)
{
    struct webhook_row row = make("http://a/"), got;
    OK(webhook_row_advance(store, 10, &err));
    OK(webhook_row_advance(store, 4, &err));
    OK(webhook_row_get(store, row.id, &got, &err));
    cr_assert_eq(got.cursor, 10);
}

Test(webhook_row, off_gives_up_what_waits_and_on_skips_what_happened_meanwhile)
{
    struct webhook_row row = make("http://a/"), got;
    struct delivery_row delivery = {.webhook = row.id, .type = "run.failed", .body = "{}"};
    OK(delivery_row_insert(store, &delivery, &err));
    OK(webhook_row_get(store, row.id, &got, &err));
    cr_assert_eq(got.waiting, 1);
    OK(webhook_row_enable(store, row.id, false, "gone", 77, &err));
    OK(webhook_row_get(store, row.id, &got, &err));
    cr_assert(!got.enabled && got.waiting == 0 && got.last_ms == 77);
    cr_assert_str_eq(got.reason, "gone");
    cr_assert_eq(got.last_state, DELIVERY_ROW_FAILED);
    int64_t event = make_event();
    OK(webhook_row_enable(store, row.id, true, "", 78, &err));
    OK(webhook_row_get(store, row.id, &got, &err));
    cr_assert(got.enabled && got.cursor == event);
    make_event();
    OK(webhook_row_enable(store, row.id, true, "", 79, &err));
    OK(webhook_row_get(store, row.id, &got, &err));
    cr_assert_eq(got.cursor, event, "on again while on skips nothing");
    GIVES(IJ_NOT_FOUND, webhook_row_enable(store, row.id + 1, true, "", 80, &err));
}
