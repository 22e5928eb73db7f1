/* The pauses between tries. What is sent and when: tests/e2e/test_webhooks.py. */
#include <criterion/criterion.h>

#include "daemon/webhook.h"

Test(webhook, pauses_grow_fourfold_up_to_an_hour)
{
    cr_assert_eq(webhook_pause_ms(10000, 1), 10000);
    cr_assert_eq(webhook_pause_ms(10000, 2), 40000);
    cr_assert_eq(webhook_pause_ms(10000, 3), 160000);
    cr_assert_eq(webhook_pause_ms(10000, 4), 640000);
    cr_assert_eq(webhook_pause_ms(10000, 5), 2560000);
    cr_assert_eq(webhook_pause_ms(10000, 6), 3600000);
    cr_assert_eq(webhook_pause_ms(3600000, 20), 3600000);
    cr_assert_eq(webhook_pause_ms(1, 1), 1);
}
