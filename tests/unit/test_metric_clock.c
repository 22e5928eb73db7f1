/* When a run did which step: ends, seams between attempts, what later attempts replaced. */
#include "tests/unit/store_fixture.h"

#include "store/metric_clock.h"
#include "store/metric_store.h"

TestSuite(metric_clock, .init = fixture_open, .fini = fixture_close, .timeout = 60);

static const char *const keys[] = {"loss"};
static struct metric_clock_point points[METRIC_CLOCK_MAX];

/* Steps from..to, `every_ms` apart from `start_ms` on. */
static void attempt(int32_t n, uint64_t from, uint64_t to, int64_t start_ms, int64_t every_ms)
{
    int64_t stream;
    OK(metric_store_stream(store, 1, n, "train", keys, 1, &stream, &err));
    OK(metric_store_supersede(store, 1, n, (int64_t)from - 1, &err));
    for (uint64_t step = from; step <= to; step++)
        OK(metric_store_put(store, stream, step, start_ms + (int64_t)(step - from) * every_ms,
                            (float[]){0}, 1, &err));
    OK(metric_store_commit(store, &err));
}

static size_t read_clock(void)
{
    size_t count;
    OK(metric_clock(store, 1, points, &count, &err));
    return count;
}

Test(metric_clock, a_run_without_figures_has_no_points)
{
    cr_assert_eq(read_clock(), 0);
}

Test(metric_clock, one_frame_is_one_point)
{
    attempt(1, 7, 7, 5000, 1);
    cr_assert_eq(read_clock(), 1);
    cr_assert(points[0].step == 7 && points[0].ts_ms == 5000);
}

Test(metric_clock, a_long_attempt_is_thinned_and_keeps_its_ends)
{
    attempt(1, 1, 5000, 1000, 10);
    size_t count = read_clock();
    cr_assert_eq(count, METRIC_CLOCK_MAX);
    cr_assert(points[0].step == 1 && points[0].ts_ms == 1000);
    cr_assert(points[count - 1].step == 5000 && points[count - 1].ts_ms == 50990);
    for (size_t i = 1; i < count; i++) {
        cr_assert_gt(points[i].step, points[i - 1].step);
        cr_assert_eq(points[i].ts_ms, 1000 + (int64_t)(points[i].step - 1) * 10);
    }
}

/* Paused for a day after step 100; then it went back to step 80. */
Test(metric_clock, a_pause_lies_at_the_seam_and_replaced_steps_are_not_seen)
{
    attempt(1, 1, 100, 0, 1000);
    attempt(2, 81, 160, 86400000, 1000);
    size_t count = read_clock(), seam = 0;
    while (seam < count && points[seam].step <= 80)
        seam++;
    cr_assert(points[seam - 1].step == 80 && points[seam - 1].ts_ms == 79000);
    cr_assert(points[seam].step == 81 && points[seam].ts_ms == 86400000);
    cr_assert_eq(points[count - 1].step, 160);
}

/* The clock of the machine was set back between two attempts. */
Test(metric_clock, time_never_runs_backwards)
{
    attempt(1, 1, 10, 100000, 1);
    attempt(2, 11, 20, 50000, 1);
    size_t count = read_clock();
    cr_assert_eq(count, 20);
    for (size_t i = 1; i < count; i++)
        cr_assert_geq(points[i].ts_ms, points[i - 1].ts_ms);
}
