/*
 * The backend's own products of linear layers: y = finish(a b), from AVX-512 on.
 *
 * The right side, a weight, is packed into shared scratch by all threads; every thread then makes
 * its part of y, 32 rows by 32 columns at a time. Each value of y is one sum in the order of k, so
 * it does not depend on the number of threads.
 */
#ifndef GPU_OPS_HOST_PRODUCT_H
#define GPU_OPS_HOST_PRODUCT_H

#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_finish.h"

struct host_product {
    int64_t rows, n, k;
    struct tensor a, weight; /* (rows, k); (k, n), or (n, k) if `transposed` */
    bool transposed;
    struct host_finish finish; /* `gelu` is filled in */
};

/* Is there a product for this level and these types? */
bool host_product_fits(const struct host_backend *host, const struct host_product *product);

/* Only where it fits. Fails for want of scratch only. */
IJ_MUST_USE enum ij_status host_product_run(struct host_backend *host,
                                            const struct host_product *product,
                                            struct ij_err *reterr_err);

/* Scratch for layers up to `width` in and out, in floats. */
size_t host_product_shared_floats(int64_t width);
size_t host_product_local_floats(int64_t width);

#endif
