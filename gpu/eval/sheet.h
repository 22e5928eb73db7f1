/*
 * Contact sheets: a table of square tiles, filled by row and column and saved as PNG.
 *
 * A grid is (grid, grid) values over the patches of the image, row-major; it is stretched over the
 * tile without smoothing, so that a patch stays a square.
 */
#ifndef GPU_EVAL_SHEET_H
#define GPU_EVAL_SHEET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct sheet {
    uint32_t columns, rows, tile, grid; /* tile: pixels per side */
    uint32_t width, height;
    uint8_t *pixels; /* owned; (height, width, 3) */
};

/* Where a tile is. */
struct sheet_place {
    uint32_t row, column;
};

IJ_MUST_USE enum ij_status sheet_init(struct sheet *sheet, uint32_t columns, uint32_t rows,
                                      uint32_t tile, uint32_t grid, struct ij_err *reterr_err);
void sheet_done(struct sheet *sheet); /* a zeroed struct is fine */

/* An image of side x side pixels, (side, side, 3). */
void sheet_image(struct sheet *sheet, struct sheet_place at, const uint8_t *pixels, uint32_t side);
/* (grid, grid, 3) in 0..1. */
void sheet_color(struct sheet *sheet, struct sheet_place at, const float *values);
/* (grid, grid): dark blue at `low`, yellow at `high`; values that are NaN are grey. */
void sheet_heat(struct sheet *sheet, struct sheet_place at, const float *values, float low,
                float high);
/* Fades the patches whose `keep` is 0. */
void sheet_fade(struct sheet *sheet, struct sheet_place at, const uint8_t *keep);
/* A frame round one patch. */
void sheet_mark(struct sheet *sheet, struct sheet_place at, uint32_t patch);

IJ_MUST_USE enum ij_status sheet_save(const struct sheet *sheet, const char *path,
                                      struct ij_err *reterr_err);

#endif
