/*
 * Attention by matrix instructions over sequences that do not fit shared memory whole.
 *
 * A block owns LONG_ROWS rows of one sequence and head, a tile of 16 per warp, and the other side
 * passes through shared memory LONG_STAGE rows at a time: keys and values for the forward pass and
 * for dq, queries and output gradients for dk and dv. Every sum belongs to one warp, so nothing is
 * added up across blocks and the same call gives the same bits. The arithmetic of a stage is that
 * of the short path (cuda_attention_mma_tile.h).
 */
#include "gpu/ops/cuda/cuda_attention_mma_tile.h"

#define LONG_ROWS  (MMA_WARPS * MMA_ROWS)
#define LONG_STAGE 64

/* Where a warp's tile begins; rows beyond the end of the sequence are computed and not written. */
static __device__ inline int64_t long_row(const struct mma_block &b, int64_t from)
{
    return from + (int64_t)blockIdx.y * LONG_ROWS + b.warp * MMA_ROWS;
}

template <int DIM>
static __global__ void __launch_bounds__(MMA_WARPS *CUDA_WARP)
    long_forward_kernel(struct attention_args a)
{
    CUDA_SHARED_DYNAMIC(memory);
    struct mma_block b = mma_block(a);
    uint16_t *keys = (uint16_t *)(void *)memory, *values = keys + LONG_STAGE * (DIM + MMA_SKEW);
    struct mma_queries<DIM> m;
    int64_t row = long_row(b, a.query_start);
    if (a.query_start + (int64_t)blockIdx.y * LONG_ROWS >= b.span.length)
        return; /* the whole block */
    mma_query_begin<DIM>(a, b, row, m);
    for (int64_t key = 0; key < b.span.length; key += LONG_STAGE) {
        int count = (int)(b.span.length - key < LONG_STAGE ? b.span.length - key : LONG_STAGE);
        __syncthreads(); /* the stage before has been read */
        mma_fill<DIM>(a, b, a.qkv, 1, key, count, keys);
        mma_fill<DIM>(a, b, a.qkv, 2, key, count, values);
        __syncthreads();
        mma_query_keys<DIM>(a, b, keys, values, count, m);
    }
    mma_query_end<DIM>(a, b, row, m);
}

template <int DIM>
static __global__ void __launch_bounds__(MMA_WARPS *CUDA_WARP)
    long_dq_kernel(struct attention_args a)
{
    CUDA_SHARED_DYNAMIC(memory);
    struct mma_block b = mma_block(a);
    uint16_t *keys = (uint16_t *)(void *)memory, *values = keys + LONG_STAGE * (DIM + MMA_SKEW);
    struct mma_dq<DIM> m;
    int64_t row = long_row(b, 0);
    if ((int64_t)blockIdx.y * LONG_ROWS >= b.span.length)
        return;
    mma_dq_begin<DIM>(a, b, row, m);
    for (int64_t key = 0; key < b.span.length; key += LONG_STAGE) {
        int count = (int)(b.span.length - key < LONG_STAGE ? b.span.length - key : LONG_STAGE);
        __syncthreads();
        mma_fill<DIM>(a, b, a.qkv, 1, key, count, keys);
        mma_fill<DIM>(a, b, a.qkv, 2, key, count, values);
        __syncthreads();
        mma_dq_keys<DIM>(a, b, keys, values, count, m);
    }
    mma_dq_end<DIM>(a, b, row, m);
}

template <int DIM>
static __global__ void __launch_bounds__(MMA_WARPS *CUDA_WARP)
    long_dkv_kernel(struct attention_args a)
{
    CUDA_SHARED_DYNAMIC(memory);
    struct mma_block b = mma_block(a);
    struct mma_shared s = mma_shared_of<DIM>(memory, LONG_STAGE);
    struct mma_dkv<DIM> m;
    int64_t row = long_row(b, 0);
    if ((int64_t)blockIdx.y * LONG_ROWS >= b.span.length)
        return;
    mma_dkv_begin<DIM>(a, b, row, m);
    for (int64_t query = a.query_start; query < b.span.length; query += LONG_STAGE) {
        int count = (int)(b.span.length - query < LONG_STAGE ? b.span.length - query : LONG_STAGE);
        __syncthreads();
        mma_shared_fill<DIM>(a, b, query, count, s);
        __syncthreads();
        mma_dkv_queries<DIM>(a, b, s, count, m);
    }
    mma_dkv_end<DIM>(a, b, row, m);
}

/* ---- Launches -------------------------------------------------------------------------------- */

static dim3 long_grid(const struct attention_args *a, int64_t rows)
{
    return dim3((unsigned)(a->sequences * a->heads),
                (unsigned)((rows + LONG_ROWS - 1) / LONG_ROWS));
}

template <int DIM>
static enum ij_status long_forward(struct cuda_backend *cuda, const struct attention_args *a,
                                   struct ij_err *reterr_err)
{
    size_t shared = mma_shared_bytes(LONG_STAGE, DIM);
    if (a->query_start >= a->length)
        return IJ_OK;
    CUDA_TRY(cuda, cudaFuncSetAttribute(long_forward_kernel<DIM>,
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared));
    CUDA_LAUNCH((long_forward_kernel<DIM>), long_grid(a, a->length - a->query_start),
                dim3(MMA_WARPS * CUDA_WARP), shared, cuda->stream, *a);
    return IJ_OK;
}

template <int DIM>
static enum ij_status long_backward(struct cuda_backend *cuda, const struct attention_args *a,
                                    struct ij_err *reterr_err)
{
    size_t shared = mma_shared_bytes(LONG_STAGE, DIM);
    dim3 grid = long_grid(a, a->length), block(MMA_WARPS * CUDA_WARP);
    CUDA_TRY(cuda, cudaFuncSetAttribute(long_dq_kernel<DIM>,
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared));
    CUDA_TRY(cuda, cudaFuncSetAttribute(long_dkv_kernel<DIM>,
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared));
    CUDA_LAUNCH((long_dq_kernel<DIM>), grid, block, shared, cuda->stream, *a);
    CUDA_LAUNCH((long_dkv_kernel<DIM>), grid, block, shared, cuda->stream, *a);
    return IJ_OK;
}

bool cuda_attention_long_fits(const struct cuda_backend *cuda, const struct attention_args *a)
{
    return cuda_attention_mma_types(a) &&
           mma_shared_bytes(LONG_STAGE, mma_dim(a->dim)) <= (size_t)cuda->shared_max &&
           (a->length + LONG_ROWS - 1) / LONG_ROWS <= CUDA_GRID_MAX;
}

enum ij_status cuda_attention_long(struct cuda_backend *cuda, const struct attention_args *a,
                                   struct ij_err *reterr_err)
{
#define MMA_CASE(dim) return long_forward<dim>(cuda, a, reterr_err)
    MMA_SWITCH(a->dim)
#undef MMA_CASE
}

enum ij_status cuda_attention_long_backward(struct cuda_backend *cuda,
                                            const struct attention_args *a,
                                            struct ij_err *reterr_err)
{
#define MMA_CASE(dim) return long_backward<dim>(cuda, a, reterr_err)
    MMA_SWITCH(a->dim)
#undef MMA_CASE
}
