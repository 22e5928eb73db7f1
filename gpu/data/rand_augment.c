/* See rand_augment.h. */
#include "gpu/data/rand_augment.h"

#include <math.h>

#define LAYERS        2
#define PROBABILITY   0.5
#define DEVIATION     0.5
#define DEGREES_MAX   30.0
#define SHEAR_MAX     0.3
#define TRANSLATE_MAX 0.45 /* of the image's side */
#define ENHANCE_MAX   0.9  /* distance of a factor from 1 */
#define ENHANCE_LEAST 0.1
#define POSTERIZE_MAX 4
#define ADD_MAX       110

static void move(const struct image_ops *image, double a, double b, double x, double y)
{
    const double m[6] = {1, a, x, b, 1, y};
    image_ops_affine(image, m);
}

static void enhance(const struct image_ops *image, enum rand_augment_op op, double change)
{
    double factor = fmax(ENHANCE_LEAST, 1 + change);
    if (op == RAND_AUGMENT_COLOR)
        image_ops_color(image, factor);
    else if (op == RAND_AUGMENT_CONTRAST)
        image_ops_contrast(image, factor);
    else if (op == RAND_AUGMENT_BRIGHTNESS)
        image_ops_brightness(image, factor);
    else
        image_ops_sharpness(image, factor);
}

void rand_augment_apply(const struct image_ops *image, enum rand_augment_op op, double magnitude,
                        bool negative)
{
    double share = magnitude / RAND_AUGMENT_MAX, sign = negative ? -1 : 1;
    switch (op) {
    case RAND_AUGMENT_AUTO_CONTRAST:
        image_ops_auto_contrast(image);
        break;
    case RAND_AUGMENT_EQUALIZE:
        image_ops_equalize(image);
        break;
    case RAND_AUGMENT_INVERT:
        image_ops_invert(image);
        break;
    case RAND_AUGMENT_ROTATE:
        image_ops_rotate(image, sign * share * DEGREES_MAX);
        break;
    case RAND_AUGMENT_POSTERIZE:
        image_ops_posterize(image,
                            POSTERIZE_MAX - (int)fmin(POSTERIZE_MAX - 1, share * POSTERIZE_MAX));
        break;
    case RAND_AUGMENT_SOLARIZE:
        image_ops_solarize(image, 256 - (int)(share * 256));
        break;
    case RAND_AUGMENT_SOLARIZE_ADD:
        image_ops_solarize_add(image, (int)(share * ADD_MAX));
        break;
    case RAND_AUGMENT_SHEAR_X:
        move(image, sign * share * SHEAR_MAX, 0, 0, 0);
        break;
    case RAND_AUGMENT_SHEAR_Y:
        move(image, 0, sign * share * SHEAR_MAX, 0, 0);
        break;
    case RAND_AUGMENT_TRANSLATE_X:
        move(image, 0, 0, sign * share * TRANSLATE_MAX * image->size, 0);
        break;
    case RAND_AUGMENT_TRANSLATE_Y:
        move(image, 0, 0, 0, sign * share * TRANSLATE_MAX * image->size);
        break;
    default:
        enhance(image, op, sign * share * ENHANCE_MAX);
        break;
    }
}

void rand_augment(const struct image_ops *image, double magnitude, struct rng *rng)
{
    for (int i = 0; i < LAYERS; i++) {
        enum rand_augment_op op = (enum rand_augment_op)rng_below(rng, RAND_AUGMENT_OPS);
        bool applied = rng_uniform(rng) < PROBABILITY, negative = rng_below(rng, 2) == 1;
        double drawn = magnitude + DEVIATION * rng_normal(rng);
        if (applied)
            rand_augment_apply(image, op, fmin(RAND_AUGMENT_MAX, fmax(0, drawn)), negative);
    }
}
