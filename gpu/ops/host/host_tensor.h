/*
 * Rows of a tensor as float32, whatever its type: float32 rows are used in place, bfloat16 rows
 * pass through a buffer of the caller. Also the argument checks that operations share.
 */
#ifndef GPU_OPS_HOST_TENSOR_H
#define GPU_OPS_HOST_TENSOR_H

#include "gpu/ops/host/host_simd.h"
#include "gpu/ops/ops.h"

/* `count` values as float32 from bfloat16 and back (round to nearest even). */
void host_tensor_widen(const uint16_t *x, float *y, int64_t count);
void host_tensor_narrow(const float *x, uint16_t *y, int64_t count);

/* Elements [offset, offset + count) for reading: in place, or converted into `buffer`. */
static inline const float *host_tensor_read(struct tensor t, int64_t offset, int64_t count,
                                            float *buffer)
{
    if (t.type == TENSOR_F32)
        return (const float *)t.data + offset;
    host_tensor_widen((const uint16_t *)t.data + offset, buffer, count);
    return buffer;
}

/* Where to put elements [offset, ...) for `host_tensor_write`: in place, or `buffer`. */
static inline float *host_tensor_target(struct tensor t, int64_t offset, float *buffer)
{
    return t.type == TENSOR_F32 ? (float *)t.data + offset : buffer;
}

/* Completes what was put at `host_tensor_target`. */
static inline void host_tensor_write(struct tensor t, int64_t offset, int64_t count,
                                     const float *values)
{
    if (t.type == TENSOR_BF16)
        host_tensor_narrow(values, (uint16_t *)t.data + offset, count);
}

/* IJ_INVALID unless the tensor is float32 or bfloat16, and present. */
IJ_MUST_USE enum ij_status host_tensor_check(const char *op, const char *name, struct tensor t,
                                             struct ij_err *reterr_err);
/* The same for a tensor that may be absent. */
IJ_MUST_USE enum ij_status host_tensor_check_optional(const char *op, const char *name,
                                                      struct tensor t, struct ij_err *reterr_err);
/* IJ_INVALID unless rows >= 0 and width >= 1. */
IJ_MUST_USE enum ij_status host_tensor_check_shape(const char *op, int64_t rows, int64_t width,
                                                   struct ij_err *reterr_err);

#endif
