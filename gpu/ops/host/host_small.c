/*
 * See host_small.h. A tile of four rows by sixteen columns of c stays in eight vectors of eight
 * floats while k runs; what is left of the columns is done eight at a time, of the rows one at a
 * time.
 */
#include "gpu/ops/host/host_small.h"

#include "gpu/ops/host/host_simd.h"

typedef float host_vector __attribute__((vector_size(32)));
typedef float host_vector_at
    __attribute__((vector_size(32), aligned(4), may_alias)); /* in memory */

/* Macros, as a function that returns a wide vector has no ABI on the plain x86-64 level. */
#define HOST_SMALL_LOAD(x) ((host_vector) * (const host_vector_at *)(x))
#define HOST_SMALL_STORE(c, sum, add)                                                              \
    do {                                                                                           \
        host_vector_at *target_ = (host_vector_at *)(c);                                           \
        if (add)                                                                                   \
            *target_ += (sum);                                                                     \
        else                                                                                       \
            *target_ = (sum);                                                                      \
    } while (0)

/* Rows i .. i+3, columns j .. j+15 of c. */
HOST_INLINE void host_small_4x16(const struct host_small_args *s, int64_t i, int64_t j)
{
    const float *a0 = s->a + i * s->a_row, *a1 = a0 + s->a_row, *a2 = a1 + s->a_row;
    const float *a3 = a2 + s->a_row, *b = s->b + j;
    host_vector c00 = {0}, c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00;
    host_vector c31 = c00;
    for (int64_t k = 0, at = 0; k < s->k; k++, at += s->a_step, b += s->ldb) {
        host_vector b0 = HOST_SMALL_LOAD(b), b1 = HOST_SMALL_LOAD(b + 8);
        c00 += a0[at] * b0, c01 += a0[at] * b1;
        c10 += a1[at] * b0, c11 += a1[at] * b1;
        c20 += a2[at] * b0, c21 += a2[at] * b1;
        c30 += a3[at] * b0, c31 += a3[at] * b1;
    }
    float *c = s->c + i * s->ldc + j;
    HOST_SMALL_STORE(c, c00, s->add);
    HOST_SMALL_STORE(c + 8, c01, s->add);
    c += s->ldc;
    HOST_SMALL_STORE(c, c10, s->add);
    HOST_SMALL_STORE(c + 8, c11, s->add);
    c += s->ldc;
    HOST_SMALL_STORE(c, c20, s->add);
    HOST_SMALL_STORE(c + 8, c21, s->add);
    c += s->ldc;
    HOST_SMALL_STORE(c, c30, s->add);
    HOST_SMALL_STORE(c + 8, c31, s->add);
}

/* Rows i .. i+3, columns j .. j+7. */
HOST_INLINE void host_small_4x8(const struct host_small_args *s, int64_t i, int64_t j)
{
    const float *a0 = s->a + i * s->a_row, *a1 = a0 + s->a_row, *a2 = a1 + s->a_row;
    const float *a3 = a2 + s->a_row, *b = s->b + j;
    host_vector c0 = {0}, c1 = c0, c2 = c0, c3 = c0;
    for (int64_t k = 0, at = 0; k < s->k; k++, at += s->a_step, b += s->ldb) {
        host_vector b0 = HOST_SMALL_LOAD(b);
        c0 += a0[at] * b0, c1 += a1[at] * b0, c2 += a2[at] * b0, c3 += a3[at] * b0;
    }
    float *c = s->c + i * s->ldc + j;
    HOST_SMALL_STORE(c, c0, s->add);
    HOST_SMALL_STORE(c + s->ldc, c1, s->add);
    HOST_SMALL_STORE(c + 2 * s->ldc, c2, s->add);
    HOST_SMALL_STORE(c + 3 * s->ldc, c3, s->add);
}

/* Row i, columns j .. j+7. */
HOST_INLINE void host_small_1x8(const struct host_small_args *s, int64_t i, int64_t j)
{
    const float *a = s->a + i * s->a_row, *b = s->b + j;
    host_vector sum = {0};
    for (int64_t k = 0; k < s->k; k++, b += s->ldb)
        sum += a[k * s->a_step] * HOST_SMALL_LOAD(b);
    HOST_SMALL_STORE(s->c + i * s->ldc + j, sum, s->add);
}

HOST_CLONES void host_small_product(const struct host_small_args *args)
{
    const struct host_small_args s = *args;
    int64_t i = 0;
    for (; i + 4 <= s.m; i += 4) {
        int64_t j = 0;
        for (; j + 16 <= s.n; j += 16)
            host_small_4x16(&s, i, j);
        if (j < s.n)
            host_small_4x8(&s, i, j);
    }
    for (; i < s.m; i++)
        for (int64_t j = 0; j < s.n; j += 8)
            host_small_1x8(&s, i, j);
}

HOST_CLONES void host_small_transpose(const float *restrict x, int64_t ldx, int64_t rows,
                                      int64_t columns, float *restrict y)
{
    int64_t padded = host_small_padded(rows), whole = rows / 8 * 8;
    for (int64_t i = 0; i < whole; i += 8)
        for (int64_t j = 0; j < columns; j++)
            for (int64_t r = 0; r < 8; r++)
                y[j * padded + i + r] = x[(i + r) * ldx + j];
    for (int64_t j = 0; j < columns && whole < rows; j++)
        for (int64_t r = whole; r < padded; r++)
            y[j * padded + r] = r < rows ? x[r * ldx + j] : 0;
}
