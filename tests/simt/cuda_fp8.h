/* The conversion of CUDA's header that the kernels use: float8 with 4 exponent bits, saturating. */
#ifndef TESTS_SIMT_CUDA_FP8_H
#define TESTS_SIMT_CUDA_FP8_H

#include "tests/simt/simt.h"

typedef uint8_t __nv_fp8_storage_t;
enum __nv_saturation_t { __NV_NOSAT, __NV_SATFINITE };
enum __nv_fp8_interpretation_t { __NV_E4M3, __NV_E5M2 };

/* By the definition: the finite code whose value is nearest, an even one where two are. */
static inline float simt_e4m3_value(unsigned code)
{
    unsigned exponent = code >> 3 & 15, mantissa = code & 7;
    float size = exponent ? ldexpf(1.0f + (float)mantissa / 8, (int)exponent - 7)
                          : ldexpf((float)mantissa / 8, -6);
    return (code & 0x7f) == 0x7f ? NAN : code & 0x80 ? -size : size;
}

static inline __nv_fp8_storage_t __nv_cvt_float_to_fp8(float x, __nv_saturation_t,
                                                       __nv_fp8_interpretation_t)
{
    unsigned sign = __float_as_uint(x) >> 31 << 7, low = 0, high = 0x7e;
    float size = fabsf(x);
    if (isnan(x))
        return 0x7f;
    while (high - low > 1) { /* values grow with codes */
        unsigned middle = (low + high) / 2;
        (simt_e4m3_value(middle) <= size ? low : high) = middle;
    }
    float below = size - simt_e4m3_value(low), above = simt_e4m3_value(high) - size;
    bool up = above < below || (above == below && low % 2 == 1);
    return (__nv_fp8_storage_t)(sign | (up ? high : low));
}

#endif
