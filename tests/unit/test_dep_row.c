/* Rows of dependencies between runs. */
#include "tests/unit/store_fixture.h"

#include "store/dep_row.h"

TestSuite(dep_row, .init = fixture_open, .fini = fixture_close);

static enum ij_status add(int64_t run, int64_t on_run, enum dep_row_condition condition)
{
    struct dep_row row = {.run = run, .on_run = on_run, .condition = condition};
    return dep_row_insert(store, &row, &err);
}

Test(dep_row, both_directions_with_the_state_now)
{
    struct dep_row *rows;
    size_t count;
    int64_t a = fixture_run("a", 1), b = fixture_run("b", 1), c = fixture_run("c", 1);
    OK(add(c, b, DEP_ROW_END));
    OK(add(c, a, DEP_ROW_OK));
    fixture_set_state(a, RUN_STATE_SUCCEEDED);
    OK(dep_row_list(store, c, &rows, &count, &err));
    cr_assert_eq(count, 2);
    cr_assert(rows[0].on_run == a && rows[0].condition == DEP_ROW_OK);
    cr_assert(rows[0].run == c && rows[0].on_state == RUN_STATE_SUCCEEDED);
    cr_assert(rows[1].on_run == b && rows[1].condition == DEP_ROW_END);
    cr_assert_eq(rows[1].on_state, RUN_STATE_QUEUED);
    mem_free(rows);
    OK(dep_row_list_waiting(store, a, &rows, &count, &err));
    cr_assert(count == 1 && rows[0].run == c);
    mem_free(rows);
    OK(dep_row_list(store, a, &rows, &count, &err));
    cr_assert(count == 0 && !rows);
}

Test(dep_row, only_older_existing_runs_once)
{
    int64_t a = fixture_run("a", 1), b = fixture_run("b", 1);
    GIVES(IJ_INVALID, add(a, b, DEP_ROW_OK));
    GIVES(IJ_INVALID, add(a, a, DEP_ROW_OK));
    cr_assert_str_eq(err.field, "after");
    OK(add(b, a, DEP_ROW_OK));
    GIVES(IJ_CONFLICT, add(b, a, DEP_ROW_END));
    GIVES(IJ_NOT_FOUND, add(b, -1, DEP_ROW_OK));
    GIVES(IJ_NOT_FOUND, add(99, a, DEP_ROW_OK));
}

Test(dep_row, at_most_64)
{
    int64_t first = fixture_run("first", 1), last = 0;
    for (int i = 0; i < DEP_ROW_MAX + 1; i++)
        last = fixture_run("r", 1);
    for (int i = 0; i < DEP_ROW_MAX; i++)
        OK(add(last, first + i, DEP_ROW_OK));
    GIVES(IJ_INVALID, add(last, first + DEP_ROW_MAX, DEP_ROW_OK));
}

Test(dep_row, condition_names_go_both_ways)
{
    enum dep_row_condition condition;
    for (int i = 0; i < DEP_ROW_CONDITION_COUNT; i++) {
        cr_assert(dep_row_condition_from_name(dep_row_condition_name((enum dep_row_condition)i),
                                              &condition));
        cr_assert_eq((int)condition, i);
    }
    cr_assert(!dep_row_condition_from_name("any", &condition));
}
