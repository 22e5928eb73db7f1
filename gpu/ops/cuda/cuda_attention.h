/*
 * Attention: what its kernels share. One sequence and head per block (or per row of blocks).
 *
 * Three ways: matrix instructions on bfloat16 (head sizes that are multiples of 8 up to 128) with
 * the keys and values of a sequence whole in shared memory (cuda_attention_mma.cu; up to
 * ATTENTION_MMA_LENGTH tokens) or in stages (cuda_attention_long.cu), and plain float32 arithmetic
 * over tiles of keys with an online softmax for everything else. All backward passes recompute the
 * probabilities from the log-sum-exp; one kernel owns query rows (dq), another key rows (dk, dv),
 * so nothing is added up across blocks.
 */
#ifndef GPU_OPS_CUDA_ATTENTION_H
#define GPU_OPS_CUDA_ATTENTION_H

#include "gpu/ops/cuda/cuda_backend.h"
#include "gpu/ops/cuda/cuda_view.h"

#define ATTENTION_MMA_LENGTH 256
#define ATTENTION_DIM_MAX    256

/* The arguments of both passes; absent pointers are NULL. */
struct attention_args {
    int64_t sequences, length, heads, dim, query_start;
    const int32_t *offsets;
    struct tensor qkv, out, dout, dqkv;
    float *lse;   /* written by the forward pass */
    float *delta; /* (tokens, heads) scratch of the backward pass: rowsum(out . dout) */
    float scale;
};

struct attention_span {
    int64_t first, length; /* tokens of the sequence */
};

static __device__ inline struct attention_span attention_span(const struct attention_args &a,
                                                              int64_t sequence)
{
    struct attention_span span = {sequence * a.length, a.length};
    if (a.offsets) {
        span.first = a.offsets[sequence];
        span.length = a.offsets[sequence + 1] - span.first;
    }
    return span;
}

/* First element of token's q (part 0), k (1) or v (2) in qkv and dqkv; of its row in out. */
static __device__ inline int64_t attention_at(const struct attention_args &a, int64_t token,
                                              int part, int64_t head)
{
    return ((token * 3 + part) * a.heads + head) * a.dim;
}
static __device__ inline int64_t attention_out_at(const struct attention_args &a, int64_t token,
                                                  int64_t head)
{
    return (token * a.heads + head) * a.dim;
}

/* cuda_attention_plain.cu, cuda_attention_plain_backward.cu */
IJ_MUST_USE enum ij_status cuda_attention_plain(struct cuda_backend *cuda,
                                                const struct attention_args *a,
                                                struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status cuda_attention_plain_backward(struct cuda_backend *cuda,
                                                         const struct attention_args *a,
                                                         struct ij_err *reterr_err);
/* Types, alignment and head size are such that matrix instructions can be used. */
bool cuda_attention_mma_types(const struct attention_args *a);
/* cuda_attention_mma.cu, cuda_attention_mma_backward.cu: may they be used, and the passes. */
bool cuda_attention_mma_fits(const struct cuda_backend *cuda, const struct attention_args *a);
IJ_MUST_USE enum ij_status cuda_attention_mma(struct cuda_backend *cuda,
                                              const struct attention_args *a,
                                              struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status cuda_attention_mma_backward(struct cuda_backend *cuda,
                                                       const struct attention_args *a,
                                                       struct ij_err *reterr_err);
/* cuda_attention_long.cu: the same for any length. */
bool cuda_attention_long_fits(const struct cuda_backend *cuda, const struct attention_args *a);
IJ_MUST_USE enum ij_status cuda_attention_long(struct cuda_backend *cuda,
                                               const struct attention_args *a,
                                               struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status cuda_attention_long_backward(struct cuda_backend *cuda,
                                                        const struct attention_args *a,
                                                        struct ij_err *reterr_err);

#endif
