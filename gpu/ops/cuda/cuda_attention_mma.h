/*
 * Attention by matrix instructions: what its kernels share.
 *
 * One block per sequence and head; MMA_WARPS warps take its tiles of 16 rows in turn. The side that
 * all tiles need (keys and values, or queries and output gradients) lies whole in shared memory,
 * the head size filled up to DIM, a multiple of 16, and the rows to a multiple of 16, with zeros.
 * Rows are MMA_SKEW elements longer than DIM, which spreads them over the banks.
 */
#ifndef GPU_OPS_CUDA_ATTENTION_MMA_H
#define GPU_OPS_CUDA_ATTENTION_MMA_H

#include "gpu/ops/cuda/cuda_attention.h"
#include "gpu/ops/cuda/cuda_fragment.h"

#define MMA_WARPS 4
#define MMA_ROWS  16
#define MMA_SKEW  8
#define MMA_LOG2E 1.44269504088896341f

static inline __host__ __device__ int mma_round(int64_t rows)
{
    return (int)((rows + MMA_ROWS - 1) / MMA_ROWS * MMA_ROWS);
}

/* Two matrices of `length` rows, and two numbers per row. */
static inline size_t mma_shared_bytes(int64_t length, int dim)
{
    return (size_t)mma_round(length) *
           (2 * (size_t)(dim + MMA_SKEW) * sizeof(uint16_t) + 2 * sizeof(float));
}

/* The head size that kernels are made for: the next of 32, 64, 80, 96, 128. */
static inline int mma_dim(int64_t dim)
{
    return dim <= 32 ? 32 : dim <= 64 ? 64 : dim <= 80 ? 80 : dim <= 96 ? 96 : 128;
}

struct mma_block {
    int lane, warp;
    int64_t head;
    struct attention_span span;
};

static __device__ inline struct mma_block mma_block(const struct attention_args &a)
{
    struct mma_block b;
    b.lane = (int)threadIdx.x % CUDA_WARP;
    b.warp = (int)threadIdx.x / CUDA_WARP;
    b.head = blockIdx.x % a.heads;
    b.span = attention_span(a, blockIdx.x / a.heads);
    return b;
}

/* Element 0 of row `row` of the sequence in q, k, v (part 0 to 2), or in out's shape (part -1). */
static __device__ inline int64_t mma_at(const struct attention_args &a, const struct mma_block &b,
                                        int part, int64_t row)
{
    return part < 0 ? attention_out_at(a, b.span.first + row, b.head)
                    : attention_at(a, b.span.first + row, part, b.head);
}

/* `count` rows from row `from` of the part into shared memory, zeros round them. */
template <int DIM>
static __device__ inline void mma_fill(const struct attention_args &a, const struct mma_block &b,
                                       struct tensor t, int part, int64_t from, int count,
                                       uint16_t *to)
{
    const int packs = DIM / 8;
    for (int i = (int)threadIdx.x; i < mma_round(count) * packs; i += (int)blockDim.x) {
        int row = i / packs, d = i % packs * 8;
        uint4 words = make_uint4(0, 0, 0, 0);
        if (row < count && d < a.dim)
            words = *(const uint4 *)(const void *)((const uint16_t *)t.data +
                                                   mma_at(a, b, part, from + row) + d);
        *(uint4 *)(void *)(to + row * (DIM + MMA_SKEW) + d) = words;
    }
}

/* Columns d, d + 1 of one row as a register; zero outside. */
static __device__ inline unsigned mma_pair(const struct attention_args &a,
                                           const struct mma_block &b, struct tensor t, int part,
                                           int64_t row, int64_t d)
{
    if (row >= b.span.length || d >= a.dim)
        return 0;
    return *(const unsigned *)(const void *)((const uint16_t *)t.data + mma_at(a, b, part, row) +
                                             d);
}

/* 16 rows from `row` of the part as factors, straight from global memory. */
template <int DIM>
static __device__ inline void mma_rows(const struct attention_args &a, const struct mma_block &b,
                                       struct tensor t, int part, int64_t row,
                                       struct fragment_a (&f)[DIM / 16])
{
    int64_t top = row + b.lane / 4, d = b.lane % 4 * 2;
#pragma unroll
    for (int k = 0; k < DIM / 16; k++) {
        f[k].r[0] = mma_pair(a, b, t, part, top, d + 16 * k);
        f[k].r[1] = mma_pair(a, b, t, part, top + 8, d + 16 * k);
        f[k].r[2] = mma_pair(a, b, t, part, top, d + 16 * k + 8);
        f[k].r[3] = mma_pair(a, b, t, part, top + 8, d + 16 * k + 8);
    }
}

/* Products of 16 rows with 8 rows of shared memory: c = own . tile^T. */
template <int DIM>
static __device__ inline struct fragment_c mma_scores(const struct fragment_a (&own)[DIM / 16],
                                                      const uint16_t *tile, int lane)
{
    struct fragment_c c = {{0, 0, 0, 0}};
#pragma unroll
    for (int k = 0; k < DIM / 16; k++)
        fragment_multiply(c, own[k], fragment_b_of_rows(tile + 16 * k, DIM + MMA_SKEW, lane));
    return c;
}

/* sum (16 x DIM) += weights (16 x 16) . 16 rows of shared memory. */
template <int DIM>
static __device__ inline void mma_add(const struct fragment_a &weights, const uint16_t *tile,
                                      int lane, struct fragment_c (&sum)[DIM / 8])
{
#pragma unroll
    for (int n = 0; n < DIM / 8; n++)
        fragment_multiply(sum[n], weights,
                          fragment_b_of_columns(tile + 8 * n, DIM + MMA_SKEW, lane));
}

/* Writes rows row .. row + 15 of the part, times a factor per row; rows below `from` are zero. */
template <int DIM>
static __device__ inline void mma_write(const struct attention_args &a, const struct mma_block &b,
                                        struct tensor t, int part, int64_t row, int64_t from,
                                        const float (&factor)[2],
                                        const struct fragment_c (&sum)[DIM / 8])
{
#pragma unroll
    for (int n = 0; n < DIM / 8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int64_t r = row + b.lane / 4 + 8 * half, d = 8 * n + b.lane % 4 * 2;
            if (r >= b.span.length || d >= a.dim)
                continue;
            unsigned pair = fragment_pack(sum[n].v[2 * half] * factor[half],
                                          sum[n].v[2 * half + 1] * factor[half]);
            *(unsigned *)(void *)((uint16_t *)t.data + mma_at(a, b, part, r) + d) =
                r < from ? 0 : pair;
        }
}

/* Calls MMA_CASE(DIM) for the head size. */
#define MMA_SWITCH(dim)                                                                            \
    switch (mma_dim(dim)) {                                                                        \
    case 32:                                                                                       \
        MMA_CASE(32);                                                                              \
    case 64:                                                                                       \
        MMA_CASE(64);                                                                              \
    case 80:                                                                                       \
        MMA_CASE(80);                                                                              \
    case 96:                                                                                       \
        MMA_CASE(96);                                                                              \
    default:                                                                                       \
        MMA_CASE(128);                                                                             \
    }

#endif
