/* Failures are counted by their reason, and no number of reasons breaks the table. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "daemon/tally.h"

static struct tally *tally;
static struct tally_failure failures[TALLY_REASONS_MAX];

static void make(void)
{
    cr_assert_eq(tally_new(&tally, NULL), IJ_OK);
}

static void release(void)
{
    tally_free(tally);
}

TestSuite(tally, .init = make, .fini = release);

Test(tally, failures_are_counted_by_reason)
{
    cr_assert_eq(tally_failures(tally, failures), 0);
    tally_count_failure(tally, "hung");
    tally_count_failure(tally, "crash");
    tally_count_failure(tally, "hung");
    cr_assert_eq(tally_failures(tally, failures), 2);
    cr_assert_str_eq(failures[0].reason, "hung");
    cr_assert_eq(failures[0].count, 2);
    cr_assert_str_eq(failures[1].reason, "crash");
    cr_assert_eq(failures[1].count, 1);
}

Test(tally, reasons_beyond_the_table_are_counted_together)
{
    char reason[16];
    for (int i = 0; i < TALLY_REASONS_MAX + 5; i++) {
        snprintf(reason, sizeof(reason), "reason%d", i);
        tally_count_failure(tally, reason);
    }
    cr_assert_eq(tally_failures(tally, failures), TALLY_REASONS_MAX);
    cr_assert_str_eq(failures[TALLY_REASONS_MAX - 1].reason, "other");
    cr_assert_eq(failures[TALLY_REASONS_MAX - 1].count, 6);
    cr_assert_eq(failures[0].count, 1);
}

Test(tally, without_one_there_is_nothing_to_read)
{
    cr_assert_eq(tally_failures(NULL, failures), 0);
}
