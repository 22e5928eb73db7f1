/*
 * Random erasing (Zhong et al., AAAI 2020) in the form that fine-tuning of masked autoencoders uses
 * (timm's "pixel" mode, one box): with a probability, a box of 2 % to a third of the image, its
 * aspect (height / width) log-uniform in 0.3..1/0.3, becomes noise that is N(0, 1) once the pixels
 * are normalised. Ten boxes are tried where one does not fit. It comes before mixup.
 *
 * Draws are keyed by (seed, RNG_ERASE, epoch, place of the image in its epoch).
 */
#ifndef GPU_TRAIN_ERASE_H
#define GPU_TRAIN_ERASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"

struct erase {
    double probability;     /* of an image to lose a box; 0: none does */
    double mean[3], std[3]; /* of the normalisation, of full scale */
    uint32_t size;          /* pixels per side */
    uint64_t seed, epoch;
};
struct erase_box {
    uint32_t x, y, width, height; /* pixels */
};

/* A box for one image; false: none fitted. */
bool erase_draw(uint32_t size, struct rng *rng, struct erase_box *ret_box);

/* In place: pixels (count, size, size, 3) of the images from `first` on. */
void erase_pixels(const struct erase *erase, uint8_t *pixels, size_t count, uint64_t first);

#endif
