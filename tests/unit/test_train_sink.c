/* What training tells its host about speed. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "gpu/train/train_sink.h"

struct seen {
    double images_per_s, eta_s;
    uint64_t step;
    int reports;
};

static enum ij_status note(void *user, const struct engine_progress *progress)
{
    struct seen *seen = user;
    seen->images_per_s = progress->images_per_s;
    seen->eta_s = progress->eta_s;
    seen->step = progress->step;
    seen->reports++;
    return IJ_OK;
}

static void report(struct train_sink *sink, uint64_t step, const char *phase)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(train_sink_progress(sink, step, phase, true, NULL, &err), IJ_OK, "%s", err.text);
}

Test(train_sink, a_resume_is_no_speed)
{
    struct seen seen = {0};
    struct engine_sink host = {.user = &seen, .progress = note};
    struct train_sink sink = {
        .sink = &host, .images_per_step = 64, .steps = 10000, .steps_per_epoch = 100};
    report(&sink, 0, "loading");
    cr_assert_eq(seen.images_per_s, 0);
    report(&sink, 9000, "evaluating"); /* where the checkpoint stood */
    cr_assert_eq(seen.images_per_s, 0, "9000 steps were not done by this attempt");
    cr_assert(isnan(seen.eta_s));
    int64_t start_ns = clock_monotonic_ns();
    while (clock_monotonic_ns() - start_ns < 2000000)
        ; /* a step of at least two milliseconds */
    report(&sink, 9001, "training");
    cr_assert_gt(seen.images_per_s, 0);
    cr_assert_leq(seen.images_per_s, 64 / 0.002);
    cr_assert_eq(seen.reports, 3);
}

static int warnings;
static enum ij_status warn(void *user, const char *code, const char *text)
{
    (void)user;
    warnings++;
    cr_assert_str_eq(code, "data_wait");
    cr_assert_eq(strncmp(text, "11 % of the time", 16), 0, "%s", text);
    return IJ_OK;
}

/* Minutes of 30 steps of 2 seconds. */
static void minute(struct train_sink *sink, double waited_s)
{
    const struct train_sink_step step = {.step = 1, .seconds = 2, .data_wait_s = waited_s};
    for (int i = 0; i < 30; i++)
        cr_assert_eq(train_sink_step(sink, &step, NULL), IJ_OK);
}

Test(train_sink, waiting_for_data_is_told_once)
{
    struct engine_sink host = {.warning = warn};
    struct train_sink sink = {.sink = &host, .images_per_step = 64};
    warnings = 0;
    minute(&sink, 0.19);
    cr_assert_eq(warnings, 0);
    minute(&sink, 0.22);
    cr_assert_eq(warnings, 1);
    minute(&sink, 0.22);
    cr_assert_eq(warnings, 1);
}

Test(train_sink, a_few_slow_steps_are_no_reason_to_warn)
{
    struct engine_sink host = {.warning = warn};
    struct train_sink sink = {.sink = &host, .images_per_step = 64};
    const struct train_sink_step slow = {.step = 1, .seconds = 5, .data_wait_s = 5};
    warnings = 0;
    cr_assert_eq(train_sink_step(&sink, &slow, NULL), IJ_OK);
    minute(&sink, 0);
    minute(&sink, 0);
    cr_assert_eq(warnings, 0);
}
