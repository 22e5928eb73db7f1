/* Rows of evaluation results. */
#include "tests/unit/store_fixture.h"

#include "store/result_row.h"

TestSuite(result_row, .init = fixture_open, .fini = fixture_close);

Test(result_row, round_trip_and_resend)
{
    int64_t run = fixture_run("r", 1);
    struct result_row_list list;
    struct result_row row = {
        .run = run, .name = "knn", .step = 7, .json = "{\"top1\":0.5}", .created_ms = 11};
    OK(result_row_put(store, &row, &err));
    int64_t id = row.id;
    row.json = "{\"top1\":0.75}";
    OK(result_row_put(store, &row, &err));
    cr_assert_eq(row.id, id);
    row.step = 8;
    OK(result_row_put(store, &row, &err));
    OK(result_row_list(store, run, 10, &list, &err));
    cr_assert_eq(list.count, 2);
    cr_assert(list.rows[0].id == id && list.rows[0].run == run && list.rows[0].step == 7);
    cr_assert_str_eq(list.rows[0].name, "knn");
    cr_assert_str_eq(list.rows[0].json, "{\"top1\":0.75}");
    cr_assert_eq(list.rows[0].created_ms, 11);
    result_row_list_done(&list);
    OK(result_row_list(store, run, 1, &list, &err));
    cr_assert_eq(list.count, 1);
    result_row_list_done(&list);
}

Test(result_row, needs_a_run_and_an_object)
{
    struct result_row row = {.run = 9, .name = "knn", .json = "{}"};
    GIVES(IJ_NOT_FOUND, result_row_put(store, &row, &err));
    row.run = fixture_run("r", 1);
    row.json = "3";
    GIVES(IJ_INVALID, result_row_put(store, &row, &err));
}
