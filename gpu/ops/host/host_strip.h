/*
 * The gradient of a linear layer's weight in bfloat16, from AVX512_BF16 on: dweight = dy^T x.
 *
 * The longer of dy and x, in columns, goes in strips of 32. Each thread brings its strips into the
 * order of the tiles for itself, a part of the batch's rows that fits the first-level cache at a
 * time, and multiplies it with all of the shorter side, which all threads have packed into shared
 * scratch before. So what is large is read once and never written. Sums run over the rows in order.
 */
#ifndef GPU_OPS_HOST_STRIP_H
#define GPU_OPS_HOST_STRIP_H

#include "gpu/ops/host/host_backend.h"

/* Only where host_product_weight_fits. Fails for want of scratch only. */
IJ_MUST_USE enum ij_status host_strip_run(struct host_backend *host,
                                          const struct op_linear_backward_weight *args,
                                          struct ij_err *reterr_err);

/* Shared scratch for layers up to `width` in and out, in floats. */
size_t host_strip_shared_floats(int64_t width);

#endif
