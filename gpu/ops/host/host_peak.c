/*
 * See host_peak.h. Twelve independent accumulators keep both multiply-add units busy through their
 * latency of four cycles; vectors are GCC's, so one body serves all widths.
 */
#include "gpu/ops/host/host_peak.h"

#include <omp.h>
#include <stdint.h>
#include <time.h>

#include "gpu/ops/host/host_isa.h"
#include "gpu/ops/host/host_tile.h"

#define HOST_PEAK_ROUNDS 5
#define HOST_PEAK_LOOPS  4000000

/* Twelve chains of y = y * a + b in vectors of `bytes`; returns the FLOP done. The empty asm
 * keeps the accumulators in registers and the loop in place. */
#define HOST_PEAK_LOOP(name, attributes, bytes, constraint)                                        \
    attributes static double name(void)                                                            \
    {                                                                                              \
        typedef float vector __attribute__((vector_size(bytes)));                                  \
        const vector a = {0.5f}, b = {0.25f};                                                      \
        vector y0 = b, y1 = b, y2 = b, y3 = b, y4 = b, y5 = b;                                     \
        vector y6 = b, y7 = b, y8 = b, y9 = b, y10 = b, y11 = b;                                   \
        for (int64_t i = 0; i < HOST_PEAK_LOOPS; i++) {                                            \
            y0 = y0 * a + b, y1 = y1 * a + b, y2 = y2 * a + b, y3 = y3 * a + b;                    \
            y4 = y4 * a + b, y5 = y5 * a + b, y6 = y6 * a + b, y7 = y7 * a + b;                    \
            y8 = y8 * a + b, y9 = y9 * a + b, y10 = y10 * a + b, y11 = y11 * a + b;                \
            __asm__ volatile(""                                                                    \
                             : "+" constraint(y0), "+" constraint(y1), "+" constraint(y2),         \
                               "+" constraint(y3), "+" constraint(y4), "+" constraint(y5),         \
                               "+" constraint(y6), "+" constraint(y7), "+" constraint(y8),         \
                               "+" constraint(y9), "+" constraint(y10), "+" constraint(y11));      \
        }                                                                                          \
        return 12.0 * 2.0 * (bytes) / sizeof(float) * HOST_PEAK_LOOPS;                             \
    }

#if defined(__x86_64__)
HOST_PEAK_LOOP(host_peak_avx512, __attribute__((target("avx512f"))), 64, "v")
HOST_PEAK_LOOP(host_peak_avx2, __attribute__((target("avx2,fma"))), 32, "x")
HOST_PEAK_LOOP(host_peak_plain, , 16, "x")

#include <immintrin.h>

#define HOST_PEAK_CHAINS 16 /* vdpbf16ps takes longer than an addition */

__attribute__((target("avx512f,avx512bf16"))) static double host_peak_bf16(void)
{
    __m512 y[HOST_PEAK_CHAINS];
    __m512bh a = (__m512bh)_mm512_set1_epi32(0x3f003f00);
    for (int i = 0; i < HOST_PEAK_CHAINS; i++)
        y[i] = _mm512_setzero_ps();
    for (int64_t n = 0; n < HOST_PEAK_LOOPS; n++)
        for (int i = 0; i < HOST_PEAK_CHAINS; i++) {
            y[i] = _mm512_dpbf16_ps(y[i], a, a);
            __asm__ volatile("" : "+v"(y[i]));
        }
    return 64.0 * HOST_PEAK_CHAINS * HOST_PEAK_LOOPS;
}

/* What the tiles hold does not matter, as long as nothing is subnormal: zeros. */
__attribute__((target("amx-tile,amx-bf16"))) static double host_peak_tiles(void)
{
    host_tile_begin(HOST_ISA_AMX);
    for (int64_t n = 0; n < HOST_PEAK_LOOPS / 16; n++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    host_tile_end(HOST_ISA_AMX);
    return 4.0 * 16 * 16 * 64 * (HOST_PEAK_LOOPS / 16);
}
#else
static double host_peak_plain(void)
{
    volatile float y = 0;
    for (int64_t i = 0; i < HOST_PEAK_LOOPS; i++)
        y = y * 0.5f + 0.25f;
    return 2.0 * HOST_PEAK_LOOPS;
}
#endif

/* NULL: the machine has no such instructions. */
static double (*host_peak_loop(enum host_peak peak, enum host_isa isa))(void)
{
#if defined(__x86_64__)
    if (peak == HOST_PEAK_BF16_TILES)
        return isa >= HOST_ISA_AMX ? host_peak_tiles : NULL;
    if (peak == HOST_PEAK_BF16)
        return isa >= HOST_ISA_AVX512_BF16 ? host_peak_bf16 : NULL;
    if (__builtin_cpu_supports("avx512f"))
        return host_peak_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return host_peak_avx2;
#endif
    (void)isa;
    return peak == HOST_PEAK_FLOAT32 ? host_peak_plain : NULL;
}

static double host_peak_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The calling thread's best rate. */
static double host_peak_thread(double (*loop)(void), int rounds)
{
    double best = 0;
    for (int round = 0; round < rounds; round++) {
        double start = host_peak_now(), flop = loop();
        double rate = flop / (host_peak_now() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}

static double host_peak_sum(enum host_peak peak, int threads, int rounds)
{
    enum host_isa isa = HOST_ISA_PLAIN;
    (void)!host_isa_detect(&isa, NULL);
    double (*loop)(void) = host_peak_loop(peak, isa), sum = 0;
    if (!loop)
        return 0;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
    sum += host_peak_thread(loop, rounds);
    return sum;
}

double host_peak_gflops(enum host_peak peak, int threads)
{
    return host_peak_sum(peak, threads, HOST_PEAK_ROUNDS);
}

double host_peak_now_gflops(enum host_peak peak, int threads)
{
    return host_peak_sum(peak, threads, 1);
}
