/*
 * Products of small matrices, for attention over short sequences.
 *
 * oneDNN packs its operands on every call, which costs more than the product itself when a side is
 * a few dozen long; here they are used where they lie. One thread; sums run in the order of k.
 */
#ifndef GPU_OPS_HOST_SMALL_H
#define GPU_OPS_HOST_SMALL_H

#include <stdbool.h>
#include <stdint.h>

struct host_small_args {
    int64_t m, n, k; /* n: a multiple of 8 */
    const float *a;  /* element (i, j) at a[i * a_row + j * a_step] */
    int64_t a_row, a_step;
    const float *b; /* (k, n), leading dimension ldb */
    float *c;       /* (m, n), leading dimension ldc */
    int64_t ldb, ldc;
    bool add; /* c += a b instead of c = a b */
};

void host_small_product(const struct host_small_args *args);

/* y (columns, rows_padded) = transpose of x (rows, columns); rows_padded is rows rounded up to a
 * multiple of 8, and the columns of y beyond `rows` are zero. */
void host_small_transpose(const float *x, int64_t ldx, int64_t rows, int64_t columns, float *y);

static inline int64_t host_small_padded(int64_t n)
{
    return (n + 7) / 8 * 8;
}

#endif
