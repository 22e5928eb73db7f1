/*
 * Vectors of AVX-512 that several files share. To be included below `#pragma GCC target`.
 */
#ifndef GPU_OPS_HOST_AVX512_H
#define GPU_OPS_HOST_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#include "gpu/ops/host/host_gelu.h"
#include "gpu/ops/ops.h"

#define HOST_AVX512 static inline __attribute__((always_inline))

/* 16 rows of 16 words, transposed in place: by quarters of a vector inside, then by quarters. */
HOST_AVX512 void host_avx512_transpose(__m512i v[16])
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        v[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        v[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        v[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        v[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

/* ---- Loads and stores of up to 16 values ----------------------------------------------------- */

HOST_AVX512 __mmask16 host_avx512_mask(int64_t count)
{
    return count >= 16 ? 0xffff : count <= 0 ? 0 : (__mmask16)((1u << count) - 1);
}

HOST_AVX512 __m512 host_avx512_widen(__m256i half)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

HOST_AVX512 __m512 host_avx512_load(const void *data, bool bf16, int64_t at, __mmask16 mask)
{
    if (bf16)
        return host_avx512_widen(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)data + at));
    return _mm512_maskz_loadu_ps(mask, (const float *)data + at);
}

/* Vectors that are worked on in step: the processor can only look ahead as far as a few of these
 * long chains of operations. */
#define HOST_AVX512_EACH          4
#define HOST_AVX512_FOR(i, count) _Pragma("GCC unroll 4") for (int i = 0; i < (count); i++)
#define HOST_AVX512_FOR_EACH(i)   HOST_AVX512_FOR(i, HOST_AVX512_EACH)

/* ---- Functions: the same formulas as host_simd.h --------------------------------------------- */

/* x[i] becomes e^x[i], for i < count, a constant; x is kept within [-80, 88], NaN stays. */
HOST_AVX512 void host_avx512_exps(__m512 *x, int count)
{
    const float power[] = {8.36878044e-3f, 4.16683942e-2f, 1.66665201e-1f, 4.99999934e-1f};
    __m512 n[HOST_AVX512_EACH], p[HOST_AVX512_EACH];
    HOST_AVX512_FOR(i, count) x[i] = _mm512_max_ps(_mm512_set1_ps(-80.0f), x[i]);
    HOST_AVX512_FOR(i, count) x[i] = _mm512_min_ps(_mm512_set1_ps(88.0f), x[i]);
    HOST_AVX512_FOR(i, count)
    n[i] = _mm512_roundscale_ps(_mm512_mul_ps(x[i], _mm512_set1_ps(1.44269504f)), 0);
    HOST_AVX512_FOR(i, count) x[i] = _mm512_fnmadd_ps(n[i], _mm512_set1_ps(0.693359375f), x[i]);
    HOST_AVX512_FOR(i, count) x[i] = _mm512_fmadd_ps(n[i], _mm512_set1_ps(2.12194440e-4f), x[i]);
    HOST_AVX512_FOR(i, count) p[i] = _mm512_set1_ps(1.38144667e-3f);
    HOST_AVX512_FOR(k, 4)
    HOST_AVX512_FOR(i, count) p[i] = _mm512_fmadd_ps(p[i], x[i], _mm512_set1_ps(power[k]));
    HOST_AVX512_FOR(i, count)
    p[i] =
        _mm512_fmadd_ps(_mm512_mul_ps(p[i], x[i]), x[i], _mm512_add_ps(x[i], _mm512_set1_ps(1.0f)));
    HOST_AVX512_FOR(i, count) x[i] = _mm512_scalef_ps(p[i], n[i]);
}

HOST_AVX512 __m512 host_avx512_exp(__m512 x)
{
    host_avx512_exps(&x, 1);
    return x;
}

HOST_AVX512 __m512 host_avx512_abs(__m512 x)
{
    return _mm512_castsi512_ps(
        _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff)));
}

/* The normal distribution's upper tail at |x|, given e = e^(-x^2 / 2). */
HOST_AVX512 __m512 host_avx512_normal_tail(__m512 x, __m512 e)
{
    __m512 one = _mm512_set1_ps(1.0f);
    __m512 a = _mm512_mul_ps(host_avx512_abs(x), _mm512_set1_ps(0.254558441f));
    __m512 s = _mm512_div_ps(a, _mm512_add_ps(one, a)),
           half = _mm512_mul_ps(e, _mm512_set1_ps(0.5f));
    __m512 p = _mm512_set1_ps(0.0705358312f);
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(-0.253398329f));
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(0.205442503f));
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(0.301012874f));
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(-0.288136929f));
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(-1.41388083f));
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(3.82572722f));
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(-4.58165598f));
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(3.13438606f));
    return _mm512_fnmadd_ps(_mm512_mul_ps(half, s), p, half);
}

/* `tail` for negative x, 1 - tail otherwise. */
HOST_AVX512 __m512 host_avx512_side(__m512 x, __m512 tail)
{
    __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
    return _mm512_mask_blend_ps(negative, _mm512_sub_ps(_mm512_set1_ps(1.0f), tail), tail);
}

HOST_AVX512 __m512 host_avx512_gelu(__m512 x, bool tanh_form)
{
    if (tanh_form) {
        __m512 cube = _mm512_mul_ps(_mm512_mul_ps(x, x), x);
        __m512 u = _mm512_fmadd_ps(cube, _mm512_set1_ps(0.044715f), x);
        __m512 e = host_avx512_exp(_mm512_mul_ps(u, _mm512_set1_ps(-1.59576912f)));
        return _mm512_div_ps(x, _mm512_add_ps(_mm512_set1_ps(1.0f), e));
    }
    __m512 e = host_avx512_exp(_mm512_mul_ps(_mm512_mul_ps(x, x), _mm512_set1_ps(-0.5f)));
    return _mm512_mul_ps(x, host_avx512_side(x, host_avx512_normal_tail(x, e)));
}

HOST_AVX512 __m512 host_avx512_gelu_slope(__m512 x, bool tanh_form)
{
    __m512 square = _mm512_mul_ps(x, x), one = _mm512_set1_ps(1.0f);
    if (tanh_form) {
        __m512 u = _mm512_fmadd_ps(_mm512_mul_ps(square, x), _mm512_set1_ps(0.044715f), x);
        __m512 e = host_avx512_exp(_mm512_mul_ps(u, _mm512_set1_ps(-1.59576912f)));
        __m512 s = _mm512_div_ps(one, _mm512_add_ps(one, e));
        __m512 rise = _mm512_fmadd_ps(square, _mm512_set1_ps(0.134145f), one);
        rise = _mm512_mul_ps(_mm512_mul_ps(rise, _mm512_set1_ps(1.59576912f)), x);
        return _mm512_fmadd_ps(_mm512_mul_ps(s, _mm512_sub_ps(one, s)), rise, s);
    }
    __m512 e = host_avx512_exp(_mm512_mul_ps(square, _mm512_set1_ps(-0.5f)));
    __m512 side = host_avx512_side(x, host_avx512_normal_tail(x, e));
    return _mm512_fmadd_ps(_mm512_mul_ps(x, e), _mm512_set1_ps(0.398942280f), side);
}

/* ---- GELU from tables: see host_gelu.h ------------------------------------------------------- */

HOST_AVX512 __m512 host_avx512_pick(const float *table, __m512i piece)
{
    return _mm512_permutex2var_ps(_mm512_loadu_ps(table), piece, _mm512_loadu_ps(table + 16));
}

/* a[i] becomes the curve at a[i] >= 0. */
HOST_AVX512 void host_avx512_curve(const struct host_gelu_curve *curve, __m512 a[HOST_AVX512_EACH])
{
    const __m512 pieces = _mm512_set1_ps(HOST_GELU_PIECES / (float)HOST_GELU_END);
    const __m512 last = _mm512_set1_ps(HOST_GELU_PIECES - 0.001f);
    __m512i piece[HOST_AVX512_EACH];
    __m512 t[HOST_AVX512_EACH];
    HOST_AVX512_FOR_EACH(i) a[i] = _mm512_min_ps(last, _mm512_mul_ps(a[i], pieces)); /* keeps NaN */
    HOST_AVX512_FOR_EACH(i) piece[i] = _mm512_cvttps_epi32(a[i]);
    HOST_AVX512_FOR_EACH(i) t[i] = _mm512_sub_ps(a[i], _mm512_cvtepi32_ps(piece[i]));
    HOST_AVX512_FOR_EACH(i) a[i] = host_avx512_pick(curve->c3, piece[i]);
    HOST_AVX512_FOR_EACH(i)
    a[i] = _mm512_fmadd_ps(a[i], t[i], host_avx512_pick(curve->c2, piece[i]));
    HOST_AVX512_FOR_EACH(i)
    a[i] = _mm512_fmadd_ps(a[i], t[i], host_avx512_pick(curve->c1, piece[i]));
    HOST_AVX512_FOR_EACH(i)
    a[i] = _mm512_fmadd_ps(a[i], t[i], host_avx512_pick(curve->c0, piece[i]));
}

/* x[i] becomes gelu(x[i]). */
HOST_AVX512 void host_avx512_gelu_table(const struct host_gelu *gelu, __m512 x[HOST_AVX512_EACH],
                                        bool tanh_form)
{
    __m512 tail[HOST_AVX512_EACH];
    HOST_AVX512_FOR_EACH(i) tail[i] = host_avx512_abs(x[i]);
    host_avx512_curve(&gelu->tail[tanh_form], tail);
    HOST_AVX512_FOR_EACH(i)
    x[i] =
        _mm512_fnmadd_ps(host_avx512_abs(x[i]), tail[i], _mm512_max_ps(x[i], _mm512_setzero_ps()));
}

/* x[i] becomes gelu'(x[i]). */
HOST_AVX512 void host_avx512_slope_table(const struct host_gelu *gelu, __m512 x[HOST_AVX512_EACH],
                                         bool tanh_form)
{
    __m512 side[HOST_AVX512_EACH];
    HOST_AVX512_FOR_EACH(i) side[i] = host_avx512_abs(x[i]);
    host_avx512_curve(&gelu->slope[tanh_form], side);
    HOST_AVX512_FOR_EACH(i) x[i] = host_avx512_side(x[i], side[i]);
}

#endif
