/* See host_pack.h. */
#include "gpu/ops/host/host_pack.h"

#include <string.h>

#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl")
#include "gpu/ops/host/host_avx512.h"

/* Columns j .. j+15 of rows 0 .. 15 of x, as words, transposed into y (16 by 16). Rows from `rows`
 * on, and halves of words that `halves` leaves out, are zero. */
static void host_pack_block(const char *x, int64_t row_bytes, int64_t rows, __mmask32 halves,
                            uint32_t *y)
{
    __m512i v[16];
    for (int64_t i = 0; i < 16; i++)
        v[i] =
            i < rows ? _mm512_maskz_loadu_epi16(halves, x + i * row_bytes) : _mm512_setzero_si512();
    host_avx512_transpose(v);
    for (int64_t i = 0; i < 16; i++)
        _mm512_store_si512(y + i * 16, v[i]);
}

/* b is the transpose of m: columns of b are rows of m. */
static void host_pack_transposed(const struct host_matrix *m, int64_t panel, uint32_t *y)
{
    int64_t size = (int64_t)tensor_type_size(m->type), halves = m->columns * size / 2;
    int64_t first = panel * HOST_PACK_COLUMNS, words = host_pack_words(m->type, m->columns);
    const char *x = (const char *)m->data + first * m->stride * size;
    for (int64_t word = 0; word < words; word += HOST_PACK_STEP) {
        int64_t left = halves - 2 * word;
        __mmask32 mask = left >= 32 ? ~0u : left <= 0 ? 0 : (1u << left) - 1;
        host_pack_block(x + word * 4, m->stride * size, m->rows - first, mask,
                        y + word * HOST_PACK_COLUMNS);
    }
}

/* The word of two bfloat16 rows, column by column. */
static inline __m512i host_pack_pair(const uint16_t *even, const uint16_t *odd, __mmask16 mask)
{
    __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, even));
    if (!odd)
        return low;
    __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, odd));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

/* Word `word` of k of columns first .. first+15 of m. */
HOST_AVX512 __m512i host_pack_word(const struct host_matrix *m, int64_t word, int64_t first,
                                   __mmask16 mask)
{
    if (m->type == TENSOR_F32) {
        const float *row = (const float *)m->data + word * m->stride + first;
        return word < m->rows ? _mm512_maskz_loadu_epi32(mask, row) : _mm512_setzero_si512();
    }
    const uint16_t *even = (const uint16_t *)m->data + 2 * word * m->stride + first;
    return 2 * word < m->rows
               ? host_pack_pair(even, 2 * word + 1 < m->rows ? even + m->stride : NULL, mask)
               : _mm512_setzero_si512();
}

/* b is m: one word of k is one row of m, or two. Row by row, as memory likes it. */
static void host_pack_plain(const struct host_matrix *m, int64_t begin, int64_t end, uint32_t *y)
{
    int64_t words = host_pack_words(m->type, m->rows), size = words * HOST_PACK_COLUMNS;
    for (int64_t word = 0; word < words; word++)
        for (int64_t panel = begin; panel < end; panel++) {
            int64_t first = panel * HOST_PACK_COLUMNS;
            __mmask16 mask = host_avx512_mask(m->columns - first);
            _mm512_store_si512(y + panel * size + word * HOST_PACK_COLUMNS,
                               host_pack_word(m, word, first, mask));
        }
}

void host_pack_panels_of(const struct host_matrix *m, bool transposed, int64_t begin, int64_t end,
                         uint32_t *y)
{
    if (!transposed) {
        host_pack_plain(m, begin, end, y);
        return;
    }
    int64_t size = host_pack_words(m->type, m->columns) * HOST_PACK_COLUMNS;
    for (int64_t panel = begin; panel < end; panel++)
        host_pack_transposed(m, panel, y + panel * size);
}

/* 16 columns of m as rows of `stride` words: their words `word` to `word` + 15. */
static void host_pack_turn(const struct host_matrix *m, int64_t word, int64_t first, int64_t stride,
                           uint32_t *y)
{
    __mmask16 mask = host_avx512_mask(m->columns - first);
    __m512i v[16];
    for (int64_t i = 0; i < 16; i++)
        v[i] = host_pack_word(m, word + i, first, mask);
    host_avx512_transpose(v);
    for (int64_t i = 0; i < 16; i++)
        _mm512_storeu_si512(y + (first + i) * stride + word, v[i]);
}

/* The same of 32 columns of bfloat16 and 32 rows that are all there. Two rows become words within
 * quarters of a vector: columns 0 to 3, 8 to 11 and so on, and those between. */
static void host_pack_turn_whole(const struct host_matrix *m, int64_t word, int64_t first,
                                 int64_t stride, uint32_t *y)
{
    const uint16_t *x = (const uint16_t *)m->data + 2 * word * m->stride + first;
    __m512i low[16], high[16];
    for (int64_t i = 0; i < 16; i++, x += 2 * m->stride) {
        __m512i even = _mm512_loadu_si512(x), odd = _mm512_loadu_si512(x + m->stride);
        low[i] = _mm512_unpacklo_epi16(even, odd);
        high[i] = _mm512_unpackhi_epi16(even, odd);
    }
    host_avx512_transpose(low);
    host_avx512_transpose(high);
    for (int64_t i = 0; i < 16; i++) {
        uint32_t *row = y + (first + i / 4 * 8 + i % 4) * stride + word;
        _mm512_storeu_si512(row, low[i]);
        _mm512_storeu_si512(row + 4 * stride, high[i]);
    }
}

void host_pack_transposed_rows(const struct host_matrix *m, int64_t begin, int64_t end,
                               int64_t stride, uint32_t *y)
{
    int64_t words = host_pack_words(m->type, m->rows), half = m->type == TENSOR_BF16;
    for (int64_t word = 0; word < words; word += HOST_PACK_STEP)
        for (int64_t group = begin; group < end; group++) {
            int64_t first = group * HOST_PACK_COLUMNS;
            bool whole = half && group + 1 < end && first + 32 <= m->columns;
            if (!whole || 2 * (word + HOST_PACK_STEP) > m->rows) {
                host_pack_turn(m, word, first, stride, y);
                continue;
            }
            host_pack_turn_whole(m, word, first, stride, y);
            group++;
        }
}

void host_pack_sets(const struct host_matrix *m, int64_t width, int64_t begin, int64_t end,
                    int64_t size, uint32_t *y)
{
    __mmask16 low = host_avx512_mask(width), high = host_avx512_mask(width - 16);
    int64_t words = host_pack_words(m->type, m->rows);
    for (int64_t word = 0; word < words; word++)
        for (int64_t set = begin; set < end; set++) {
            int64_t first = set * width;
            uint32_t *to = y + set * size + word * width;
            __mmask16 left = host_avx512_mask(m->columns - first);
            __mmask16 right = host_avx512_mask(m->columns - first - 16);
            _mm512_mask_storeu_epi32(to, low, host_pack_word(m, word, first, left & low));
            _mm512_mask_storeu_epi32(to + 16, high,
                                     host_pack_word(m, word, first + 16, right & high));
        }
}

void host_pack_rows(const struct host_matrix *m, int64_t rows_padded, uint32_t *y)
{
    size_t size = tensor_type_size(m->type), used = (size_t)m->columns * size;
    size_t bytes = (size_t)host_pack_words(m->type, m->columns) * sizeof *y;
    for (int64_t row = 0; row < rows_padded; row++) {
        char *target = (char *)y + (size_t)row * bytes;
        size_t kept = row < m->rows ? used : 0;
        if (kept)
            memcpy(target, (const char *)m->data + (size_t)(row * m->stride) * size, kept);
        memset(target + kept, 0, bytes - kept);
    }
}
#endif
