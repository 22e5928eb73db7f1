/* See image_ops.h. */
#include "gpu/data/image_ops.h"

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#define LEVELS 256

static size_t value_count(const struct image_ops *image)
{
    return (size_t)image->size * image->size * 3;
}

static uint8_t clip(double value)
{
    return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)value;
}

/* ---- Tables ---------------------------------------------------------------------------------- */

static void look_up(const struct image_ops *image, int channel, const uint8_t table[LEVELS])
{
    for (size_t i = (size_t)channel; i < value_count(image); i += 3)
        image->pixels[i] = table[image->pixels[i]];
}

static void look_up_all(const struct image_ops *image, const uint8_t table[LEVELS])
{
    for (int c = 0; c < 3; c++)
        look_up(image, c, table);
}

static void count_levels(const struct image_ops *image, int channel, uint32_t histogram[LEVELS])
{
    memset(histogram, 0, LEVELS * sizeof *histogram);
    for (size_t i = (size_t)channel; i < value_count(image); i += 3)
        histogram[image->pixels[i]]++;
}

/* Stretches each channel so that its darkest value is 0 and its lightest 255. */
void image_ops_auto_contrast(const struct image_ops *image)
{
    for (int c = 0; c < 3; c++) {
        uint32_t histogram[LEVELS];
        uint8_t table[LEVELS];
        int low = 0, high = LEVELS - 1;
        count_levels(image, c, histogram);
        while (low < LEVELS - 1 && histogram[low] == 0)
            low++;
        while (high > 0 && histogram[high] == 0)
            high--;
        if (high <= low)
            continue;
        double scale = 255.0 / (high - low), offset = -low * scale;
        for (int i = 0; i < LEVELS; i++)
            table[i] = clip(i * scale + offset);
        look_up(image, c, table);
    }
}

/* Spreads each channel's values so that all are about equally frequent. */
void image_ops_equalize(const struct image_ops *image)
{
    for (int c = 0; c < 3; c++) {
        uint32_t histogram[LEVELS], sum = 0, last = 0;
        uint8_t table[LEVELS];
        int used = 0;
        count_levels(image, c, histogram);
        for (int i = 0; i < LEVELS; i++) {
            used += histogram[i] > 0;
            sum += histogram[i];
            last = histogram[i] > 0 ? histogram[i] : last;
        }
        uint32_t step = (sum - last) / 255, n = step / 2;
        if (used <= 1 || step == 0)
            continue;
        for (int i = 0; i < LEVELS; i++) {
            table[i] = n / step > 255 ? 255 : (uint8_t)(n / step);
            n += histogram[i];
        }
        look_up(image, c, table);
    }
}

void image_ops_invert(const struct image_ops *image)
{
    image_ops_solarize(image, 0);
}

void image_ops_posterize(const struct image_ops *image, int bits)
{
    uint8_t table[LEVELS];
    for (int i = 0; i < LEVELS; i++)
        table[i] = (uint8_t)(i & ~((1 << (8 - bits)) - 1));
    look_up_all(image, table);
}

void image_ops_solarize(const struct image_ops *image, int threshold)
{
    uint8_t table[LEVELS];
    for (int i = 0; i < LEVELS; i++)
        table[i] = (uint8_t)(i < threshold ? i : 255 - i);
    look_up_all(image, table);
}

void image_ops_solarize_add(const struct image_ops *image, int amount)
{
    uint8_t table[LEVELS];
    for (int i = 0; i < LEVELS; i++)
        table[i] = (uint8_t)(i >= 128 ? i : i + amount > 255 ? 255 : i + amount);
    look_up_all(image, table);
}

/* ---- Blends ---------------------------------------------------------------------------------- */

/* pixels = scratch + factor (pixels - scratch) */
static void blend(const struct image_ops *image, double factor)
{
    float alpha = (float)factor;
    for (size_t i = 0; i < value_count(image); i++) {
        int plain = image->scratch[i], full = image->pixels[i];
        image->pixels[i] = clip((double)((float)plain + alpha * (float)(full - plain)));
    }
}

/* Luma by ITU-R 601-2 in 16-bit fixed point. */
static uint8_t luma(const uint8_t *rgb)
{
    return (uint8_t)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >> 16);
}

void image_ops_color(const struct image_ops *image, double factor)
{
    for (size_t i = 0; i < value_count(image); i += 3)
        memset(image->scratch + i, luma(image->pixels + i), 3);
    blend(image, factor);
}

void image_ops_contrast(const struct image_ops *image, double factor)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < value_count(image); i += 3)
        sum += luma(image->pixels + i);
    double mean = (double)sum / ((double)image->size * image->size);
    memset(image->scratch, (int)(mean + 0.5), value_count(image));
    blend(image, factor);
}

void image_ops_brightness(const struct image_ops *image, double factor)
{
    memset(image->scratch, 0, value_count(image));
    blend(image, factor);
}

/* The mean of a pixel (weight 5) and its eight neighbours; the border stays as it is. */
static void smooth(const struct image_ops *image)
{
    size_t size = image->size, row = size * 3;
    memcpy(image->scratch, image->pixels, value_count(image));
    for (size_t y = 1; y + 1 < size; y++)
        for (size_t i = y * row + 3; i + 3 < (y + 1) * row; i++) {
            const uint8_t *p = image->pixels + i;
            int sum = p[-3] + 5 * p[0] + p[3];
            for (int x = -3; x <= 3; x += 3)
                sum += p[x - (long)row] + p[x + (long)row];
            image->scratch[i] = clip(sum / 13.0 + 0.5);
        }
}

void image_ops_sharpness(const struct image_ops *image, double factor)
{
    smooth(image);
    blend(image, factor);
}

/* ---- Affine maps ----------------------------------------------------------------------------- */

/* The cubic through four equally spaced values with the slopes of their outer differences. */
static double cubic(const double v[4], double d)
{
    double slope = v[2] - v[0], a = 2 * (v[0] - v[1]) + v[2] - v[3];
    return v[1] + d * (slope + d * (a + d * (v[1] - v[0] + v[3] - v[2])));
}

static long clamp(long value, long size)
{
    return value < 0 ? 0 : value >= size ? size - 1 : value;
}

/* The value of a channel of `scratch` at (x, y), which lies inside the image. */
static uint8_t sample(const struct image_ops *image, int channel, double x, double y)
{
    long size = (long)image->size;
    double left = floor(x - 0.5), top = floor(y - 0.5), rows[4];
    for (long r = 0; r < 4; r++) {
        double values[4];
        long row = (long)top - 1 + r;
        if (r > 0 && (row < 0 || row >= size)) { /* beyond the border: as the row before */
            rows[r] = rows[r - 1];
            continue;
        }
        for (long c = 0; c < 4; c++)
            values[c] =
                image->scratch[(clamp(row, size) * size + clamp((long)left - 1 + c, size)) * 3 +
                               channel];
        rows[r] = cubic(values, x - 0.5 - left);
    }
    return clip(cubic(rows, y - 0.5 - top));
}

void image_ops_affine(const struct image_ops *image, const double m[6])
{
    double size = image->size;
    memcpy(image->scratch, image->pixels, value_count(image));
    for (uint32_t row = 0; row < image->size; row++)
        for (uint32_t column = 0; column < image->size; column++) {
            double x = m[0] * (column + 0.5) + m[1] * (row + 0.5) + m[2];
            double y = m[3] * (column + 0.5) + m[4] * (row + 0.5) + m[5];
            bool inside = x >= 0 && x < size && y >= 0 && y < size;
            uint8_t *to = image->pixels + ((size_t)row * image->size + column) * 3;
            for (int c = 0; c < 3; c++)
                to[c] = inside ? sample(image, c, x, y) : image->fill[c];
        }
}

void image_ops_rotate(const struct image_ops *image, double degrees)
{
    double angle = -degrees * M_PI / 180, c = cos(angle), s = sin(angle), half = image->size / 2.0;
    const double m[6] = {c, s, half - c * half - s * half, -s, c, half + s * half - c * half};
    image_ops_affine(image, m);
}
