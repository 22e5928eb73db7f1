/*
 * Scalar building blocks that the compiler turns into vector code.
 *
 * A hot loop is a static function marked HOST_CLONES whose body is an `omp simd` loop over the
 * inline functions below: GCC compiles it for AVX-512, AVX2 and plain x86-64, and the loader picks
 * one per machine. Everything here keeps NaN: a NaN argument gives a NaN result.
 */
#ifndef GPU_OPS_HOST_SIMD_H
#define GPU_OPS_HOST_SIMD_H

#include <stdint.h>
#include <string.h>

/* The resolvers that pick a clone run before a sanitizer's runtime is up, so sanitized builds have
 * the plain version only; so has clang, which builds the fuzz targets and takes no such pair of
 * attributes. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) &&      \
    !defined(__clang__)
#define HOST_CLONES                                                                                \
    __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"), noinline))
#else
#define HOST_CLONES __attribute__((noinline))
#endif
#define HOST_INLINE static inline __attribute__((always_inline))

HOST_INLINE float host_simd_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

HOST_INLINE uint32_t host_simd_to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

HOST_INLINE float host_simd_from_bf16(uint16_t half)
{
    return host_simd_from_bits((uint32_t)half << 16);
}

/* Round to nearest even; a NaN becomes a quiet NaN with its sign and upper payload. */
HOST_INLINE uint16_t host_simd_to_bf16(float value)
{
    uint32_t bits = host_simd_to_bits(value);
    uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

/*
 * e^x with a relative error below 1.5e-7: x = n ln 2 + r, then 1 + r + r^2 P(r) with P our own
 * minimax fit of degree 4 on |r| <= ln 2 / 2 (3e-9 in exact arithmetic), and n put into the
 * exponent. Below e^-80 (about 2e-35, so that nothing computed from it is subnormal and slow) and
 * above e^88 the result stays what it is there.
 */
HOST_INLINE float host_simd_exp(float x)
{
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    x = x < -80.0f ? -80.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float shifted = x * 1.44269504f + shift;
    float n = shifted - shift;
    float r = x - n * 0.693359375f; /* ln 2 in two parts; n times the first is exact */
    r = r + n * 2.12194440e-4f;
    float p = 1.38144667e-3f;
    p = p * r + 8.36878044e-3f;
    p = p * r + 4.16683942e-2f;
    p = p * r + 1.66665201e-1f;
    p = p * r + 4.99999934e-1f;
    p = p * r * r + r + 1.0f;
    uint32_t scale = (host_simd_to_bits(shifted) + 127u) << 23;
    return p * host_simd_from_bits(scale);
}

/*
 * Upper tail of the normal distribution at |x|, erfc(|x| / sqrt 2) / 2, given e = e^(-x^2 / 2).
 * With a = 0.36 |x| / sqrt 2 and s = a / (1 + a) it is e / 2 * (1 - s P(s)): Abramowitz and Stegun
 * 7.1.26 with s = 1 - t, which keeps the rounding errors near zero small, and our own minimax fit
 * of degree 8 for P (7e-9 in exact arithmetic). Measured in float32: absolute error below 1e-7.
 */
HOST_INLINE float host_simd_normal_tail(float x, float e)
{
    float a = (x < 0.0f ? -x : x) * 0.254558441f;
    float s = a / (1.0f + a), half = 0.5f * e;
    float p = 0.0705358312f;
    p = p * s - 0.253398329f;
    p = p * s + 0.205442503f;
    p = p * s + 0.301012874f;
    p = p * s - 0.288136929f;
    p = p * s - 1.41388083f;
    p = p * s + 3.82572722f;
    p = p * s - 4.58165598f;
    p = p * s + 3.13438606f;
    return half - half * s * p;
}

/* x * Phi(x), the exact-erf GELU. */
HOST_INLINE float host_simd_gelu(float x)
{
    float tail = host_simd_normal_tail(x, host_simd_exp(-0.5f * x * x));
    return x * (x < 0.0f ? tail : 1.0f - tail);
}

/*
 * The tanh form of GELU, x (1 + tanh u) / 2 with u = sqrt(2/pi) (x + 0.044715 x^3), as x / (1 +
 * e^-2u); and its slope. Hendrycks and Gimpel, "Gaussian error linear units", 2016.
 */
HOST_INLINE float host_simd_gelu_tanh(float x)
{
    return x / (1.0f + host_simd_exp(-1.59576912f * (x + 0.044715f * x * x * x)));
}
HOST_INLINE float host_simd_gelu_tanh_slope(float x)
{
    float e = host_simd_exp(-1.59576912f * (x + 0.044715f * x * x * x)), s = 1.0f / (1.0f + e);
    return s + x * s * (1.0f - s) * 1.59576912f * (1.0f + 0.134145f * x * x);
}

/* d/dx of x * Phi(x) = Phi(x) + x * phi(x). */
HOST_INLINE float host_simd_gelu_slope(float x)
{
    float e = host_simd_exp(-0.5f * x * x);
    float tail = host_simd_normal_tail(x, e);
    return (x < 0.0f ? tail : 1.0f - tail) + x * e * 0.398942280f;
}

#endif
