/* Compresses RGB pixels to a JPEG in memory. A writer belongs to one thread and is used again. */
#ifndef GPU_DATA_JPEG_WRITER_H
#define GPU_DATA_JPEG_WRITER_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct jpeg_writer;

IJ_MUST_USE enum ij_status jpeg_writer_new(struct jpeg_writer **ret_writer,
                                           struct ij_err *reterr_err);
void jpeg_writer_free(struct jpeg_writer *writer);

/* (height, width, 3) pixels; 4:4:4 at `quality` 1..100. *ret_data is the writer's, valid until the
 * next call. */
IJ_MUST_USE enum ij_status jpeg_writer_compress(struct jpeg_writer *writer, const uint8_t *pixels,
                                                uint32_t width, uint32_t height, int quality,
                                                const uint8_t **ret_data, size_t *ret_size,
                                                struct ij_err *reterr_err);

#endif
