/*
 * Rows of attention scores in AVX-512: softmax, its gradient, and results on their way out.
 *
 * Scores are float32; what enters the next product has the type of the tensors and is padded by
 * zeros. `words` counts 32 bits, as in host_pack.h.
 */
#ifndef GPU_OPS_HOST_SOFTMAX_H
#define GPU_OPS_HOST_SOFTMAX_H

#include "gpu/ops/ops.h"

struct host_softmax {
    enum tensor_type type; /* of p and dp; bfloat16 needs AVX512_BF16 */
    int64_t rows, n;       /* scores in a row */
    float scale;
    const float *scores, *dscores; /* `stride` floats between rows; dscores: backward only */
    int64_t stride;
    uint32_t *p, *ds; /* rows of `words`; ds: backward only */
    int64_t words;
};

/* p = e^(scale s - shift) with shift the row's largest scaled score; sum[row] of what p was before
 * rounding. A NaN makes the sum one. */
void host_softmax_forward(const struct host_softmax *args, float *shift, float *sum);

/* For scores whose columns are queries: p = e^(scale s - lse[column]),
 * ds = p (dp - delta[column]) scale. `lse` and `delta` are readable up to a multiple of 16. */
void host_softmax_backward(const struct host_softmax *args, const float *lse, const float *delta);

/* y[row][column] = x[row * 32 + column] * factor[row] (NULL: 1) for columns <= 32; rows of y are
 * `stride` elements apart, the first value at element `at`. */
void host_softmax_store(const float *x, int64_t rows, int64_t columns, const float *factor,
                        struct tensor y, int64_t at, int64_t stride);

/* Sum of x[at + i] y[at + i]. */
float host_softmax_dot(struct tensor x, struct tensor y, int64_t at, int64_t count);

#endif
