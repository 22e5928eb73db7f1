/* Random erasing: how often, how large, where, with what noise; repeatability. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "gpu/train/erase.h"

enum { SIZE = 24, BYTES = SIZE * SIZE * 3, IMAGES = 600, LEVEL = 7 };

static const struct erase quarter = {.probability = 0.25,
                                     .mean = {0.5, 0.4, 0.6},
                                     .std = {0.1, 0.05, 0.1},
                                     .size = SIZE,
                                     .seed = 3,
                                     .epoch = 2};
static uint8_t pixels[IMAGES * BYTES];

static int changed(const uint8_t *image)
{
    int count = 0;
    for (int i = 0; i < BYTES; i++)
        count += image[i] != LEVEL;
    return count;
}

Test(erase, a_quarter_of_the_images_loses_a_box)
{
    int hit = 0;
    double share = 0;
    memset(pixels, LEVEL, sizeof pixels);
    erase_pixels(&quarter, pixels, IMAGES, 0);
    for (int i = 0; i < IMAGES; i++) {
        int lost = changed(pixels + i * BYTES);
        hit += lost > 0;
        share += (double)lost / BYTES;
        cr_assert_leq(lost, BYTES / 2);
    }
    /* Binomial(600, 1/4): deviation 10.6. Areas are uniform in 0.02..1/3, of deviation 0.09; boxes
     * that do not fit are the large and narrow ones. */
    cr_assert(hit > 110 && hit < 190, "%d of 600", hit);
    cr_assert(share / hit > 0.12 && share / hit < 0.2, "mean area %.3f", share / hit);
}

Test(erase, boxes_fit_and_reach_every_border)
{
    struct rng rng;
    struct erase_box box;
    bool top = false, left = false, bottom = false, right = false, tall = false, wide = false;
    rng_init(&rng, 1, RNG_TEST, 0, 0);
    for (int i = 0; i < 2000; i++) {
        cr_assert(erase_draw(SIZE, &rng, &box));
        cr_assert(box.width >= 1 && box.height >= 1 && box.width < SIZE && box.height < SIZE);
        cr_assert(box.x + box.width <= SIZE && box.y + box.height <= SIZE);
        top |= box.y == 0, bottom |= box.y + box.height == SIZE;
        left |= box.x == 0, right |= box.x + box.width == SIZE;
        tall |= box.height > 2 * box.width, wide |= box.width > 2 * box.height;
    }
    cr_assert(top && left && bottom && right && tall && wide);
    cr_assert_not(erase_draw(1, &rng, &box), "one pixel has no smaller box");
}

Test(erase, noise_is_normal_after_normalisation)
{
    struct erase always = quarter;
    double sum[3] = {0}, square[3] = {0}, n = 0;
    always.probability = 1;
    memset(pixels, 0, sizeof pixels); /* 0 is 5 deviations from the mean */
    erase_pixels(&always, pixels, IMAGES, 0);
    for (size_t i = 0; i < sizeof pixels; i += 3) {
        if (pixels[i] == 0)
            continue;
        n++;
        for (size_t c = 0; c < 3; c++) {
            double value = (pixels[i + c] / 255.0 - always.mean[c]) / always.std[c];
            sum[c] += value;
            square[c] += value * value;
        }
    }
    for (int c = 0; c < 3; c++) {
        cr_assert_float_eq(sum[c] / n, 0, 0.03);
        cr_assert_float_eq(square[c] / n, 1, 0.03);
    }
}

Test(erase, zero_erases_nothing_and_draws_belong_to_the_image)
{
    static uint8_t again[2 * BYTES];
    struct erase never = quarter;
    never.probability = 0;
    memset(pixels, LEVEL, sizeof pixels);
    erase_pixels(&never, pixels, IMAGES, 0);
    cr_assert_eq(changed(pixels), 0);
    erase_pixels(&quarter, pixels, IMAGES, 0);
    for (int i = 0; i < IMAGES; i += 2) {
        memset(again, LEVEL, sizeof again);
        erase_pixels(&quarter, again, 2, (uint64_t)i);
        cr_assert_arr_eq(again, pixels + i * BYTES, sizeof again);
    }
}
