/* The alarm rules, one by one and over the checks of real runs: a healthy one and two collapses. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "daemon/health.h"

#define CHECKS_MAX 64
#define STEPS      4000

static struct health_check checks[CHECKS_MAX];
static size_t count;

/* A check 200 steps after the one before, of a run that does well. */
static struct health_check *add(void)
{
    struct health_check *c = &checks[count];
    cr_assert(count < CHECKS_MAX);
    *c = (struct health_check){.step = 200 * count++,
                               .rankme = 20,
                               .lidar = 30,
                               .explained = 0.4,
                               .target_std = 0.5,
                               .pair_cos = 0.7,
                               .ema_gap = 0.1,
                               .knn_top1 = 0.5};
    return c;
}

static void add_many(size_t n)
{
    while (n--)
        add();
}

static void expect(enum health_level level, const char *rule)
{
    struct health_verdict v = health_judge(checks, count, STEPS);
    cr_assert_eq(v.level, level, "%s: %s, %s", health_level_name(v.level), v.rule, v.text);
    cr_assert_str_eq(v.rule, rule);
    cr_assert_eq(v.text[0] == '\0', level == HEALTH_HEALTHY);
    cr_assert_eq(v.step, count ? checks[count - 1].step : 0);
}

Test(health, no_check_and_good_checks_are_healthy)
{
    expect(HEALTH_HEALTHY, "");
    add_many(20);
    expect(HEALTH_HEALTHY, "");
}

/* ---- Each rule, at its limit and beyond ------------------------------------------------------ */

/* `member` at the limit is fine; beyond it `first` at once and `second` at the next check. */
#define EXPECT_THRESHOLD(member, limit, beyond, first, code, second)                               \
    do {                                                                                           \
        count = 0;                                                                                 \
        add_many(8);                                                                               \
        add()->member = limit;                                                                     \
        struct health_verdict v = health_judge(checks, count, STEPS);                              \
        cr_expect_str_neq(v.rule, code);                                                           \
        count--;                                                                                   \
        add()->member = beyond;                                                                    \
        expect(first, code);                                                                       \
        add()->member = beyond;                                                                    \
        expect(second, code);                                                                      \
    } while (0)

Test(health, thresholds)
{
    EXPECT_THRESHOLD(pair_cos, 0.98, 0.981, HEALTH_WATCH, "features_alike", HEALTH_COLLAPSING);
    EXPECT_THRESHOLD(rankme, 2.5, 2.49, HEALTH_WATCH, "rank_gone", HEALTH_COLLAPSING);
    EXPECT_THRESHOLD(target_std, 0.15, 0.149, HEALTH_WATCH, "targets_still", HEALTH_COLLAPSING);
    EXPECT_THRESHOLD(dead_dims, 0.5, 0.51, HEALTH_WATCH, "dims_dead", HEALTH_COLLAPSING);
    EXPECT_THRESHOLD(explained, 0.98, 0.981, HEALTH_WATCH, "all_explained", HEALTH_COLLAPSING);
    EXPECT_THRESHOLD(rankme, 8, 7.9, HEALTH_WATCH, "rank_fell_far", HEALTH_COLLAPSING);
    EXPECT_THRESHOLD(pair_cos, 0.955, 0.956, HEALTH_WATCH, "pair_cos", HEALTH_WATCH);
    EXPECT_THRESHOLD(dead_dims, 0.1, 0.11, HEALTH_WATCH, "some_dims_dead", HEALTH_WATCH);
    EXPECT_THRESHOLD(rankme, 14, 13.9, HEALTH_WATCH, "rank_fell", HEALTH_WATCH);
    EXPECT_THRESHOLD(target_std, 0.251, 0.25, HEALTH_WATCH, "std_fell", HEALTH_WATCH);
    EXPECT_THRESHOLD(lidar, 21, 20.9, HEALTH_WATCH, "lidar_fell", HEALTH_WATCH);
    EXPECT_THRESHOLD(explained, 0.6, 0.601, HEALTH_WATCH, "explained_jump", HEALTH_WATCH);
}

Test(health, what_is_not_finite_is_told_at_once)
{
    add_many(2);
    struct health_check *c = add();
    c->rankme = (double)NAN;
    c->nonfinite = true;
    expect(HEALTH_COLLAPSING, "not_finite");
}

Test(health, what_is_not_measured_is_silent)
{
    for (int i = 0; i < 10; i++) {
        struct health_check *c = add();
        c->rankme = c->lidar = c->explained = c->target_std = (double)NAN;
        c->dead_dims = c->pair_cos = c->ema_gap = c->knn_top1 = (double)NAN;
    }
    expect(HEALTH_HEALTHY, "");
}

Test(health, windows)
{
    add_many(8);
    add()->target_std = 0.4; /* step 1600; half is reached 1200 steps after 0.5 */
    add()->target_std = 0.38;
    add()->target_std = 0.36;
    add()->target_std = 0.34;
    add()->target_std = 0.32;
    add()->target_std = 0.26;
    expect(HEALTH_HEALTHY, "");
    count = 0;
    add_many(8);
    add()->explained = 0.5; /* 0.2 in 600 steps is no jump */
    add()->explained = 0.55;
    add()->explained = 0.61;
    expect(HEALTH_HEALTHY, "");
}

Test(health, lidar_may_fall_with_the_rank)
{
    add_many(8);
    struct health_check *c = add();
    c->lidar = 20;
    c->rankme = 17; /* 15 % down */
    expect(HEALTH_HEALTHY, "");
}

Test(health, runs_of_checks)
{
    static const double gap[] = {0.1, 0.11, 0.12, 0.13, 0.14, 0.151};
    add_many(6);
    for (int i = 0; i < 5; i++)
        add()->ema_gap = gap[i];
    expect(HEALTH_HEALTHY, "");
    add()->ema_gap = gap[5];
    expect(HEALTH_WATCH, "gap_grows");
    count = 0;
    add_many(8);
    add()->knn_top1 = 0.48;
    expect(HEALTH_HEALTHY, "");
    add()->knn_top1 = 0.47;
    expect(HEALTH_WATCH, "knn_fell");
    count--;
    add()->knn_top1 = 0.471; /* 2.9 points */
    expect(HEALTH_HEALTHY, "");
}

/* ---- The first phase ------------------------------------------------------------------------- */

Test(health, comparisons_begin_when_the_run_has_settled)
{
    add()->rankme = 60;
    add_many(4); /* to step 800 */
    expect(HEALTH_HEALTHY, "");
    add(); /* 1000 */
    add();
    expect(HEALTH_HEALTHY, "");
}

Test(health, a_twentieth_of_a_long_run_settles)
{
    add_many(6);
    checks[5].rankme = 60;
    add();
    cr_assert_eq(health_judge(checks, count, 20000).level, HEALTH_WATCH);
    cr_assert_eq(health_judge(checks, count, 20020).level, HEALTH_HEALTHY);
}

Test(health, random_weights_that_look_collapsed_have_until_then)
{
    for (int i = 0; i < 5; i++)
        add()->target_std = 0.1;
    expect(HEALTH_HEALTHY, "");
    add()->target_std = 0.1;
    add()->target_std = 0.1;
    expect(HEALTH_COLLAPSING, "targets_still");
}

/* Images of one kind: their features have little rank from the start. */
Test(health, the_rank_is_compared_with_the_first)
{
    static const double scenes[] = {4.8, 4.5, 3.6, 3.0, 2.8, 2.6, 2.4, 2.4, 2.3, 2.3, 2.3};
    for (size_t i = 0; i < sizeof scenes / sizeof scenes[0]; i++)
        add()->rankme = scenes[i];
    for (size_t i = 0; i < count; i++)
        checks[i].step = 70 * i;
    expect(HEALTH_HEALTHY, "");
    add()->rankme = 1.93; /* 40 % are 1.92 */
    expect(HEALTH_HEALTHY, "");
    count--;
    add()->rankme = 1.91;
    checks[count - 1].step = 770;
    expect(HEALTH_WATCH, "rank_gone");
}

/* To random weights, images of one kind look alike. */
Test(health, cosines_are_compared_with_the_first)
{
    add_many(10);
    for (size_t i = 0; i < count; i++)
        checks[i].pair_cos = 0.99;
    expect(HEALTH_HEALTHY, "");
    add()->pair_cos = 0.9989;
    expect(HEALTH_WATCH, "pair_cos");
    add()->pair_cos = 0.9991;
    add()->pair_cos = 0.9991;
    expect(HEALTH_COLLAPSING, "features_alike");
    count = 0;
    add_many(8);
    checks[0].pair_cos = -1; /* 15 % of 2 would be 0.7 */
    add()->pair_cos = 0.9;
    expect(HEALTH_HEALTHY, "");
    add()->pair_cos = 0.901;
    expect(HEALTH_WATCH, "pair_cos");
}

/* ---- Hysteresis ------------------------------------------------------------------------------ */

Test(health, one_bad_check_is_watched_and_three_good_ones_recover)
{
    add_many(8);
    add()->pair_cos = 0.99;
    expect(HEALTH_WATCH, "features_alike");
    add_many(2);
    expect(HEALTH_WATCH, "features_alike");
    add();
    expect(HEALTH_HEALTHY, "");
    cr_assert_eq(health_judge(checks, count, STEPS).since_step, checks[count - 1].step);
}

Test(health, a_collapse_is_left_through_three_checks_without_it)
{
    add_many(8);
    add()->pair_cos = 0.99;
    add()->pair_cos = 0.99;
    uint64_t since = checks[count - 1].step;
    add()->pair_cos = 0.96;
    add()->pair_cos = 0.96;
    expect(HEALTH_COLLAPSING, "features_alike");
    cr_assert_eq(health_judge(checks, count, STEPS).since_step, since);
    add()->pair_cos = 0.96;
    expect(HEALTH_WATCH, "pair_cos");
}

/* ---- Real runs ------------------------------------------------------------------------------- */

/* RankMe, LiDAR, explained variance, target deviation, pair cosine, gap, k-NN of real runs of the
 * preset small_32 on 3840 images of CIFAR-10. */
#define FIGURES 7
static void add_real(uint64_t step, const double figures[FIGURES])
{
    struct health_check *c = add();
    c->step = step;
    c->rankme = figures[0];
    c->lidar = figures[1];
    c->explained = figures[2];
    c->target_std = figures[3];
    c->pair_cos = figures[4];
    c->ema_gap = figures[5];
    c->knn_top1 = figures[6];
}

Test(health, a_healthy_run_stays_healthy)
{
    static const double run[][FIGURES] = {{22.140, 53.987, -0.235, 0.863, 0.478, 0.000, 0.240},
                                          {21.715, 41.352, 0.088, 0.853, 0.490, 0.175, 0.244},
                                          {15.974, 37.583, 0.186, 0.774, 0.580, 0.201, 0.216},
                                          {11.919, 41.431, 0.234, 0.685, 0.652, 0.185, 0.232},
                                          {9.852, 37.927, 0.353, 0.622, 0.699, 0.177, 0.224},
                                          {8.481, 35.918, 0.387, 0.561, 0.751, 0.162, 0.212},
                                          {7.684, 37.565, 0.392, 0.518, 0.786, 0.148, 0.220},
                                          {7.210, 38.415, 0.377, 0.490, 0.806, 0.138, 0.216},
                                          {6.905, 36.616, 0.400, 0.470, 0.821, 0.131, 0.176},
                                          {6.676, 37.900, 0.407, 0.453, 0.833, 0.118, 0.180},
                                          {6.502, 36.796, 0.400, 0.440, 0.842, 0.111, 0.168},
                                          {6.373, 37.119, 0.419, 0.429, 0.850, 0.104, 0.176},
                                          {6.266, 37.419, 0.424, 0.420, 0.856, 0.098, 0.184},
                                          {6.192, 37.153, 0.418, 0.414, 0.861, 0.093, 0.180},
                                          {6.124, 36.127, 0.434, 0.407, 0.865, 0.088, 0.188},
                                          {6.068, 36.007, 0.433, 0.402, 0.868, 0.084, 0.204},
                                          {6.020, 36.239, 0.432, 0.398, 0.871, 0.081, 0.204},
                                          {5.985, 36.216, 0.437, 0.394, 0.873, 0.079, 0.204},
                                          {5.962, 36.209, 0.436, 0.392, 0.875, 0.077, 0.200},
                                          {5.949, 36.323, 0.436, 0.391, 0.875, 0.076, 0.204},
                                          {5.944, 36.328, 0.438, 0.390, 0.876, 0.076, 0.204}};
    for (size_t i = 0; i < sizeof run / sizeof run[0]; i++) {
        add_real(60 * i, run[i]);
        struct health_verdict v = health_judge(checks, count, 1200);
        cr_expect_eq(v.level, HEALTH_HEALTHY, "check %zu: %s", i, v.text);
    }
}

/* Momentum 0: the targets are the encoder's own. Flagged at the second check. */
Test(health, a_collapse_is_flagged_within_two_checks)
{
    static const double run[][FIGURES] = {{22.140, 53.987, -0.235, 0.863, 0.478, 0, 0.240},
                                          {3.069, 30.951, -2.046, 0.134, 0.991, 0, 0.236},
                                          {1.811, 23.540, -1.714, 0.056, 0.998, 0, 0.240}};
    static const enum health_level want[] = {HEALTH_HEALTHY, HEALTH_WATCH, HEALTH_COLLAPSING};
    for (size_t i = 0; i < 3; i++) {
        add_real(60 * i, run[i]);
        cr_expect_eq(health_judge(checks, count, 1200).level, want[i]);
    }
}
