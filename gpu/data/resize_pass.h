/*
 * The two passes of resize.h over rows of uint8: with AVX-512, with AVX2, and portable. All are
 * integer arithmetic on the same weights, so they agree to the bit.
 *
 * The vector passes multiply 16-bit numbers, two taps per instruction: a weight w of 22 bits is
 * split into w >> 11 and w & 2047, whose sums are put together at the end. That is exact: each sum
 * stays below 2^31, as the whole one does.
 */
#ifndef GPU_DATA_RESIZE_PASS_H
#define GPU_DATA_RESIZE_PASS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RESIZE_WEIGHT_BITS 22
#define RESIZE_LOW_BITS    11
#define RESIZE_LOW_MASK    ((1 << RESIZE_LOW_BITS) - 1)
#define RESIZE_GROUP       4u  /* taps that the horizontal pass takes at once */
#define RESIZE_BLOCK       4u  /* outputs that it makes at once */
#define RESIZE_IN_SLACK    12u /* bytes that it may read past the last input pixel */
#define RESIZE_OUT_SLACK   64u /* bytes that either pass may write past the end of a row */

enum resize_level { RESIZE_PORTABLE, RESIZE_AVX2, RESIZE_AVX512, RESIZE_LEVELS };

/* The weights of one axis: output i is the sum over t < count[i] of weights[i * taps + t] times
 * input first[i] + t. */
struct resize_weights {
    uint32_t outputs, taps;
    uint32_t *first, *count;
    int32_t *weights;
    /* for the vector passes: `groups` groups of RESIZE_GROUP taps from place[i] on, zero beyond the
     * count; split[(group * padded + i) * 8] begins with their upper parts, then the lower ones */
    uint32_t groups, padded; /* padded: outputs, rounded up to a whole block */
    uint32_t *place;
    int16_t *split;
};

struct resize_pass {
    /* One row: RGBX in, RGB out. */
    void (*horizontal)(const struct resize_weights *axis, const uint8_t *row, uint8_t *out);
    /* One output row from `count` rows of `size` bytes; reads up to 63 bytes past each. Writes no
     * byte past the row. */
    void (*vertical)(const uint8_t *const *rows, const int32_t *weights, uint32_t count,
                     size_t size, uint8_t *out);
};

/* NULL where this machine cannot run it. */
const struct resize_pass *resize_pass_get(enum resize_level level);

#endif
