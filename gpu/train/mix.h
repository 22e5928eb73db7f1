/*
 * Mixup (Zhang et al., ICLR 2018) and CutMix (Yun et al., ICCV 2019) of a batch, and the targets
 * that go with them.
 *
 * Image i is mixed with image count - 1 - i, all of a batch in the same way: a share `keep` drawn
 * from Beta(alpha, alpha) weighs the pixels (mixup), or a box of the area 1 - keep comes from the
 * other image (cutmix; keep is then what the box, cut at the border, leaves). Where both are on, a
 * coin decides. Pixels are rounded to whole levels. All draws are keyed by (seed, RNG_MIX, epoch,
 * batch).
 */
#ifndef GPU_TRAIN_MIX_H
#define GPU_TRAIN_MIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"

struct mix {
    double keep; /* share of the image itself; 1: nothing is mixed */
    bool box;    /* cutmix: the box below, else mixup */
    uint32_t x, y, width, height;
};

/* What happens to one batch of size x size images; an alpha of 0 switches its kind off. */
struct mix mix_draw(double mixup_alpha, double cutmix_alpha, uint32_t size, uint64_t seed,
                    uint64_t epoch, uint64_t batch);

/* In place: pixels (count, size, size, 3). */
void mix_pixels(const struct mix *mix, uint8_t *pixels, size_t count, uint32_t size);

/* ret_targets (count, classes), rows that sum to 1: 1 - smoothing for the label and smoothing
 * spread over all classes, mixed as the pixels are. Labels 0..classes-1. */
void mix_targets(const struct mix *mix, const int32_t *labels, size_t count, size_t classes,
                 double smoothing, float *ret_targets);

/* A draw from Beta(alpha, alpha). */
double mix_beta(double alpha, struct rng *rng);

#endif
