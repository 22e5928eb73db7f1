/*
 * Antialiased resampling, the same to the bit as Pillow's: a horizontal and a vertical pass over
 * uint8 with 22-bit fixed-point weights and uint8 in between.
 *
 * Rows are fed from top to bottom, finished output rows are written as soon as their inputs are
 * there; only as many horizontally resized rows are kept as one output row needs. A plan covers a
 * window of the output, so a centre crop costs what it shows, and names the window of the input it
 * needs. Mirroring is part of the plan.
 *
 * Weights, per axis, with scale = in / out, f = max(scale, 1), c = (x + 0.5) scale and support 1 f
 * (triangle) or 2 f (cubic, a = -0.5): inputs from int(c - support + 0.5) up to int(c + support +
 * 0.5), weight filter((j - c + 0.5) / f), normalised to sum 1, then rounded to multiples of 2^-22.
 *
 * A resizer belongs to one thread and keeps its memory from image to image.
 */
#ifndef GPU_DATA_RESIZE_H
#define GPU_DATA_RESIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "gpu/data/resize_pass.h"

enum resize_filter { RESIZE_BILINEAR, RESIZE_BICUBIC };

/* One axis: `in` pixels become `out`; of these, `count` from `first` on are wanted. */
struct resize_axis {
    uint32_t in, out, first, count;
};

struct resizer;

IJ_MUST_USE enum ij_status resize_new(struct resizer **ret_resizer, struct ij_err *reterr_err);
void resize_free(struct resizer *resizer);

/* The input pixels [*ret_first, *ret_first + *ret_count) that the wanted outputs of `axis` need. */
void resize_window(const struct resize_axis *axis, enum resize_filter filter, uint32_t *ret_first,
                   uint32_t *ret_count);

/* Begins an image. The rows to feed are the window of `y`, each holding the window of `x` as RGBX.
 * Output goes to `pixels`, (y.count, x.count, 3), mirrored left to right with `flip`. Every axis:
 * 1 <= in, out; first + count <= out. IJ_NO_MEMORY. */
IJ_MUST_USE enum ij_status resize_start(struct resizer *resizer, const struct resize_axis *x,
                                        const struct resize_axis *y, enum resize_filter filter,
                                        bool flip, uint8_t *pixels, struct ij_err *reterr_err);
/* Feeds the next `count` rows, `stride` bytes apart. RESIZE_IN_SLACK bytes past the last pixel of
 * each may be read as well (and do not matter). */
void resize_feed(struct resizer *resizer, const uint8_t *rows, size_t stride, uint32_t count);

/* For tests: this code from the next image on, instead of the fastest. False: not on this
 * machine. */
bool resize_use(struct resizer *resizer, enum resize_level level);

#endif
