/*
 * Fixed two-dimensional sine-cosine position tables.
 *
 * Row r * grid + c: the first half of the channels encodes the column c, the second the row r, each
 * half as [sin | cos] with frequencies 10000^(-k / (width / 4)). Computed in double.
 */
#ifndef GPU_MODEL_POSITIONS_H
#define GPU_MODEL_POSITIONS_H

#include <stdint.h>

#include "base/status.h"
#include "gpu/model/vit_config.h"

/* ret_table: (grid * grid, width); width is a multiple of 4. */
void positions_fill(int64_t grid, int64_t width, float *ret_table);

/*
 * The table of grid `from` stretched to grid `to`, (to * to, width): bicubic with a = -0.75, pixel
 * centres aligned, edges repeated; no smoothing where it shrinks. What torch's
 * interpolate(mode="bicubic", align_corners=False) of the (from, from) image of vectors gives, and
 * what Hugging Face's and DINO's encoders do at another resolution. In double.
 */
void positions_stretch(int64_t from, const float *table, int64_t to, int64_t width,
                       float *ret_table);

/* The encoder's table of a model: stretched where its config says so. IJ_NO_MEMORY. */
IJ_MUST_USE enum ij_status positions_encoder(const struct vit_config *config, float *ret_table,
                                             struct ij_err *reterr_err);

#endif
