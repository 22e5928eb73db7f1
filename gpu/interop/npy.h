/*
 * NumPy .npy files, version 1.0, written front to back: header, then rows.
 *
 * Format: numpy/lib/format.py. Little-endian, row-major. The header is padded so that the data
 * begins at a multiple of 64 bytes.
 */
#ifndef GPU_INTEROP_NPY_H
#define GPU_INTEROP_NPY_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define NPY_HEADER_BYTES 128
#define NPY_DIMS_MAX     4

enum npy_type { NPY_F32, NPY_I32, NPY_U8 };

/* Writes the header of an array of this shape at the descriptor's place. */
IJ_MUST_USE enum ij_status npy_write_header(int fd, const char *path, enum npy_type type, int dims,
                                            const uint64_t *shape, struct ij_err *reterr_err);

#endif
