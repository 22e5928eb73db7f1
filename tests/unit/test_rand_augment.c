/* RandAugment's operations against Pillow's (tests/golden/eval/make_augment.py), and its draws. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/data/rand_augment.h"
#include "tests/unit/eval_golden.h"

enum { SIZE = 21, BYTES = SIZE * SIZE * 3 };

static const char *const names[RAND_AUGMENT_OPS] = {
    "auto_contrast", "equalize",     "invert",  "rotate",      "posterize",
    "solarize",      "solarize_add", "color",   "contrast",    "brightness",
    "sharpness",     "shear_x",      "shear_y", "translate_x", "translate_y"};

static uint8_t pixels[BYTES], scratch[BYTES];
static const struct image_ops image = {pixels, scratch, SIZE, {124, 116, 104}};

static const uint8_t *bytes_of(const struct safetensors *file, const char *name)
{
    return golden_find(file, "", name, BYTES)->data;
}

/* Every value within 1 level, and hardly any off at all. */
static void compare(const struct safetensors *file, enum rand_augment_op op, double magnitude,
                    bool negative)
{
    char name[64];
    int off = 0;
    snprintf(name, sizeof name, "%s.%g%s", names[op], magnitude, negative ? ".negative" : "");
    memcpy(pixels, bytes_of(file, "input"), BYTES);
    rand_augment_apply(&image, op, magnitude, negative);
    const uint8_t *expected = bytes_of(file, name);
    for (int i = 0; i < BYTES; i++) {
        int distance = abs((int)pixels[i] - (int)expected[i]);
        cr_assert_leq(distance, 1, "%s: value %d is %d, expected %d", name, i, pixels[i],
                      expected[i]);
        off += distance;
    }
    cr_assert_leq(off, BYTES / 50, "%s: %d of %d values are off by one", name, off, BYTES);
}

Test(rand_augment, operations_agree_with_pillow)
{
    static const double magnitudes[] = {2.5, 9, 9.9};
    struct safetensors *file = golden_open("augment.safetensors");
    for (int op = 0; op < RAND_AUGMENT_OPS; op++)
        for (int m = 0; m < 3; m++)
            for (int negative = 0; negative < 2; negative++)
                compare(file, (enum rand_augment_op)op, magnitudes[m], negative);
    safetensors_free(file);
}

Test(rand_augment, a_plain_image_is_no_trouble)
{
    for (int op = 0; op < RAND_AUGMENT_OPS; op++)
        for (int level = 0; level < 2; level++) {
            memset(pixels, level * 255, BYTES);
            rand_augment_apply(&image, (enum rand_augment_op)op, RAND_AUGMENT_MAX, false);
        }
    memset(pixels, 77, BYTES);
    image_ops_auto_contrast(&image);
    image_ops_equalize(&image);
    for (int i = 0; i < BYTES; i++)
        cr_assert_eq(pixels[i], 77);
}

/* Two layers, each applied with probability 1/2: a quarter of the images stay as they are, but for
 * draws that change nothing. */
Test(rand_augment, draws_repeat_and_leave_a_quarter_alone)
{
    uint8_t input[BYTES], first[BYTES];
    int same = 0;
    struct safetensors *file = golden_open("augment.safetensors");
    memcpy(input, bytes_of(file, "input"), BYTES);
    safetensors_free(file);
    for (uint64_t i = 0; i < 1000; i++) {
        for (int twice = 0; twice < 2; twice++) {
            struct rng rng;
            rng_init(&rng, 6, RNG_TEST, 0, i);
            memcpy(pixels, input, BYTES);
            rand_augment(&image, 9, &rng);
            if (twice == 0)
                memcpy(first, pixels, BYTES);
        }
        cr_assert_arr_eq(first, pixels, BYTES);
        same += memcmp(pixels, input, BYTES) == 0;
    }
    cr_assert(same > 200 && same < 320, "%d of 1000 unchanged", same);
}
