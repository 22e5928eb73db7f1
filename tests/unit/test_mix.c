/* Mixup and CutMix: moments of the Beta draws, pixels and targets by hand, repeatability. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "gpu/train/mix.h"

enum { SIZE = 8, BYTES = SIZE * SIZE * 3 };

/* Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)). */
Test(mix, beta_has_its_moments)
{
    static const double alphas[] = {0.2, 0.8, 1, 3};
    for (int a = 0; a < 4; a++) {
        struct rng rng;
        double sum = 0, square = 0;
        int count = 40000;
        rng_init(&rng, 1, RNG_TEST, 0, (uint64_t)a);
        for (int i = 0; i < count; i++) {
            double x = mix_beta(alphas[a], &rng);
            cr_assert(x >= 0 && x <= 1);
            sum += x;
            square += (x - 0.5) * (x - 0.5);
        }
        double variance = 1 / (4 * (2 * alphas[a] + 1));
        cr_assert_float_eq(sum / count, 0.5, 5 * sqrt(variance / count));
        cr_assert_float_eq(square / count, variance, 0.03 * variance);
    }
}

Test(mix, off_keeps_everything)
{
    struct mix mix = mix_draw(0, 0, SIZE, 1, 2, 3);
    uint8_t pixels[2 * BYTES], before[2 * BYTES];
    cr_assert_eq(mix.keep, 1);
    for (int i = 0; i < 2 * BYTES; i++)
        before[i] = pixels[i] = (uint8_t)(i * 7);
    mix_pixels(&mix, pixels, 2, SIZE);
    cr_assert_arr_eq(pixels, before, sizeof pixels);
}

Test(mix, blends_pixels_and_targets)
{
    const struct mix mix = {.keep = 0.75};
    static const int32_t labels[] = {0, 2, 1};
    uint8_t pixels[3 * BYTES];
    float targets[9];
    memset(pixels, 100, BYTES);
    memset(pixels + BYTES, 50, BYTES);
    memset(pixels + 2 * BYTES, 201, BYTES);
    mix_pixels(&mix, pixels, 3, SIZE);
    cr_assert_eq(pixels[5], 125, "75 + 50.25");
    cr_assert_eq(pixels[BYTES + 5], 50, "the middle one is its own partner");
    cr_assert_eq(pixels[2 * BYTES + 5], 176, "150.75 + 25");
    mix_targets(&mix, labels, 3, 3, 0.3, targets);
    static const float expected[] = {0.625f, 0.275f, 0.1f, 0.1f, 0.1f, 0.8f, 0.275f, 0.625f, 0.1f};
    for (int i = 0; i < 9; i++)
        cr_assert_float_eq(targets[i], expected[i], 1e-6, "target %d", i);
}

Test(mix, boxes_are_swapped_and_their_area_counts)
{
    int boxes = 0;
    for (uint64_t b = 0; b < 200; b++) {
        struct mix mix = mix_draw(0, 1.0, SIZE, 9, 1, b);
        uint8_t pixels[2 * BYTES];
        int other = 0;
        cr_assert(mix.box && mix.x + mix.width <= SIZE && mix.y + mix.height <= SIZE);
        memset(pixels, 10, BYTES);
        memset(pixels + BYTES, 20, BYTES);
        mix_pixels(&mix, pixels, 2, SIZE);
        for (int i = 0; i < BYTES; i++) {
            other += pixels[i] == 20;
            cr_assert_eq(pixels[i] + pixels[BYTES + i], 30);
        }
        cr_assert_float_eq(mix.keep, 1 - (double)other / BYTES, 1e-12);
        boxes += other > 0;
    }
    cr_assert_gt(boxes, 100);
}

Test(mix, a_coin_decides_and_draws_repeat)
{
    int boxes = 0;
    for (uint64_t b = 0; b < 400; b++) {
        struct mix first = mix_draw(0.8, 1.0, SIZE, 5, 3, b),
                   again = mix_draw(0.8, 1.0, SIZE, 5, 3, b);
        cr_assert_eq(first.keep, again.keep);
        boxes += first.box;
        cr_assert(!mix_draw(0.8, 0, SIZE, 5, 3, b).box);
    }
    cr_assert(boxes > 150 && boxes < 250, "%d of 400", boxes);
}
