/*
 * Which part of an image becomes the crop: pure functions from its size to a box and two axes.
 *
 * crop_random draws as torchvision's RandomResizedCrop does: up to ten tries of area share ~
 * U(scale), ratio = exp(U(log ratio)), sides rounded half to even, place uniform over all that fit;
 * then the largest central box whose ratio is allowed.
 */
#ifndef GPU_DATA_CROP_H
#define GPU_DATA_CROP_H

#include <stdint.h>

#include "base/rng.h"
#include "gpu/data/image_reader.h"
#include "gpu/data/resize.h"

/* How to make a crop: decode `box`, resize along both axes (whose `in` is in pixels of the box). */
struct crop_plan {
    struct image_box box;
    struct resize_axis x, y;
    enum resize_filter filter;
};

/* A random box inside width x height, by torchvision's rule. */
struct image_box crop_random_box(uint32_t width, uint32_t height, const double scale[2],
                                 const double ratio[2], struct rng *rng);

/* `box` to size x size, bilinear. */
struct crop_plan crop_of_box(const struct image_box *box, uint32_t size);
/* Shorter side to round(size * 256 / 224), bicubic, then the central size x size; nothing is
 * resized where the image has that size already. */
struct crop_plan crop_center(uint32_t width, uint32_t height, uint32_t size);
/* The whole image to size x size, bicubic. */
struct crop_plan crop_stretch(uint32_t width, uint32_t height, uint32_t size);

#endif
