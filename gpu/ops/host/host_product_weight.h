/*
 * The backend's own gradient of a linear layer's weight and bias, from AVX-512 on.
 *
 * Rows of the batch go in blocks. All threads pack a block's dy (transposed) and x into shared
 * scratch; every thread then adds its part of the products to dweight. Sums run over the rows in
 * order, in blocks whose length depends on the layer alone.
 */
#ifndef GPU_OPS_HOST_PRODUCT_WEIGHT_H
#define GPU_OPS_HOST_PRODUCT_WEIGHT_H

#include "gpu/ops/host/host_backend.h"

/* Is there a product for this level and these types? */
bool host_product_weight_fits(const struct host_backend *host,
                              const struct op_linear_backward_weight *args);

/* Only where it fits. Fails for want of scratch only. */
IJ_MUST_USE enum ij_status host_product_weight_run(struct host_backend *host,
                                                   const struct op_linear_backward_weight *args,
                                                   struct ij_err *reterr_err);

/* Shared scratch for layers up to `width` in and out, in floats. */
size_t host_product_weight_floats(int64_t width);

#endif
