/*
 * Plain float32 attention: what its two passes share.
 *
 * A block of PLAIN_WARPS warps owns PLAIN_ROWS rows of one sequence and head, PLAIN_PER_WARP per
 * warp, and walks over tiles of 32 rows of the other side, one per lane. Tiles and own rows lie in
 * shared memory as float32, tile rows one float apart from a power of two.
 */
#ifndef GPU_OPS_CUDA_ATTENTION_PLAIN_H
#define GPU_OPS_CUDA_ATTENTION_PLAIN_H

#include "gpu/ops/cuda/cuda_attention.h"

#define PLAIN_WARPS    4
#define PLAIN_PER_WARP 4
#define PLAIN_ROWS     (PLAIN_WARPS * PLAIN_PER_WARP)
#define PLAIN_TILE     CUDA_WARP
#define PLAIN_LANE_DIM (ATTENTION_DIM_MAX / CUDA_WARP) /* elements of a row that a lane sums up */

/* Shared memory of a block: two tiles, two sets of own rows, two weights per warp and lane. */
static inline size_t plain_shared_bytes(int64_t dim)
{
    return (size_t)(2 * PLAIN_TILE * (dim + 1) + 2 * PLAIN_ROWS * dim +
                    2 * PLAIN_WARPS * PLAIN_TILE) *
           sizeof(float);
}

struct plain_block {
    float *tile1, *tile2;     /* (PLAIN_TILE, dim + 1) */
    float *own1, *own2;       /* (PLAIN_ROWS, dim) */
    float *weight1, *weight2; /* of this warp: (PLAIN_TILE) */
    int lane, warp;
    int64_t sequence, head, first_row;
    struct attention_span span;
};

static __device__ inline struct plain_block plain_block(const struct attention_args &a,
                                                        unsigned char *memory)
{
    struct plain_block b;
    b.lane = (int)threadIdx.x % CUDA_WARP;
    b.warp = (int)threadIdx.x / CUDA_WARP;
    b.tile1 = (float *)(void *)memory;
    b.tile2 = b.tile1 + PLAIN_TILE * (a.dim + 1);
    b.own1 = b.tile2 + PLAIN_TILE * (a.dim + 1);
    b.own2 = b.own1 + PLAIN_ROWS * a.dim;
    b.weight1 = b.own2 + PLAIN_ROWS * a.dim + 2 * b.warp * PLAIN_TILE;
    b.weight2 = b.weight1 + PLAIN_TILE;
    b.sequence = blockIdx.x / a.heads;
    b.head = blockIdx.x % a.heads;
    b.first_row = (int64_t)blockIdx.y * PLAIN_ROWS;
    b.span = attention_span(a, b.sequence);
    return b;
}

/* Copies `rows` rows from row `from` of the sequence; rows beyond its end are zero. `part` of qkv,
 * or -1: of `out`-shaped `t`. */
static __device__ inline void plain_fill(const struct attention_args &a,
                                         const struct plain_block &b, struct tensor t, int part,
                                         int64_t from, int rows, int64_t stride, float *to)
{
    for (int64_t i = threadIdx.x; i < rows * a.dim; i += blockDim.x) {
        int64_t row = from + i / a.dim, d = i % a.dim, token = b.span.first + row;
        float v[1] = {0};
        if (row < b.span.length)
            cuda_load<1>(t,
                         (part < 0 ? attention_out_at(a, token, b.head)
                                   : attention_at(a, token, part, b.head)) +
                             d,
                         v);
        to[i / a.dim * stride + d] = v[0];
    }
}

static __device__ inline float plain_dot(const float *x, const float *y, int64_t count)
{
    float sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += x[i] * y[i];
    return sum;
}

/* sum[] of this lane's elements += weights (PLAIN_TILE) . tile. */
static __device__ inline void plain_add(const float *weight, const float *tile, int64_t dim,
                                        int lane, float (&sum)[PLAIN_LANE_DIM])
{
    for (int k = 0; k < PLAIN_LANE_DIM; k++) {
        int64_t d = lane + k * CUDA_WARP;
        if (d >= dim)
            break;
        for (int j = 0; j < PLAIN_TILE; j++)
            sum[k] += weight[j] * tile[j * (dim + 1) + d];
    }
}

/* Writes this lane's elements times `factor` from element `at` of t. */
static __device__ inline void plain_write(struct tensor t, int64_t at, int64_t dim, int lane,
                                          float factor, const float (&sum)[PLAIN_LANE_DIM])
{
    for (int k = 0; k < PLAIN_LANE_DIM; k++) {
        int64_t d = lane + k * CUDA_WARP;
        if (d >= dim)
            break;
        float v[1] = {sum[k] * factor};
        cuda_store<1>(t, at + d, v);
    }
}

#endif
