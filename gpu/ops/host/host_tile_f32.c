/*
 * Tiles of float32 by AVX-512: see host_tile.h.
 *
 * 14 rows by 32 columns of sums stay in 28 registers, so that 28 multiply-adds share two loads of
 * b and 14 of a. Fewer rows take smaller groups.
 */
#include "gpu/ops/host/host_tile.h"

#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,prfchw")
#include "gpu/ops/host/host_avx512.h"
#include "gpu/ops/host/host_pack.h"

#define GROUP 14

/* Row i of those that begin at at[0], the eighth at at[1]: `stride` bytes apart, of which `three`
 * and `five` are multiples. That takes five registers for addresses, where compilers take 14. */
#define ROW(at, i)                                                                                 \
    ((i) % 7 < 3        ? (at)[(i) / 7] + (i) % 7 * stride                                         \
     : (i) % 7 % 3 == 0 ? (at)[(i) / 7] + (i) % 7 / 3 * three                                      \
     : (i) % 7 == 4     ? (at)[(i) / 7] + 4 * stride                                               \
                        : (at)[(i) / 7] + five)

/* `rows`, a constant: rows of a and c from `row` on. */
HOST_AVX512 void host_tile_f32_group(const struct host_tile *t, int64_t row, const int rows)
{
    const float *b = (const float *)(const void *)t->b, *end = b + t->words * HOST_PACK_COLUMNS;
    const float *right = b + (t->panel ? t->panel : t->words) * HOST_PACK_COLUMNS;
    float *c = t->c + row * t->c_stride;
    int64_t stride = t->stride * 4, three = 3 * stride, five = 5 * stride, c_stride = t->c_stride;
    int64_t step = t->step ? t->step * 4 : 4;
    const char *a[2] = {(const char *)(t->a + row * t->stride)};
    a[1] = a[0] + 7 * stride;
    __asm__("" : "+r"(a[1]), "+r"(stride), "+r"(three), "+r"(five));
    __m512 sum[GROUP][2];
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        sum[i][0] = sum[i][1] = _mm512_setzero_ps();
        if (t->add) {
            __builtin_prefetch(c + i * c_stride, 1);
            __builtin_prefetch(c + i * c_stride + 16, 1);
        }
    }
    for (; b < end;
         b += HOST_PACK_COLUMNS, right += HOST_PACK_COLUMNS, a[0] += step, a[1] += step) {
        __m512 b0 = _mm512_load_ps(b), b1 = _mm512_load_ps(right);
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++) {
            __m512 x = _mm512_set1_ps(*(const float *)(const void *)ROW(a, i));
            sum[i][0] = _mm512_fmadd_ps(x, b0, sum[i][0]);
            sum[i][1] = _mm512_fmadd_ps(x, b1, sum[i][1]);
        }
        __asm__("" : "+r"(a[0]), "+r"(a[1]));
    }
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++, c += c_stride) {
        if (t->add) {
            sum[i][0] = _mm512_add_ps(_mm512_loadu_ps(c), sum[i][0]);
            sum[i][1] = _mm512_add_ps(_mm512_loadu_ps(c + 16), sum[i][1]);
        }
        _mm512_storeu_ps(c, sum[i][0]);
        _mm512_storeu_ps(c + 16, sum[i][1]);
    }
}

/* Rows of the next group, by how many are left: few groups of about the same size, so that no thin
 * one is left over. */
static const uint8_t host_tile_f32_rows[HOST_TILE_ROWS + 1] = {
    0,  4,  4,  4,  4,  8,  8,  8,  8,  12, 12, 12, 12, 14, 14, 8, 8,
    12, 12, 12, 12, 12, 12, 12, 12, 14, 14, 14, 14, 12, 12, 12, 12};

void host_tile_f32_avx512(const struct host_tile *tile)
{
    const struct host_tile t = *tile;
    int rows;
    for (int64_t row = 0; row < t.rows; row += rows) {
        rows = host_tile_f32_rows[t.rows - row];
        if (rows == 14)
            host_tile_f32_group(&t, row, 14);
        else if (rows == 12)
            host_tile_f32_group(&t, row, 12);
        else if (rows == 8)
            host_tile_f32_group(&t, row, 8);
        else
            host_tile_f32_group(&t, row, 4);
    }
}
#endif
