/*
 * Elements of a float32 or bfloat16 tensor as float32 inside a kernel.
 *
 * The type is a value, not a template parameter: all threads take the same branch, and these
 * kernels wait for memory. PACK elements are moved at once: 8 (16 bytes of bfloat16) where
 * `cuda_pack` allows it, else 1.
 */
#ifndef GPU_OPS_CUDA_VIEW_H
#define GPU_OPS_CUDA_VIEW_H

#include "gpu/ops/cuda/cuda_launch.h"
#include "gpu/ops/ops.h"

#define CUDA_PACK 8

static __device__ inline float cuda_from_bf16(uint16_t bits)
{
    return __uint_as_float((unsigned)bits << 16);
}

static __device__ inline uint16_t cuda_to_bf16(float x)
{
    return __bfloat16_as_ushort(__float2bfloat16_rn(x));
}

/* Reads v[0 .. PACK) from elements at, at + 1, ... */
template <int PACK>
static __device__ inline void cuda_load(struct tensor t, int64_t at, float (&v)[PACK])
{
    if (t.type == TENSOR_BF16) {
        const uint16_t *x = (const uint16_t *)t.data + at;
        if (PACK == 8) {
            uint4 words = *(const uint4 *)(const void *)x;
            const unsigned w[4] = {words.x, words.y, words.z, words.w};
            for (int i = 0; i < PACK; i++)
                v[i] = cuda_from_bf16((uint16_t)(w[i / 2] >> (i % 2 * 16)));
        } else {
            v[0] = cuda_from_bf16(x[0]);
        }
        return;
    }
    const float *x = (const float *)t.data + at;
    if (PACK == 8) {
        float4 a = ((const float4 *)(const void *)x)[0], b = ((const float4 *)(const void *)x)[1];
        const float w[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
        for (int i = 0; i < PACK; i++)
            v[i] = w[i];
    } else {
        v[0] = x[0];
    }
}

template <int PACK>
static __device__ inline void cuda_load(const float *x, int64_t at, float (&v)[PACK])
{
    struct tensor t = {(void *)x, TENSOR_F32};
    cuda_load<PACK>(t, at, v);
}

/* Writes v[0 .. PACK) to elements at, at + 1, ... */
template <int PACK>
static __device__ inline void cuda_store(struct tensor t, int64_t at, const float (&v)[PACK])
{
    if (t.type == TENSOR_BF16) {
        uint16_t *y = (uint16_t *)t.data + at;
        if (PACK == 8) {
            unsigned w[4];
            for (int i = 0; i < 4; i++)
                w[i] = cuda_to_bf16(v[2 * i % PACK]) | (unsigned)cuda_to_bf16(v[(2 * i + 1) % PACK])
                                                           << 16;
            *(uint4 *)(void *)y = make_uint4(w[0], w[1], w[2], w[3]);
        } else {
            y[0] = cuda_to_bf16(v[0]);
        }
        return;
    }
    float *y = (float *)t.data + at;
    if (PACK == 8) {
        ((float4 *)(void *)y)[0] = make_float4(v[0], v[1 % PACK], v[2 % PACK], v[3 % PACK]);
        ((float4 *)(void *)y)[1] = make_float4(v[4 % PACK], v[5 % PACK], v[6 % PACK], v[7 % PACK]);
    } else {
        y[0] = v[0];
    }
}

template <int PACK>
static __device__ inline void cuda_store(float *y, int64_t at, const float (&v)[PACK])
{
    struct tensor t = {y, TENSOR_F32};
    cuda_store<PACK>(t, at, v);
}

/* ---- Sums over a warp; every lane gets the result, in a fixed order -------------------------- */

static __device__ inline float cuda_warp_sum(float x)
{
    for (int offset = CUDA_WARP / 2; offset > 0; offset /= 2)
        x += __shfl_xor_sync(CUDA_ALL, x, offset);
    return x;
}

static __device__ inline double cuda_warp_sum(double x)
{
    for (int offset = CUDA_WARP / 2; offset > 0; offset /= 2)
        x += __shfl_xor_sync(CUDA_ALL, x, offset);
    return x;
}

static __device__ inline float cuda_warp_max(float x)
{
    for (int offset = CUDA_WARP / 2; offset > 0; offset /= 2)
        x = fmaxf(x, __shfl_xor_sync(CUDA_ALL, x, offset));
    return x;
}

#endif
