/*
 * The operations of RandAugment on one square RGB image, as Pillow computes them (tests compare
 * with it): colour tables, blends with a plainer image, affine maps by its bicubic filter.
 *
 * Pixels are uint8 (size, size, 3); every operation works in place and uses `scratch` of the same
 * size.
 */
#ifndef GPU_DATA_IMAGE_OPS_H
#define GPU_DATA_IMAGE_OPS_H

#include <stdint.h>

struct image_ops {
    uint8_t *pixels, *scratch; /* borrowed */
    uint32_t size;
    uint8_t fill[3]; /* where an affine map looks beyond the image */
};

void image_ops_auto_contrast(const struct image_ops *image);
void image_ops_equalize(const struct image_ops *image);
void image_ops_invert(const struct image_ops *image);
void image_ops_posterize(const struct image_ops *image, int bits);      /* 1..8 that stay */
void image_ops_solarize(const struct image_ops *image, int threshold);  /* from it on inverted */
void image_ops_solarize_add(const struct image_ops *image, int amount); /* to values below 128 */

/* factor 1: unchanged, 0: grey; the image's mean grey; black; smoothed. */
void image_ops_color(const struct image_ops *image, double factor);
void image_ops_contrast(const struct image_ops *image, double factor);
void image_ops_brightness(const struct image_ops *image, double factor);
void image_ops_sharpness(const struct image_ops *image, double factor);

/* Pixel (x, y) of the result is what lies at (m[0] x + m[1] y + m[2], m[3] x + m[4] y + m[5]). */
void image_ops_affine(const struct image_ops *image, const double m[6]);
/* Counter-clockwise about the centre. */
void image_ops_rotate(const struct image_ops *image, double degrees);

#endif
