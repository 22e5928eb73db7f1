/*
 * Device memory that the CUDA backend takes beside what its caller allocates: pure arithmetic, for
 * the backend and for the plan of a run, which knows no device.
 */
#ifndef GPU_OPS_CUDA_PLAN_H
#define GPU_OPS_CUDA_PLAN_H

#include <stddef.h>
#include <stdint.h>

#define CUDA_PLAN_WORKSPACE ((size_t)64 << 20)  /* of cuBLASLt */
#define CUDA_PLAN_BIAS      ((size_t)512 << 10) /* a bias in bfloat16 */
#define CUDA_PLAN_COLUMNS   256                 /* most parts of a column sum */
#define CUDA_PLAN_NORM_PARTS                                                                       \
    1056 /* most pairs of partial sums of a layer norm: GPUs of up to 264
                                     multiprocessors */
#define CUDA_PLAN_SLACK       ((size_t)64 << 10) /* sums of losses and squares */
#define CUDA_PLAN_CHUNK       8192 /* parameters that a block of the optimiser updates */
#define CUDA_PLAN_CHUNK_BYTES 32   /* of the list of them, twice: the norms have their own */

/* What every backend has. */
#define CUDA_PLAN_FIXED (CUDA_PLAN_WORKSPACE + CUDA_PLAN_BIAS)

/* Partial sums of columns (bias and norm gradients), or one number per token and head (attention's
 * backward pass): an operation at a time. */
static inline size_t cuda_plan_scratch(int64_t rows_max, int64_t width_max, int64_t heads_max)
{
    int64_t blocks = (rows_max + 31) / 32, parts = (rows_max + 127) / 128;
    blocks = blocks < CUDA_PLAN_NORM_PARTS ? blocks : CUDA_PLAN_NORM_PARTS;
    parts = parts < CUDA_PLAN_COLUMNS ? parts : CUDA_PLAN_COLUMNS;
    int64_t columns = (parts > 2 * blocks ? parts : 2 * blocks) * width_max;
    int64_t heads = rows_max * heads_max;
    return (size_t)(columns > heads ? columns : heads) * sizeof(float) + CUDA_PLAN_SLACK;
}

/* The optimiser's lists, for `segments` tensors of `values` parameters in all. */
static inline size_t cuda_plan_chunks(int64_t values, int64_t segments)
{
    size_t chunks = (size_t)(values / CUDA_PLAN_CHUNK + segments);
    return 2 * (chunks * CUDA_PLAN_CHUNK_BYTES + (size_t)(segments + 1) * sizeof(int64_t));
}

#endif
