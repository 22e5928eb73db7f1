/*
 * See rng.h. Layout: key = seed; counter = {draw index, purpose and epoch's high bits mixed in,
 * epoch, sample}. 2^32 blocks of 4 words are available per stream.
 */
#include "base/rng.h"

#include <math.h>

#include "base/status.h"

static uint32_t mul_high(uint32_t a, uint32_t b, uint32_t *ret_low)
{
    uint64_t product = (uint64_t)a * b;
    *ret_low = (uint32_t)product;
    return (uint32_t)(product >> 32);
}

void rng_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t ret_block[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < 10; round++) {
        uint32_t low0, low1;
        uint32_t high0 = mul_high(0xD2511F53u, c0, &low0);
        uint32_t high1 = mul_high(0xCD9E8D57u, c2, &low1);
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    ret_block[0] = c0;
    ret_block[1] = c1;
    ret_block[2] = c2;
    ret_block[3] = c3;
}

void rng_init(struct rng *rng, uint64_t seed, enum rng_purpose purpose, uint64_t epoch,
              uint64_t sample)
{
    IJ_ASSERT(epoch >> 40 == 0);
    IJ_ASSERT(sample >> 40 == 0);
    uint32_t high = (uint32_t)(epoch >> 32) << 16 | (uint32_t)(sample >> 32) << 8;
    *rng = (struct rng){
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
        .counter = {0, (uint32_t)purpose | high << 8, (uint32_t)epoch, (uint32_t)sample},
        .used = 4,
    };
}

uint32_t rng_u32(struct rng *rng)
{
    if (rng->used == 4) {
        rng_philox(rng->key, rng->counter, rng->block);
        rng->counter[0]++;
        rng->used = 0;
    }
    return rng->block[rng->used++];
}

uint64_t rng_u64(struct rng *rng)
{
    uint64_t low = rng_u32(rng);
    return low | (uint64_t)rng_u32(rng) << 32;
}

double rng_uniform(struct rng *rng)
{
    return (double)(rng_u64(rng) >> 11) * 0x1p-53;
}

uint32_t rng_below(struct rng *rng, uint32_t n)
{
    IJ_ASSERT(n >= 1);
    uint32_t limit = UINT32_MAX - UINT32_MAX % n; /* a multiple of n */
    uint32_t x;
    do
        x = rng_u32(rng);
    while (x >= limit);
    return x % n;
}

double rng_normal(struct rng *rng)
{
    double u = 1.0 - rng_uniform(rng); /* (0, 1] */
    double v = rng_uniform(rng);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586476925 * v);
}
