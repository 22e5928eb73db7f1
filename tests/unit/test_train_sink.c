/* What training tells its host about speed. */
#include <criterion/criterion.h>
#include <math.h>
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
