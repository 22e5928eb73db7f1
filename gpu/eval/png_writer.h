/* RGB pictures as PNG files, by libspng. */
#ifndef GPU_EVAL_PNG_WRITER_H
#define GPU_EVAL_PNG_WRITER_H

#include <stdint.h>

#include "base/status.h"

/* `pixels`: (height, width, 3). The file is written durably. */
IJ_MUST_USE enum ij_status png_writer_save(const char *path, const uint8_t *pixels, uint32_t width,
                                           uint32_t height, struct ij_err *reterr_err);

#endif
