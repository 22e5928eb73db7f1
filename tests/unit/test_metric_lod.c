/* Summaries: what they keep, and that combining does not depend on order. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "store/metric_lod.h"

Test(metric_lod, keeps_extremes_sum_count_and_last)
{
    struct metric_lod_key key = {.finite = 0};
    metric_lod_add(&key, 10, 2.0f);
    metric_lod_add(&key, 12, -1.0f);
    metric_lod_add(&key, 11, 5.0f);
    cr_assert(key.min == -1.0f && key.max == 5.0f && key.last == -1.0f);
    cr_assert(key.sum == 6.0 && key.finite == 3 && key.last_step == 12);
}

Test(metric_lod, what_is_not_finite_is_left_out)
{
    struct metric_lod_key key = {.finite = 0}, before;
    metric_lod_add(&key, 1, NAN);
    metric_lod_add(&key, 2, INFINITY);
    cr_assert_eq(key.finite, 0);
    metric_lod_add(&key, 3, -4.0f);
    before = key;
    metric_lod_add(&key, 4, -INFINITY);
    cr_assert_eq(memcmp(&before, &key, sizeof key), 0);
    struct metric_lod_key empty = {.finite = 0};
    metric_lod_merge(&key, &empty);
    cr_assert_eq(memcmp(&before, &key, sizeof key), 0);
    metric_lod_merge(&empty, &key);
    cr_assert_eq(memcmp(&before, &empty, sizeof key), 0);
}

/* Sums of multiples of 1/8 are exact, so that any order gives the same bits. */
Test(metric_lod, any_split_and_order_gives_the_same)
{
    enum { N = 200 };
    float values[N];
    struct rng rng;
    struct metric_lod_key whole = {.finite = 0};
    rng_init(&rng, 3, RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        values[i] = rng_below(&rng, 10) ? (float)rng_below(&rng, 1000) / 8 - 60 : NAN;
        metric_lod_add(&whole, (uint64_t)i, values[i]);
    }
    for (int trial = 0; trial < 50; trial++) {
        struct metric_lod_key parts[4] = {{.finite = 0}}, merged = {.finite = 0};
        for (int i = 0; i < N; i++) {
            int at = (i * 77 + trial) % N; /* 77 and 200 share no factor */
            metric_lod_add(&parts[rng_below(&rng, 4)], (uint64_t)at, values[at]);
        }
        for (int p = 0; p < 4; p++)
            metric_lod_merge(&merged, &parts[(p + trial) % 4]);
        cr_assert_eq(memcmp(&whole, &merged, sizeof whole), 0);
    }
}
