/* See resize_pass.h. */
#include "gpu/data/resize_pass.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define ROUND_HALF (1 << (RESIZE_WEIGHT_BITS - 1))

static uint8_t to_pixel(int32_t sum)
{
    int32_t value = sum >> RESIZE_WEIGHT_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void horizontal(const struct resize_weights *axis, const uint8_t *row, uint8_t *out)
{
    for (uint32_t i = 0; i < axis->outputs; i++, out += 3) {
        const uint8_t *in = row + (size_t)axis->first[i] * 4;
        const int32_t *weights = axis->weights + (size_t)i * axis->taps;
        int32_t sum[3] = {ROUND_HALF, ROUND_HALF, ROUND_HALF};
        for (uint32_t j = 0; j < axis->count[i]; j++, in += 4)
            for (int c = 0; c < 3; c++)
                sum[c] += weights[j] * in[c];
        for (int c = 0; c < 3; c++)
            out[c] = to_pixel(sum[c]);
    }
}

static void vertical(const uint8_t *const *rows, const int32_t *weights, uint32_t count,
                     size_t size, uint8_t *out)
{
    for (size_t x = 0; x < size; x++) {
        int32_t sum = ROUND_HALF;
        for (uint32_t j = 0; j < count; j++)
            sum += weights[j] * rows[j][x];
        out[x] = to_pixel(sum);
    }
}

#if defined(__x86_64__)
#define WITH_AVX2   __attribute__((target("avx2")))
#define WITH_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

/* Two taps of a vertical pass: weights a and b as one 32-bit pair of their upper or lower parts. */
static int32_t upper_pair(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)(a >> RESIZE_LOW_BITS) & 0xffffu) |
           (int32_t)((uint32_t)(b >> RESIZE_LOW_BITS) << 16);
}
static int32_t lower_pair(int32_t a, int32_t b)
{
    return (a & RESIZE_LOW_MASK) | (b & RESIZE_LOW_MASK) << 16;
}

/* ---- AVX2 ------------------------------------------------------------------------------------ */

/* The taps of output i, pixel pairs of channels in each half: sums of the upper or of both. */
WITH_AVX2 static inline __m256i output_avx2(const struct resize_weights *axis, const uint8_t *row,
                                            uint32_t i)
{
    const __m256i pairs =
        _mm256_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1, 8, -1, 12, -1, 9,
                         -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1);
    const __m256i upper = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    const __m256i lower = _mm256_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3);
    const uint8_t *in = row + (size_t)axis->place[i] * 4;
    const int16_t *split = axis->split + (size_t)i * 8;
    __m256i high = _mm256_setzero_si256(), low = high;
    for (uint32_t g = 0; g < axis->groups; g++, in += 16, split += (size_t)axis->padded * 8) {
        __m256i pixels = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)in));
        __m256i weights =
            _mm256_castsi128_si256(_mm_load_si128((const __m128i *)(const void *)split));
        pixels = _mm256_shuffle_epi8(pixels, pairs);
        high = _mm256_add_epi32(
            high, _mm256_madd_epi16(pixels, _mm256_permutevar8x32_epi32(weights, upper)));
        low = _mm256_add_epi32(
            low, _mm256_madd_epi16(pixels, _mm256_permutevar8x32_epi32(weights, lower)));
    }
    return _mm256_add_epi32(_mm256_slli_epi32(high, RESIZE_LOW_BITS), low);
}

/* The halves of a and of b added up: (a | b). */
WITH_AVX2 static inline __m256i fold_avx2(__m256i a, __m256i b)
{
    return _mm256_add_epi32(_mm256_permute2x128_si256(a, b, 0x20),
                            _mm256_permute2x128_si256(a, b, 0x31));
}

WITH_AVX2 static inline __m256i scale_avx2(__m256i sum)
{
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(ROUND_HALF)),
                             RESIZE_WEIGHT_BITS);
}

WITH_AVX2 static void horizontal_avx2(const struct resize_weights *axis, const uint8_t *row,
                                      uint8_t *out)
{
    /* bytes of outputs 0, 2 in the lower half and 1, 3 in the upper, to RGB in order */
    const __m128i even = _mm_setr_epi8(0, 1, 2, -1, -1, -1, 4, 5, 6, -1, -1, -1, -1, -1, -1, -1);
    const __m128i odd = _mm_setr_epi8(-1, -1, -1, 0, 1, 2, -1, -1, -1, 4, 5, 6, -1, -1, -1, -1);
    for (uint32_t i = 0; i < axis->padded; i += RESIZE_BLOCK, out += RESIZE_BLOCK * 3) {
        __m256i first = fold_avx2(output_avx2(axis, row, i), output_avx2(axis, row, i + 1));
        __m256i second = fold_avx2(output_avx2(axis, row, i + 2), output_avx2(axis, row, i + 3));
        __m256i words = _mm256_packs_epi32(scale_avx2(first), scale_avx2(second));
        __m256i bytes = _mm256_packus_epi16(words, words);
        __m128i rgb = _mm_or_si128(_mm_shuffle_epi8(_mm256_castsi256_si128(bytes), even),
                                   _mm_shuffle_epi8(_mm256_extracti128_si256(bytes, 1), odd));
        _mm_storeu_si128((__m128i *)out, rgb);
    }
}

/* 16 columns from x on. */
WITH_AVX2 static inline __m128i columns_avx2(const uint8_t *const *rows, const int32_t *weights,
                                             uint32_t count, size_t x)
{
    __m256i high[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    __m256i low[2] = {high[0], high[0]};
    for (uint32_t j = 0; j < count; j += 2) {
        bool pair = j + 1 < count;
        int32_t second = pair ? weights[j + 1] : 0;
        __m128i a = _mm_loadu_si128((const __m128i *)(rows[j] + x));
        __m128i b = _mm_loadu_si128((const __m128i *)(rows[pair ? j + 1 : j] + x));
        __m256i upper = _mm256_set1_epi32(upper_pair(weights[j], second));
        __m256i lower = _mm256_set1_epi32(lower_pair(weights[j], second));
        __m256i pixels[2] = {_mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b)),
                             _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b))};
        for (int k = 0; k < 2; k++) {
            high[k] = _mm256_add_epi32(high[k], _mm256_madd_epi16(pixels[k], upper));
            low[k] = _mm256_add_epi32(low[k], _mm256_madd_epi16(pixels[k], lower));
        }
    }
    for (int k = 0; k < 2; k++)
        low[k] = scale_avx2(_mm256_add_epi32(_mm256_slli_epi32(high[k], RESIZE_LOW_BITS), low[k]));
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low[0], low[1]), 0xd8);
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

WITH_AVX2 static void vertical_avx2(const uint8_t *const *rows, const int32_t *weights,
                                    uint32_t count, size_t size, uint8_t *out)
{
    size_t x = 0;
    for (; x + 16 <= size; x += 16)
        _mm_storeu_si128((__m128i *)(out + x), columns_avx2(rows, weights, count, x));
    if (x < size) {
        uint8_t rest[16];
        _mm_storeu_si128((__m128i *)rest, columns_avx2(rows, weights, count, x));
        memcpy(out + x, rest, size - x);
    }
}

/* ---- AVX-512 --------------------------------------------------------------------------------- */

/* Outputs i and i + 1, one in each half: as output_avx2. */
WITH_AVX512 static inline __m512i outputs_avx512(const struct resize_weights *axis,
                                                 const uint8_t *row, uint32_t i)
{
    const __m512i pairs = _mm512_broadcast_i64x4(
        _mm256_setr_epi8(0, -1, 4, -1, 1, -1, 5, -1, 2, -1, 6, -1, 3, -1, 7, -1, 8, -1, 12, -1, 9,
                         -1, 13, -1, 10, -1, 14, -1, 11, -1, 15, -1));
    const __m512i upper = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 4, 4, 4, 4, 5, 5, 5, 5);
    const __m512i lower = _mm512_setr_epi32(2, 2, 2, 2, 3, 3, 3, 3, 6, 6, 6, 6, 7, 7, 7, 7);
    const uint8_t *a = row + (size_t)axis->place[i] * 4, *b = row + (size_t)axis->place[i + 1] * 4;
    const int16_t *split = axis->split + (size_t)i * 8;
    __m512i high = _mm512_setzero_si512(), low = high;
    for (uint32_t g = 0; g < axis->groups; g++, split += (size_t)axis->padded * 8) {
        __m512i pixels = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(a + g * 16)));
        pixels = _mm512_mask_broadcast_i32x4(pixels, 0xff00,
                                             _mm_loadu_si128((const __m128i *)(b + g * 16)));
        __m512i weights =
            _mm512_castsi256_si512(_mm256_load_si256((const __m256i *)(const void *)split));
        pixels = _mm512_shuffle_epi8(pixels, pairs);
        high = _mm512_add_epi32(
            high, _mm512_madd_epi16(pixels, _mm512_permutexvar_epi32(upper, weights)));
        low = _mm512_add_epi32(low,
                               _mm512_madd_epi16(pixels, _mm512_permutexvar_epi32(lower, weights)));
    }
    return _mm512_add_epi32(_mm512_slli_epi32(high, RESIZE_LOW_BITS), low);
}

WITH_AVX512 static void horizontal_avx512(const struct resize_weights *axis, const uint8_t *row,
                                          uint8_t *out)
{
    const __m128i rgb = _mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    for (uint32_t i = 0; i < axis->padded; i += RESIZE_BLOCK, out += RESIZE_BLOCK * 3) {
        __m512i a = outputs_avx512(axis, row, i), b = outputs_avx512(axis, row, i + 2);
        /* quarters 0, 2 of both against quarters 1, 3: the halves of each output */
        __m512i sum =
            _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
        sum = _mm512_srai_epi32(_mm512_add_epi32(sum, _mm512_set1_epi32(ROUND_HALF)),
                                RESIZE_WEIGHT_BITS);
        sum = _mm512_max_epi32(sum, _mm512_setzero_si512());
        _mm_storeu_si128((__m128i *)out, _mm_shuffle_epi8(_mm512_cvtusepi32_epi8(sum), rgb));
    }
}

/* 32 columns from x on. */
WITH_AVX512 static inline __m256i columns_avx512(const uint8_t *const *rows, const int32_t *weights,
                                                 uint32_t count, size_t x)
{
    __m512i high[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    __m512i low[2] = {high[0], high[0]};
    for (uint32_t j = 0; j < count; j += 2) {
        bool pair = j + 1 < count;
        int32_t second = pair ? weights[j + 1] : 0;
        __m256i a = _mm256_loadu_si256((const __m256i *)(rows[j] + x));
        __m256i b = _mm256_loadu_si256((const __m256i *)(rows[pair ? j + 1 : j] + x));
        __m512i upper = _mm512_set1_epi32(upper_pair(weights[j], second));
        __m512i lower = _mm512_set1_epi32(lower_pair(weights[j], second));
        __m512i pixels[2] = {_mm512_cvtepu8_epi16(_mm256_unpacklo_epi8(a, b)),
                             _mm512_cvtepu8_epi16(_mm256_unpackhi_epi8(a, b))};
        for (int k = 0; k < 2; k++) {
            high[k] = _mm512_add_epi32(high[k], _mm512_madd_epi16(pixels[k], upper));
            low[k] = _mm512_add_epi32(low[k], _mm512_madd_epi16(pixels[k], lower));
        }
    }
    __m128i bytes[2]; /* columns 0-7, 16-23 and 8-15, 24-31 */
    for (int k = 0; k < 2; k++) {
        __m512i sum = _mm512_add_epi32(_mm512_slli_epi32(high[k], RESIZE_LOW_BITS), low[k]);
        sum = _mm512_srai_epi32(_mm512_add_epi32(sum, _mm512_set1_epi32(ROUND_HALF)),
                                RESIZE_WEIGHT_BITS);
        bytes[k] = _mm512_cvtusepi32_epi8(_mm512_max_epi32(sum, _mm512_setzero_si512()));
    }
    return _mm256_set_m128i(_mm_unpackhi_epi64(bytes[0], bytes[1]),
                            _mm_unpacklo_epi64(bytes[0], bytes[1]));
}

WITH_AVX512 static void vertical_avx512(const uint8_t *const *rows, const int32_t *weights,
                                        uint32_t count, size_t size, uint8_t *out)
{
    size_t x = 0;
    for (; x + 32 <= size; x += 32)
        _mm256_storeu_si256((__m256i *)(out + x), columns_avx512(rows, weights, count, x));
    if (x < size)
        _mm256_mask_storeu_epi8(out + x, (1u << (size - x)) - 1,
                                columns_avx512(rows, weights, count, x));
}
#endif

const struct resize_pass *resize_pass_get(enum resize_level level)
{
    static const struct resize_pass portable = {horizontal, vertical};
#if defined(__x86_64__)
    static const struct resize_pass avx2 = {horizontal_avx2, vertical_avx2};
    static const struct resize_pass avx512 = {horizontal_avx512, vertical_avx512};
    if (level == RESIZE_AVX2)
        return __builtin_cpu_supports("avx2") ? &avx2 : NULL;
    if (level == RESIZE_AVX512)
        return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                       __builtin_cpu_supports("avx512dq")
                   ? &avx512
                   : NULL;
#endif
    return level == RESIZE_PORTABLE ? &portable : NULL;
}
