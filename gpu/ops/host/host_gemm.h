/*
 * Matrix products by oneDNN: the only file that knows it.
 *
 * `host_gemm_f32` is one thread's product: operations call it from inside their own parallel
 * regions, each thread on its own part of the output (oneDNN runs single-threaded there). All
 * matrices are row-major with a leading dimension.
 */
#ifndef GPU_OPS_HOST_GEMM_H
#define GPU_OPS_HOST_GEMM_H

#include <stdbool.h>
#include <stdint.h>

struct host_gemm_args {
    int64_t m, n, k;
    bool transpose_a, transpose_b;
    const float *a; /* (m, k), or (k, m) if transposed */
    const float *b; /* (k, n), or (n, k) if transposed */
    float *c;       /* (m, n) */
    int64_t lda, ldb, ldc;
    float alpha, beta; /* beta 0: c is written, its old content ignored */
};

/* c = alpha op(a) op(b) + beta c in the calling thread. False if oneDNN refuses. */
bool host_gemm_f32(const struct host_gemm_args *args);

#endif
