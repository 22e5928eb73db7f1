/*
 * The matrix instruction m16n8k16 on bfloat16 with float32 sums, as a warp sees it.
 *
 * With g = lane / 4 and t = lane % 4, a lane holds
 *   a (16 x 16): rows g, g + 8; columns 2t, 2t + 1 and 2t + 8, 2t + 9 (two values per register),
 *   b (16 x 8):  rows 2t, 2t + 1 and 2t + 8, 2t + 9 of column g,
 *   c (16 x 8):  row g, columns 2t, 2t + 1; then the same of row g + 8.
 * The layouts are those of "Matrix Fragments for mma.m16n8k16" in NVIDIA's PTX ISA. Host builds
 * compute the same from the fragments of all lanes.
 */
#ifndef GPU_OPS_CUDA_FRAGMENT_H
#define GPU_OPS_CUDA_FRAGMENT_H

#include "gpu/ops/cuda/cuda_view.h"

struct fragment_a {
    unsigned r[4];
};
struct fragment_b {
    unsigned r[2];
};
struct fragment_c {
    float v[4];
};

static __device__ inline unsigned fragment_pack(float low, float high)
{
    return cuda_to_bf16(low) | (unsigned)cuda_to_bf16(high) << 16;
}

/* c += a b */
static __device__ inline void fragment_multiply(struct fragment_c &c, const struct fragment_a &a,
                                                const struct fragment_b &b)
{
#ifdef SIMT_HOST
    simt_mma_16816(c.v, a.r, b.r);
#else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c.v[0]), "+f"(c.v[1]), "+f"(c.v[2]), "+f"(c.v[3])
                 : "r"(a.r[0]), "r"(a.r[1]), "r"(a.r[2]), "r"(a.r[3]), "r"(b.r[0]), "r"(b.r[1]));
#endif
}

/* b from shared memory where each of its 8 columns is a row of `tile`, `stride` elements apart. */
static __device__ inline struct fragment_b fragment_b_of_rows(const uint16_t *tile, int stride,
                                                              int lane)
{
    const uint16_t *at = tile + lane / 4 * stride + lane % 4 * 2;
    struct fragment_b b = {
        {*(const unsigned *)(const void *)at, *(const unsigned *)(const void *)(at + 8)}};
    return b;
}

/* b from shared memory where each of its 16 rows is a row of `tile`; rows are 16-byte aligned. */
static __device__ inline struct fragment_b fragment_b_of_columns(const uint16_t *tile, int stride,
                                                                 int lane)
{
    struct fragment_b b;
#ifdef SIMT_HOST
    const uint16_t *at = tile + lane % 4 * 2 * stride + lane / 4;
    b.r[0] = at[0] | (unsigned)at[stride] << 16;
    b.r[1] = at[8 * stride] | (unsigned)at[9 * stride] << 16;
#else
    unsigned at = (unsigned)__cvta_generic_to_shared(tile + lane % 16 * stride);
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(b.r[0]), "=r"(b.r[1])
                 : "r"(at)
                 : "memory");
#endif
    return b;
}

/* Two neighbouring 16 x 8 results as the 16 x 16 factor of the next product. */
static __device__ inline struct fragment_a fragment_a_of_c(const struct fragment_c &left,
                                                           const struct fragment_c &right)
{
    struct fragment_a a = {
        {fragment_pack(left.v[0], left.v[1]), fragment_pack(left.v[2], left.v[3]),
         fragment_pack(right.v[0], right.v[1]), fragment_pack(right.v[2], right.v[3])}};
    return a;
}

/* Sum, and maximum, over the 4 lanes that hold one row of c. */
static __device__ inline float fragment_row_sum(float x)
{
    x += __shfl_xor_sync(CUDA_ALL, x, 1);
    return x + __shfl_xor_sync(CUDA_ALL, x, 2);
}
static __device__ inline float fragment_row_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(CUDA_ALL, x, 1));
    return fmaxf(x, __shfl_xor_sync(CUDA_ALL, x, 2));
}

#endif
