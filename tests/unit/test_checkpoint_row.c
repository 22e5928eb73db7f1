/* Rows of checkpoints; above all that the last valid one stays. */
#include "tests/unit/store_fixture.h"

#include "store/checkpoint_row.h"

TestSuite(checkpoint_row, .init = fixture_open, .fini = fixture_close);

static struct checkpoint_row make(int64_t run, uint64_t step, enum checkpoint_row_state state)
{
    struct checkpoint_row row = {.run = run,
                                 .attempt = 2,
                                 .step = step,
                                 .epoch = (double)step / 8,
                                 .bytes = 1000 + step,
                                 .hash = "ab12",
                                 .state = state,
                                 .score = NAN,
                                 .created_ms = 1700000000000};
    snprintf(row.path, sizeof row.path, "/state/runs/%lld/step-%llu", (long long)run,
             (unsigned long long)step);
    OK(checkpoint_row_put(store, &row, &err));
    return row;
}

Test(checkpoint_row, round_trip_and_resend)
{
    int64_t run = fixture_run("r", 1);
    struct checkpoint_row row = make(run, 16, CHECKPOINT_ROW_WRITING), got;
    int64_t id = row.id;
    OK(checkpoint_row_set_pinned(store, id, true, &err));
    row.state = CHECKPOINT_ROW_VALID;
    row.score = 0.75;
    strcpy(row.hash, "cd34");
    OK(checkpoint_row_put(store, &row, &err));
    cr_assert_eq(row.id, id);
    OK(checkpoint_row_get(store, id, &got, &err));
    cr_assert(got.run == run && got.attempt == 2 && got.step == 16 && got.epoch == 2.0);
    cr_assert(got.bytes == 1016 && got.score == 0.75 && got.created_ms == 1700000000000);
    cr_assert_str_eq(got.path, row.path);
    cr_assert_str_eq(got.hash, "cd34");
    cr_assert_eq(got.state, CHECKPOINT_ROW_VALID);
    cr_assert(got.pinned, "a resend does not unpin");
    GIVES(IJ_NOT_FOUND, checkpoint_row_get(store, 99, &got, &err));
    GIVES(IJ_NOT_FOUND, checkpoint_row_set_state(store, 99, CHECKPOINT_ROW_GONE, &err));
    GIVES(IJ_NOT_FOUND, checkpoint_row_set_pinned(store, 99, true, &err));
}

Test(checkpoint_row, newest_is_the_highest_valid_step)
{
    int64_t run = fixture_run("r", 1), other = fixture_run("other", 1);
    struct checkpoint_row got;
    GIVES(IJ_NOT_FOUND, checkpoint_row_newest(store, run, &got, &err));
    make(run, 30, CHECKPOINT_ROW_VALID);
    make(run, 10, CHECKPOINT_ROW_VALID);
    make(run, 40, CHECKPOINT_ROW_WRITING);
    make(run, 50, CHECKPOINT_ROW_CORRUPT);
    make(other, 60, CHECKPOINT_ROW_VALID);
    OK(checkpoint_row_newest(store, run, &got, &err));
    cr_assert_eq(got.step, 30);
}

Test(checkpoint_row, the_newest_valid_one_cannot_be_retired)
{
    int64_t run = fixture_run("r", 1), other = fixture_run("other", 1);
    struct checkpoint_row a = make(run, 10, CHECKPOINT_ROW_VALID), got;
    struct checkpoint_row theirs = make(other, 99, CHECKPOINT_ROW_VALID);
    struct checkpoint_row broken = make(run, 30, CHECKPOINT_ROW_CORRUPT);
    GIVES(IJ_CONFLICT, checkpoint_row_retire(store, a.id, &err));
    cr_assert(strstr(err.text, "newest valid"), "%s", err.text);
    struct checkpoint_row b = make(run, 20, CHECKPOINT_ROW_VALID);
    OK(checkpoint_row_retire(store, a.id, &err));
    OK(checkpoint_row_get(store, a.id, &got, &err));
    cr_assert_eq(got.state, CHECKPOINT_ROW_DELETING);
    GIVES(IJ_CONFLICT, checkpoint_row_retire(store, b.id, &err));
    GIVES(IJ_CONFLICT, checkpoint_row_retire(store, theirs.id, &err));
    GIVES(IJ_CONFLICT, checkpoint_row_retire(store, broken.id, &err));
    GIVES(IJ_NOT_FOUND, checkpoint_row_retire(store, 99, &err));
}

Test(checkpoint_row, a_pinned_one_cannot_be_retired)
{
    int64_t run = fixture_run("r", 1);
    struct checkpoint_row a = make(run, 10, CHECKPOINT_ROW_VALID);
    make(run, 20, CHECKPOINT_ROW_VALID);
    OK(checkpoint_row_set_pinned(store, a.id, true, &err));
    GIVES(IJ_CONFLICT, checkpoint_row_retire(store, a.id, &err));
    cr_assert(strstr(err.text, "pinned"), "%s", err.text);
    OK(checkpoint_row_set_pinned(store, a.id, false, &err));
    OK(checkpoint_row_retire(store, a.id, &err));
}

Test(checkpoint_row, lists_by_step_in_pages)
{
    int64_t run = fixture_run("r", 1);
    struct checkpoint_row *rows;
    size_t count;
    for (uint64_t step = 1; step <= 30; step++)
        make(run, step * 7 % 31, step % 10 ? CHECKPOINT_ROW_VALID : CHECKPOINT_ROW_GONE);
    OK(checkpoint_row_list(store, run, 0, 0, 20, &rows, &count, &err));
    cr_assert_eq(count, 20);
    for (size_t i = 1; i < count; i++)
        cr_assert_lt(rows[i].step, rows[i - 1].step);
    int64_t last = rows[count - 1].id;
    uint64_t last_step = rows[count - 1].step;
    mem_free(rows);
    OK(checkpoint_row_list(store, run, 0, last, 20, &rows, &count, &err));
    cr_assert_eq(count, 7, "27 are not gone, got %zu", count);
    cr_assert_lt(rows[0].step, last_step);
    mem_free(rows);
    OK(checkpoint_row_list(store, 0, 1u << CHECKPOINT_ROW_GONE, 0, 20, &rows, &count, &err));
    cr_assert_eq(count, 3);
    mem_free(rows);
}
