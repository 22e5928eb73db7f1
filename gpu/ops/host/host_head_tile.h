/*
 * One head of one sequence by the tiles of host_tile.h, in float32 or bfloat16.
 *
 * Queries (backward: keys) go in blocks of a tile's rows, whose scores against all keys (queries)
 * live in the thread's scratch. The backward pass works on the transposed scores: gradients of keys
 * and values are then whole sums of one block, and the statistics of a query are the same down a
 * column.
 */
#ifndef GPU_OPS_HOST_HEAD_TILE_H
#define GPU_OPS_HOST_HEAD_TILE_H

#include "gpu/ops/host/host_tile.h"
#include "gpu/ops/ops.h"

/* Where one head lies: all tensors of one type, elements of its first token. Borrows everything. */
struct host_head_tile {
    host_tile_fn *tile;
    int64_t length, dim, query_start;
    int64_t q, stride;      /* of q in qkv and dq in dqkv, rows apart; k and v follow by `width` */
    int64_t next;           /* from q to the q of the head that will be next, or 0 */
    int64_t at, width;      /* of this head in out and dout, rows apart */
    struct tensor qkv, out; /* out: written by the forward pass */
    struct tensor dout, dqkv; /* backward only */
    float *lse;               /* of the first token; written (NULL: not wanted) or read */
    int64_t lse_stride;
    float *scratch; /* host_head_tile_floats(length, dim), 64-byte aligned */
};

size_t host_head_tile_floats(int64_t length, int64_t dim);

/* As the operations of ops.h say, for one head. The thread is between host_tile_begin and _end. */
void host_head_tile_forward(const struct host_head_tile *head);
void host_head_tile_backward(const struct host_head_tile *head);

#endif
