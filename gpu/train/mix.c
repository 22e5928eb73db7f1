/* See mix.h. */
#include "gpu/train/mix.h"

#include <math.h>
#include <string.h>

/* Gamma(shape, 1) by Marsaglia and Tsang (ACM TOMS 26, 2000). */
static double gamma_draw(double shape, struct rng *rng)
{
    if (shape < 1) {
        double u = 1 - rng_uniform(rng); /* (0, 1] */
        return gamma_draw(shape + 1, rng) * pow(u, 1 / shape);
    }
    double d = shape - 1.0 / 3, c = 1 / sqrt(9 * d);
    for (;;) {
        double x = rng_normal(rng), v = 1 + c * x;
        if (v <= 0)
            continue;
        v = v * v * v;
        if (log(1 - rng_uniform(rng)) < 0.5 * x * x + d - d * v + d * log(v))
            return d * v;
    }
}

double mix_beta(double alpha, struct rng *rng)
{
    double a = gamma_draw(alpha, rng), b = gamma_draw(alpha, rng);
    return a + b > 0 ? a / (a + b) : 0.5;
}

static uint32_t clamp(int64_t value, uint32_t size)
{
    return value < 0 ? 0 : value > (int64_t)size ? size : (uint32_t)value;
}

/* A box of the area 1 - keep round a point drawn anywhere, cut at the border. */
static void draw_box(struct mix *mix, uint32_t size, struct rng *rng)
{
    int64_t side = (int64_t)((double)size * sqrt(1 - mix->keep));
    int64_t y = rng_below(rng, size), x = rng_below(rng, size);
    mix->y = clamp(y - side / 2, size);
    mix->x = clamp(x - side / 2, size);
    mix->height = clamp(y + side / 2, size) - mix->y;
    mix->width = clamp(x + side / 2, size) - mix->x;
    mix->keep = 1 - (double)mix->width * mix->height / ((double)size * size);
}

struct mix mix_draw(double mixup_alpha, double cutmix_alpha, uint32_t size, uint64_t seed,
                    uint64_t epoch, uint64_t batch)
{
    struct mix mix = {.keep = 1};
    struct rng rng;
    rng_init(&rng, seed, RNG_MIX, epoch, batch);
    if (mixup_alpha <= 0 && cutmix_alpha <= 0)
        return mix;
    mix.box = cutmix_alpha > 0 && (mixup_alpha <= 0 || rng_uniform(&rng) < 0.5);
    mix.keep = mix_beta(mix.box ? cutmix_alpha : mixup_alpha, &rng);
    if (mix.box)
        draw_box(&mix, size, &rng);
    return mix;
}

/* Both images of a pair at once, as each takes from the other's original. */
static void blend(double keep, uint8_t *a, uint8_t *b, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        double x = a[i], y = b[i];
        a[i] = (uint8_t)(keep * x + (1 - keep) * y + 0.5);
        b[i] = (uint8_t)(keep * y + (1 - keep) * x + 0.5);
    }
}

static void swap_box(const struct mix *mix, uint8_t *a, uint8_t *b, uint32_t size)
{
    for (uint32_t row = mix->y; row < mix->y + mix->height; row++)
        for (size_t i = 0; i < (size_t)mix->width * 3; i++) {
            size_t at = ((size_t)row * size + mix->x) * 3 + i;
            uint8_t kept = a[at];
            a[at] = b[at];
            b[at] = kept;
        }
}

void mix_pixels(const struct mix *mix, uint8_t *pixels, size_t count, uint32_t size)
{
    size_t bytes = (size_t)size * size * 3;
    if (mix->keep >= 1)
        return;
    for (size_t i = 0; i < count / 2; i++) {
        uint8_t *a = pixels + i * bytes, *b = pixels + (count - 1 - i) * bytes;
        if (mix->box)
            swap_box(mix, a, b, size);
        else
            blend(mix->keep, a, b, bytes);
    }
}

void mix_targets(const struct mix *mix, const int32_t *labels, size_t count, size_t classes,
                 double smoothing, float *ret_targets)
{
    double off = smoothing / (double)classes, on = 1 - smoothing;
    for (size_t i = 0; i < count; i++) {
        float *row = ret_targets + i * classes;
        for (size_t c = 0; c < classes; c++)
            row[c] = (float)off;
        double own = labels[i] == labels[count - 1 - i] ? 1 : mix->keep;
        row[labels[count - 1 - i]] = (float)(off + on * (1 - mix->keep));
        row[labels[i]] = (float)(off + on * own);
    }
}
