/* Resampling: every code that this machine can run gives the bytes of the portable one, and none
 * looks or writes beyond what its contract names. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/data/resize.h"

#define GUARD 64u

struct job {
    struct resize_axis x, y;
    enum resize_filter filter;
    bool flip;
};

static struct resize_axis random_axis(struct rng *rng)
{
    struct resize_axis axis = {1 + rng_below(rng, 90), 1 + rng_below(rng, 60), 0, 0};
    axis.count = 1 + rng_below(rng, axis.out);
    axis.first = rng_below(rng, axis.out - axis.count + 1);
    return axis;
}

/* The input rows end where their slack ends; the guard behind the output must stay. */
static void resize_rows(const struct job *job, enum resize_level level, const uint8_t *noise,
                        uint8_t *pixels)
{
    struct resizer *resizer;
    uint32_t first, width, height;
    size_t bytes = (size_t)job->x.count * job->y.count * 3;
    cr_assert_eq(resize_new(&resizer, NULL), IJ_OK);
    cr_assert(resize_use(resizer, level));
    resize_window(&job->x, job->filter, &first, &width);
    resize_window(&job->y, job->filter, &first, &height);
    memset(pixels, 0xa5, bytes + GUARD);
    cr_assert_eq(resize_start(resizer, &job->x, &job->y, job->filter, job->flip, pixels, NULL),
                 IJ_OK);
    for (uint32_t row = 0; row < height; row++) {
        mem_auto uint8_t *one = mem_array(uint8_t, width * 4 + RESIZE_IN_SLACK);
        memcpy(one, noise + row * 131, width * 4);
        memset(one + width * 4, (int)level * 77, RESIZE_IN_SLACK);
        resize_feed(resizer, one, 0, 1);
    }
    for (size_t i = 0; i < GUARD; i++)
        cr_assert_eq(pixels[bytes + i], 0xa5, "level %d writes behind its output", (int)level);
    resize_free(resizer);
}

Test(resize, all_code_gives_the_same_bytes)
{
    struct rng rng;
    uint8_t noise[90 * 131 + 400], expected[60 * 60 * 3 + GUARD], pixels[sizeof expected];
    rng_init(&rng, 21, RNG_TEST, 0, 0);
    for (size_t i = 0; i < sizeof noise; i++) /* extremes often, where clipping matters */
        noise[i] = rng_below(&rng, 3) ? (uint8_t)rng_below(&rng, 256) : (i & 1 ? 255 : 0);
    for (int round = 0; round < 600; round++) {
        struct job job = {random_axis(&rng), random_axis(&rng),
                          rng_below(&rng, 2) ? RESIZE_BICUBIC : RESIZE_BILINEAR,
                          rng_below(&rng, 2) == 1};
        resize_rows(&job, RESIZE_PORTABLE, noise, expected);
        for (int level = RESIZE_PORTABLE + 1; level < RESIZE_LEVELS; level++) {
            if (!resize_pass_get((enum resize_level)level))
                continue;
            resize_rows(&job, (enum resize_level)level, noise, pixels);
            cr_assert_arr_eq(pixels, expected, (size_t)job.x.count * job.y.count * 3,
                             "level %d, %u -> %u from %u, %u -> %u from %u, filter %d", level,
                             job.x.in, job.x.out, job.x.first, job.y.in, job.y.out, job.y.first,
                             (int)job.filter);
        }
    }
}

Test(resize, a_constant_image_stays_constant)
{
    struct job job = {{50, 20, 0, 20}, {40, 33, 0, 33}, RESIZE_BILINEAR, false};
    uint8_t noise[40 * 131 + 400], pixels[20 * 33 * 3 + GUARD];
    for (int value = 0; value < 256; value += 51) {
        memset(noise, value, sizeof noise);
        for (int level = 0; level < RESIZE_LEVELS; level++) {
            if (!resize_pass_get((enum resize_level)level))
                continue;
            resize_rows(&job, (enum resize_level)level, noise, pixels);
            for (size_t i = 0; i < 20 * 33 * 3; i++)
                cr_assert_eq(pixels[i], value);
        }
    }
}
