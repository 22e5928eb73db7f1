/*
 * Matrices in the order in which the products of host_product.h read them.
 *
 * Everything is moved in words of 32 bits: one float32, or a pair of bfloat16 that follow each
 * other in k. A panel holds 16 columns of a right side: for each word of k, 16 words, one per
 * column.
 * Panels are padded with zeros to 16 columns and to HOST_PACK_STEP words of k.
 */
#ifndef GPU_OPS_HOST_PACK_H
#define GPU_OPS_HOST_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu/ops/ops.h"

#define HOST_PACK_COLUMNS 16
#define HOST_PACK_STEP    16 /* words of k: one tile of AMX */

/* A matrix of float32 or bfloat16 with rows `stride` elements apart. */
struct host_matrix {
    const void *data;
    enum tensor_type type;
    int64_t rows, columns, stride;
};

/* Words of k, padded. */
static inline int64_t host_pack_words(enum tensor_type type, int64_t k)
{
    int64_t words = type == TENSOR_BF16 ? (k + 1) / 2 : k;
    return (words + HOST_PACK_STEP - 1) / HOST_PACK_STEP * HOST_PACK_STEP;
}
/* Panels of n columns. */
static inline int64_t host_pack_panels(int64_t n)
{
    return (n + HOST_PACK_COLUMNS - 1) / HOST_PACK_COLUMNS;
}
/* Words of a packed right side (k, n), which always has an even number of panels. */
static inline size_t host_pack_size(enum tensor_type type, int64_t k, int64_t n)
{
    return (size_t)(host_pack_words(type, k) * ((host_pack_panels(n) + 1) / 2 * 2) *
                    HOST_PACK_COLUMNS);
}

/* Panels [begin, end) of the right side b = m, or the transpose of m, into `y`, which holds all
 * panels of b from the first one on. Panels beyond the last are zero. AVX-512. */
void host_pack_panels_of(const struct host_matrix *m, bool transposed, int64_t begin, int64_t end,
                         uint32_t *y);

/* The transpose of m as a left side: rows 16 begin .. 16 end of it, with rows `stride` words apart
 * from y on; those that m has no columns for are zero. AVX-512. */
void host_pack_transposed_rows(const struct host_matrix *m, int64_t begin, int64_t end,
                               int64_t stride, uint32_t *y);

/* Sets [begin, end) of `width` columns of m, float32, width up to 32: each is m's rows of it, one
 * after the other: the transpose of m as a left side whose words of k are `width` apart. Sets lie
 * `size` words apart; rows are padded with zeros to whole steps. AVX-512. */
void host_pack_sets(const struct host_matrix *m, int64_t width, int64_t begin, int64_t end,
                    int64_t size, uint32_t *y);

/* Rows of a left side with k padded by zeros to whole steps, and zero rows up to `rows_padded`. */
void host_pack_rows(const struct host_matrix *m, int64_t rows_padded, uint32_t *y);

#endif
