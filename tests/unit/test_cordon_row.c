/* Rows of cordoned devices. */
#include "tests/unit/store_fixture.h"

#include "store/cordon_row.h"

TestSuite(cordon_row, .init = fixture_open, .fini = fixture_close);

Test(cordon_row, is_kept_replaced_and_deleted)
{
    struct cordon_row row = {.device = "host-1", .actor = "ann", .reason = "fan", .ts_ms = 5};
    struct cordon_row *rows = NULL;
    size_t count = 9;
    OK(cordon_row_list(store, &rows, &count, &err));
    cr_assert_eq(count, 0);
    mem_free(rows);
    OK(cordon_row_put(store, &row, &err));
    snprintf(row.reason, sizeof row.reason, "fan again");
    OK(cordon_row_put(store, &row, &err));
    snprintf(row.device, sizeof row.device, "GPU-0a");
    OK(cordon_row_put(store, &row, &err));
    fixture_reopen();
    OK(cordon_row_list(store, &rows, &count, &err));
    cr_assert_eq(count, 2);
    cr_assert_str_eq(rows[0].device, "GPU-0a");
    cr_assert_str_eq(rows[1].device, "host-1");
    cr_assert_str_eq(rows[1].reason, "fan again");
    cr_assert_str_eq(rows[1].actor, "ann");
    cr_assert_eq(rows[1].ts_ms, 5);
    mem_free(rows);
    OK(cordon_row_delete(store, "host-1", &err));
    OK(cordon_row_delete(store, "host-1", &err));
    OK(cordon_row_list(store, &rows, &count, &err));
    cr_assert_eq(count, 1);
    mem_free(rows);
}
