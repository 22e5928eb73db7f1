/*
 * What follows a product while its tile is in cache: bias, GELU or its slope, residual, rounding.
 *
 *   v = sum + bias;  pre = v;  v = activation(v);  v *= gelu'(slope_pre);  y = v + residual
 */
#ifndef GPU_OPS_HOST_FINISH_H
#define GPU_OPS_HOST_FINISH_H

#include "gpu/ops/host/host_gelu.h"
#include "gpu/ops/ops.h"

/* Everything but `bias` has y's shape, rows `stride` long. Borrows everything. */
struct host_finish {
    int64_t stride;
    const float *bias; /* or NULL */
    enum activation activation;
    bool slope_tanh;
    struct tensor pre, slope_pre, residual; /* or absent; `residual` may be y */
    struct tensor y;
    const struct host_gelu *gelu; /* tables; NULL: exact to float32 */
    bool stream;                  /* y and pre pass the cache; their rows are whole lines of it */
};

/* A part of y. */
struct host_finish_part {
    int64_t row, rows, column, columns; /* columns <= HOST_TILE_COLUMNS */
};

/* After a thread's last tile: other threads will see what passed the cache. */
void host_finish_end(const struct host_finish *finish);

/* Asks for the memory of a tile to come: no prefetcher of a processor sees its rows coming. */
void host_finish_fetch(const struct host_finish *finish, const struct host_finish_part *part);

/* `sum`: rows of HOST_TILE_COLUMNS floats. AVX-512; bfloat16 tensors need AVX512_BF16. */
void host_finish_tile(const struct host_finish *finish, const struct host_finish_part *part,
                      const float *sum);

#endif
