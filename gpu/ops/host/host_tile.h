/*
 * Tiles of a product: the inner loops of host_product.h, one per level of instructions.
 *
 * c (rows, 32) (+)= a (rows, k) b (k, 32) in float32, up to HOST_TILE_ROWS of them: a row-major
 * with rows `stride` words apart, where a word is one float32 or two bfloat16, or of float32 at any
 * steps; b two panels of host_pack.h, one after the other. Sums run in the order of k.
 */
#ifndef GPU_OPS_HOST_TILE_H
#define GPU_OPS_HOST_TILE_H

#include <stdint.h>

#include "gpu/ops/host/host_isa.h"
#include "gpu/ops/ops.h"

#define HOST_TILE_ROWS      32 /* at most */
#define HOST_TILE_ROWS_F32  28 /* best */
#define HOST_TILE_EXACT_F32 4  /* of a multiple of these nothing below is read or written */
#define HOST_TILE_COLUMNS   32
#define HOST_TILE_FLOATS    (HOST_TILE_ROWS * HOST_TILE_COLUMNS)

struct host_tile {
    const uint32_t *a, *b;
    int64_t stride, words; /* of a's rows; of k, a multiple of HOST_PACK_STEP */
    int64_t panel;         /* words of k in a whole panel of b; 0: `words` */
    bool b_passes;         /* what stays in the first-level cache is a, otherwise b */
    int64_t step;          /* between a's words of k: 1 but for float32, or 0, which is 1 */
    int64_t rows;          /* how many of c's rows are wanted: others may hold anything */
    float *c;
    int64_t c_stride; /* floats between rows of c */
    bool add;         /* to c's old content */
};

typedef void host_tile_fn(const struct host_tile *tile);

/* Rows of a tile of a large product. */
static inline int64_t host_tile_rows(enum tensor_type type)
{
    return type == TENSOR_F32 ? HOST_TILE_ROWS_F32 : HOST_TILE_ROWS;
}

/* The loop for this level and type, or NULL: the level has none. */
host_tile_fn *host_tile_of(enum host_isa isa, enum tensor_type type);

/* One of those loops, in a file of its own. */
void host_tile_f32_avx512(const struct host_tile *tile);

/* Around products in one thread: AMX wants its tiles described, and given back. */
void host_tile_begin(enum host_isa isa);
void host_tile_end(enum host_isa isa);

#endif
