/*
 * Kernels on the host: enough of a GPU's execution model to run the CUDA sources as C++.
 *
 * A grid's blocks run one after the other, in a changing order; the threads of a block are fibres
 * that are switched only at barriers and warp exchanges, in an order that changes from one to the
 * next. `__shared__` variables are static, dynamic shared memory is filled with NaN before every
 * block and ends at a page that cannot be touched. A barrier or exchange that not all threads (of
 * the block, of the warp) reach ends the program with a message: that is a hang or worse on a GPU.
 * So does a race in shared memory (simt_race.cc) and an access that is not aligned to its size.
 * Not modelled: races between blocks beyond their order, memory spaces, speed. One thread.
 */
#ifndef TESTS_SIMT_H
#define TESTS_SIMT_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz)
    {
    }
};

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(...)
#define __align__(n) alignas(n)

extern dim3 threadIdx, blockIdx, blockDim, gridDim;

struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
static inline uint2 make_uint2(unsigned x, unsigned y)
{
    return {x, y};
}
static inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w)
{
    return {x, y, z, w};
}
static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

/* ---- Running a grid -------------------------------------------------------------------------- */

void simt_run(dim3 grid, dim3 block, size_t shared, void (*thread)(const void *), const void *user);
unsigned char *simt_shared(void);

template <typename Body>
static inline void simt_launch(dim3 grid, dim3 block, size_t shared, const Body &body)
{
    simt_run(
        grid, block, shared, [](const void *user) { (*(const Body *)user)(); }, &body);
}

/* ---- What threads do together ---------------------------------------------------------------- */

void simt_barrier(void);
#define SIMT_WORDS 8
/* All 32 lanes leave `count` words; returns the table [lane][SIMT_WORDS] of this exchange. */
const uint32_t (*simt_exchange(unsigned mask, const uint32_t *words, int count))[SIMT_WORDS];
int simt_lane(void);

static inline void __syncthreads(void)
{
    simt_barrier();
}
static inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    simt_exchange(mask, nullptr, 0);
}
template <typename T> static inline T __shfl_xor_sync(unsigned mask, T value, int lanes)
{
    uint32_t words[sizeof(T) / 4];
    memcpy(words, &value, sizeof(T));
    const uint32_t(*all)[SIMT_WORDS] = simt_exchange(mask, words, sizeof(T) / 4);
    memcpy(&value, all[simt_lane() ^ lanes], sizeof(T));
    return value;
}
template <typename T> static inline T __shfl_sync(unsigned mask, T value, int lane)
{
    uint32_t words[sizeof(T) / 4];
    memcpy(words, &value, sizeof(T));
    const uint32_t(*all)[SIMT_WORDS] = simt_exchange(mask, words, sizeof(T) / 4);
    memcpy(&value, all[lane & 31], sizeof(T));
    return value;
}

/* c (16 x 8) += a (16 x 16) b (16 x 8) over a warp; the lanes' parts as in cuda_fragment.h. */
void simt_mma_16816(float *c, const unsigned *a, const unsigned *b);

/* ---- Arithmetic ------------------------------------------------------------------------------ */

static inline float __uint_as_float(unsigned bits)
{
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
static inline unsigned __float_as_uint(float x)
{
    unsigned bits;
    memcpy(&bits, &x, 4);
    return bits;
}

#endif
