/* Philox4x32-10: the published known answers, and the streams built on it. */
#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <string.h>

#include "base/rng.h"

/* Random123's kat_vectors, rows "philox4x32 10": counter, key, expected. */
static const uint32_t known[3][10] = {
    {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
    {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e,
     0xa20bc7c6, 0x6d5451fd},
    {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb,
     0x5001e420, 0x24126ea1},
};

Test(rng, known_answers)
{
    for (int i = 0; i < 3; i++) {
        uint32_t block[4];
        rng_philox(known[i] + 4, known[i], block);
        cr_assert_arr_eq(block, known[i] + 6, sizeof block);
    }
}

/* A new stream begins with the block at draw 0, then goes on to draw 1. */
Test(rng, a_stream_is_the_blocks_in_order)
{
    struct rng rng;
    uint32_t block[4];
    rng_init(&rng, 0x299f31d0a4093822, RNG_TEST, 0, 0);
    for (uint32_t draw = 0; draw < 3; draw++) {
        uint32_t counter[4] = {draw, rng.counter[1], 0, 0};
        rng_philox(known[2] + 4, counter, block);
        for (int i = 0; i < 4; i++)
            cr_assert_eq(rng_u32(&rng), block[i]);
    }
}

Test(rng, every_part_of_the_key_matters)
{
    struct rng base, other;
    rng_init(&base, 1, RNG_CROP, 2, 3);
    uint64_t first = rng_u64(&base);
    const uint64_t changed[][4] = {{2, RNG_CROP, 2, 3},
                                   {1ULL << 32 | 1, RNG_CROP, 2, 3},
                                   {1, RNG_ORDER, 2, 3},
                                   {1, RNG_CROP, 3, 3},
                                   {1, RNG_CROP, 2, 4},
                                   {1, RNG_CROP, 1ULL << 32 | 2, 3},
                                   {1, RNG_CROP, 1ULL << 39 | 2, 3},
                                   {1, RNG_CROP, 2, 1ULL << 32 | 3},
                                   {1, RNG_CROP, 2, 1ULL << 39 | 3},
                                   {1, RNG_CROP, 3, 2}};
    for (size_t i = 0; i < sizeof changed / sizeof changed[0]; i++) {
        rng_init(&other, changed[i][0], (enum rng_purpose)changed[i][1], changed[i][2],
                 changed[i][3]);
        cr_assert_neq(rng_u64(&other), first, "case %zu", i);
    }
    rng_init(&other, 1, RNG_CROP, 2, 3);
    cr_assert_eq(rng_u64(&other), first);
}

Test(rng, epochs_and_samples_have_40_bits, .signal = SIGABRT)
{
    struct rng rng;
    rng_init(&rng, 1, RNG_CROP, (1ULL << 40) - 1, (1ULL << 40) - 1);
    rng_init(&rng, 1, RNG_CROP, 1ULL << 40, 0);
}

Test(rng, below_is_in_range_and_even)
{
    enum { N = 7, DRAWS = 70000 };
    struct rng rng;
    double counts[N] = {0}, chi2 = 0;
    rng_init(&rng, 5, RNG_TEST, 0, 0);
    for (int i = 0; i < DRAWS; i++) {
        uint32_t x = rng_below(&rng, N);
        cr_assert_lt(x, N);
        counts[x]++;
    }
    for (int i = 0; i < N; i++)
        chi2 += (counts[i] - DRAWS / N) * (counts[i] - DRAWS / N) / (DRAWS / N);
    cr_assert_lt(chi2, 22.46, "99.9 %% of 6 degrees of freedom; got %g", chi2);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(rng_below(&rng, 1), 0);
}

/* Near 2^32 a plain remainder would favour the low half two to one. */
Test(rng, below_is_unbiased_for_large_ranges)
{
    const uint32_t n = 0xC0000000u;
    struct rng rng;
    int low = 0;
    rng_init(&rng, 6, RNG_TEST, 0, 0);
    for (int i = 0; i < 30000; i++)
        low += rng_below(&rng, n) < 0x40000000u;
    cr_assert(abs(low - 10000) < 330, "%d of 30000 in the lowest third", low);
}

Test(rng, uniform_and_normal_have_their_moments)
{
    enum { DRAWS = 100000 };
    struct rng rng;
    double sum = 0, squares = 0, normal = 0, normal2 = 0, normal4 = 0;
    rng_init(&rng, 8, RNG_TEST, 0, 0);
    for (int i = 0; i < DRAWS; i++) {
        double u = rng_uniform(&rng), z = rng_normal(&rng);
        cr_assert(u >= 0 && u < 1 && isfinite(z));
        sum += u;
        squares += u * u;
        normal += z;
        normal2 += z * z;
        normal4 += z * z * z * z;
    }
    cr_assert_float_eq(sum / DRAWS, 0.5, 0.004);
    cr_assert_float_eq(squares / DRAWS, 1.0 / 3, 0.004);
    cr_assert_float_eq(normal / DRAWS, 0, 0.013);
    cr_assert_float_eq(normal2 / DRAWS, 1, 0.018);
    cr_assert_float_eq(normal4 / DRAWS, 3, 0.13);
}
