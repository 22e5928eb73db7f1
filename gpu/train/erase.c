/* See erase.h. */
#include "gpu/train/erase.h"

#include <math.h>

#define AREA_MIN   0.02
#define AREA_MAX   (1.0 / 3)
#define ASPECT_MIN 0.3
#define ATTEMPTS   10

bool erase_draw(uint32_t size, struct rng *rng, struct erase_box *ret_box)
{
    double all = (double)size * size, reach = -2 * log(ASPECT_MIN);
    for (int i = 0; i < ATTEMPTS; i++) {
        double area = all * (AREA_MIN + (AREA_MAX - AREA_MIN) * rng_uniform(rng));
        double aspect = ASPECT_MIN * exp(reach * rng_uniform(rng));
        uint32_t height = (uint32_t)lround(sqrt(area * aspect));
        uint32_t width = (uint32_t)lround(sqrt(area / aspect));
        if (height == 0 || width == 0 || height >= size || width >= size)
            continue;
        ret_box->height = height;
        ret_box->width = width;
        ret_box->y = rng_below(rng, size - height + 1);
        ret_box->x = rng_below(rng, size - width + 1);
        return true;
    }
    return false;
}

static uint8_t noise(const struct erase *erase, size_t channel, struct rng *rng)
{
    double level = 255 * (erase->mean[channel] + erase->std[channel] * rng_normal(rng));
    return (uint8_t)lround(fmin(255, fmax(0, level)));
}

void erase_pixels(const struct erase *erase, uint8_t *pixels, size_t count, uint64_t first)
{
    size_t side = erase->size;
    for (size_t i = 0; i < count && erase->probability > 0; i++) {
        struct erase_box box;
        struct rng rng;
        uint8_t *image = pixels + i * side * side * 3;
        rng_init(&rng, erase->seed, RNG_ERASE, erase->epoch, first + i);
        if (rng_uniform(&rng) >= erase->probability || !erase_draw(erase->size, &rng, &box))
            continue;
        for (size_t y = box.y; y < box.y + box.height; y++)
            for (size_t v = 0; v < (size_t)box.width * 3; v++)
                image[(y * side + box.x) * 3 + v] = noise(erase, v % 3, &rng);
    }
}
