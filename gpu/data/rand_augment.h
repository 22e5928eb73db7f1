/*
 * RandAugment (Cubuk et al., CVPR workshops 2020) as fine-tuning of masked autoencoders uses it
 * ("rand-m9-mstd0.5-inc1" of timm): two of fifteen operations, each with probability 1/2, of a
 * magnitude drawn from a normal distribution about `magnitude` (deviation 0.5) and kept in 0..10;
 * larger means stronger. Affine maps fill with the mean colour.
 */
#ifndef GPU_DATA_RAND_AUGMENT_H
#define GPU_DATA_RAND_AUGMENT_H

#include <stdbool.h>

#include "base/rng.h"
#include "gpu/data/image_ops.h"

#define RAND_AUGMENT_MAX 10.0 /* of a magnitude */

enum rand_augment_op {
    RAND_AUGMENT_AUTO_CONTRAST,
    RAND_AUGMENT_EQUALIZE,
    RAND_AUGMENT_INVERT,
    RAND_AUGMENT_ROTATE,
    RAND_AUGMENT_POSTERIZE,
    RAND_AUGMENT_SOLARIZE,
    RAND_AUGMENT_SOLARIZE_ADD,
    RAND_AUGMENT_COLOR,
    RAND_AUGMENT_CONTRAST,
    RAND_AUGMENT_BRIGHTNESS,
    RAND_AUGMENT_SHARPNESS,
    RAND_AUGMENT_SHEAR_X,
    RAND_AUGMENT_SHEAR_Y,
    RAND_AUGMENT_TRANSLATE_X,
    RAND_AUGMENT_TRANSLATE_Y,
    RAND_AUGMENT_OPS
};

/* One operation of a magnitude 0..10; `negative` turns those with a direction round. */
void rand_augment_apply(const struct image_ops *image, enum rand_augment_op op, double magnitude,
                        bool negative);
/* Draws and applies both. */
void rand_augment(const struct image_ops *image, double magnitude, struct rng *rng);

#endif
