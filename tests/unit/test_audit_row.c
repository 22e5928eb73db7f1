/* Rows of the audit trail. */
#include "tests/unit/store_fixture.h"

#include "store/audit_row.h"

TestSuite(audit_row, .init = fixture_open, .fini = fixture_close);

static const struct audit_row_filter all;

static size_t matching(const struct audit_row_filter *filter, int64_t before)
{
    struct audit_row *rows;
    size_t count;
    OK(audit_row_list(store, filter, before, 50, &rows, &count, &err));
    mem_free(rows);
    return count;
}

Test(audit_row, filters)
{
    static const char *const actors[] = {"ann", "bob"}, *const actions[] = {"run.cancel", "submit"};
    for (int i = 0; i < 8; i++) {
        struct audit_row row = {.ts_ms = 1};
        snprintf(row.actor, sizeof row.actor, "%s", actors[i & 1]);
        snprintf(row.action, sizeof row.action, "%s", actions[i >> 1 & 1]);
        snprintf(row.target, sizeof row.target, "r%d", i);
        OK(audit_row_append(store, &row, &err));
    }
    cr_assert_eq(matching(&all, 0), 8);
    cr_assert_eq(matching(&(struct audit_row_filter){.actor = "ann"}, 0), 4);
    cr_assert_eq(matching(&(struct audit_row_filter){.actor = "ann"}, 5), 2);
    cr_assert_eq(matching(&(struct audit_row_filter){.actor = "ann", .action = "submit"}, 0), 2);
    cr_assert_eq(matching(&(struct audit_row_filter){.target = "r3"}, 0), 1);
    cr_assert_eq(matching(&(struct audit_row_filter){.target = "r3", .actor = "ann"}, 0), 0);
    cr_assert_eq(matching(&(struct audit_row_filter){.actor = "' OR 1=1 --"}, 0), 0);
}

Test(audit_row, newest_first_in_pages_and_trimmed_by_time)
{
    struct audit_row *rows;
    size_t count;
    int64_t removed;
    for (int i = 1; i <= 20; i++) {
        struct audit_row row = {.ts_ms = i,
                                .actor = "ann",
                                .address = "127.0.0.1",
                                .action = "run.cancel",
                                .target = "r42",
                                .detail = "{\"grace_s\":120}"};
        OK(audit_row_append(store, &row, &err));
        cr_assert_eq(row.id, i);
    }
    OK(audit_row_list(store, &all, 0, 15, &rows, &count, &err));
    cr_assert(count == 15 && rows[0].id == 20 && rows[14].id == 6 && rows[0].ts_ms == 20);
    cr_assert_str_eq(rows[0].actor, "ann");
    cr_assert_str_eq(rows[0].address, "127.0.0.1");
    cr_assert_str_eq(rows[0].action, "run.cancel");
    cr_assert_str_eq(rows[0].target, "r42");
    cr_assert_str_eq(rows[0].detail, "{\"grace_s\":120}");
    mem_free(rows);
    OK(audit_row_list(store, &all, 6, 15, &rows, &count, &err));
    cr_assert(count == 5 && rows[0].id == 5);
    mem_free(rows);
    OK(audit_row_trim(store, 19, &removed, &err));
    cr_assert_eq(removed, 18);
}
