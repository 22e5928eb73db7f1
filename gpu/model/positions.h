/*
 * Fixed two-dimensional sine-cosine position tables.
 *
 * Row r * grid + c: the first half of the channels encodes the column c, the second the row r, each
 * half as [sin | cos] with frequencies 10000^(-k / (width / 4)). Computed in double.
 */
#ifndef GPU_MODEL_POSITIONS_H
#define GPU_MODEL_POSITIONS_H

#include <stdint.h>

/* ret_table: (grid * grid, width); width is a multiple of 4. */
void positions_fill(int64_t grid, int64_t width, float *ret_table);

#endif
