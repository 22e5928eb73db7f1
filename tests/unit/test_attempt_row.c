/* Rows of attempts. */
#include "tests/unit/store_fixture.h"

#include "store/attempt_row.h"

TestSuite(attempt_row, .init = fixture_open, .fini = fixture_close);

static struct attempt_row full_row(int64_t run, int32_t n)
{
    return (struct attempt_row){.run = run,
                                .n = n,
                                .pid = 1234,
                                .boot_id = "01234567-89ab-cdef-0123-456789abcdef",
                                .started_ms = 1700000000000,
                                .ended_ms = 1700000001000,
                                .exit_code = -1,
                                .signal = 11,
                                .cause = "crash",
                                .text = "Killed by signal 11 (SIGSEGV)",
                                .from_step = 100,
                                .last_step = 250,
                                .device = "GPU-0"};
}

static void same(const struct attempt_row *a, const struct attempt_row *b)
{
    cr_assert(a->run == b->run && a->n == b->n && a->pid == b->pid);
    cr_assert_str_eq(a->boot_id, b->boot_id);
    cr_assert(a->started_ms == b->started_ms && a->ended_ms == b->ended_ms);
    cr_assert(a->exit_code == b->exit_code && a->signal == b->signal);
    cr_assert_str_eq(a->cause, b->cause);
    cr_assert_str_eq(a->text, b->text);
    cr_assert(a->from_step == b->from_step && a->last_step == b->last_step);
    cr_assert_str_eq(a->device, b->device);
}

Test(attempt_row, round_trip_and_update)
{
    int64_t run = fixture_run("r", 1);
    struct attempt_row row = full_row(run, 1), got;
    OK(attempt_row_insert(store, &row, &err));
    OK(attempt_row_get(store, run, 1, &got, &err));
    same(&row, &got);
    row.exit_code = 75;
    row.signal = 0;
    row.last_step = 999;
    strcpy(row.cause, "stopped");
    OK(attempt_row_update(store, &row, &err));
    OK(attempt_row_get(store, run, 0, &got, &err));
    same(&row, &got);
}

Test(attempt_row, numbers_are_unique_and_runs_must_exist)
{
    int64_t run = fixture_run("r", 1);
    struct attempt_row row = full_row(run, 1);
    OK(attempt_row_insert(store, &row, &err));
    GIVES(IJ_CONFLICT, attempt_row_insert(store, &row, &err));
    row.n = 0;
    GIVES(IJ_INVALID, attempt_row_insert(store, &row, &err));
    row = full_row(run + 1, 1);
    GIVES(IJ_NOT_FOUND, attempt_row_insert(store, &row, &err));
    GIVES(IJ_NOT_FOUND, attempt_row_update(store, &row, &err));
    GIVES(IJ_NOT_FOUND, attempt_row_get(store, run, 2, &row, &err));
}

Test(attempt_row, lists_newest_first)
{
    int64_t run = fixture_run("r", 1);
    for (int n = 1; n <= 20; n++) {
        struct attempt_row row = full_row(run, n);
        OK(attempt_row_insert(store, &row, &err));
    }
    struct attempt_row *rows;
    size_t count;
    OK(attempt_row_list(store, run, 18, &rows, &count, &err));
    cr_assert_eq(count, 18);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(rows[i].n, 20 - (int)i);
    mem_free(rows);
    OK(attempt_row_list(store, run + 1, 18, &rows, &count, &err));
    cr_assert(count == 0 && !rows);
}

Test(attempt_row, open_ones_are_ended_and_others_kept)
{
    int64_t run = fixture_run("r", 1);
    struct attempt_row ended = full_row(run, 1), open = full_row(run, 2), got;
    open.ended_ms = 0;
    OK(attempt_row_insert(store, &ended, &err));
    OK(attempt_row_insert(store, &open, &err));
    OK(attempt_row_end_open(store, 42, "daemon_restart", &err));
    OK(attempt_row_get(store, run, 1, &got, &err));
    same(&ended, &got);
    OK(attempt_row_get(store, run, 2, &got, &err));
    cr_assert_eq(got.ended_ms, 42);
    cr_assert_str_eq(got.cause, "daemon_restart");
}
