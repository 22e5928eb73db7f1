/*
 * Attention by matrix instructions, backward. The first kernel owns query rows and has keys and
 * values in shared memory: delta and dq. The second owns key rows and has queries and output
 * gradients there: dk and dv. Scores are computed twice, nothing is added across warps.
 */
#include "gpu/ops/cuda/cuda_attention_mma_tile.h"

template <int DIM>
static __global__ void __launch_bounds__(MMA_WARPS *CUDA_WARP)
    mma_dq_kernel(struct attention_args a)
{
    CUDA_SHARED_DYNAMIC(memory);
    struct mma_block b = mma_block(a);
    int length = (int)b.span.length;
    uint16_t *keys = (uint16_t *)(void *)memory;
    uint16_t *values = keys + mma_round(length) * (DIM + MMA_SKEW);
    mma_fill<DIM>(a, b, a.qkv, 1, 0, length, keys);
    mma_fill<DIM>(a, b, a.qkv, 2, 0, length, values);
    __syncthreads();
    for (int64_t row = b.warp * MMA_ROWS; row < length; row += MMA_WARPS * MMA_ROWS) {
        struct mma_dq<DIM> m;
        mma_dq_begin<DIM>(a, b, row, m);
        mma_dq_keys<DIM>(a, b, keys, values, length, m);
        mma_dq_end<DIM>(a, b, row, m);
    }
}

template <int DIM>
static __global__ void __launch_bounds__(MMA_WARPS *CUDA_WARP)
    mma_dkv_kernel(struct attention_args a)
{
    CUDA_SHARED_DYNAMIC(memory);
    struct mma_block b = mma_block(a);
    int64_t left = b.span.length - a.query_start;
    int queries = left > 0 ? (int)left : 0;
    struct mma_shared s = mma_shared_of<DIM>(memory, mma_round(queries));
    mma_shared_fill<DIM>(a, b, a.query_start, queries, s);
    __syncthreads();
    for (int64_t row = b.warp * MMA_ROWS; row < b.span.length; row += MMA_WARPS * MMA_ROWS) {
        struct mma_dkv<DIM> m;
        mma_dkv_begin<DIM>(a, b, row, m);
        mma_dkv_queries<DIM>(a, b, s, queries, m);
        mma_dkv_end<DIM>(a, b, row, m);
    }
}

template <int DIM>
static enum ij_status mma_backward(struct cuda_backend *cuda, const struct attention_args *a,
                                   struct ij_err *reterr_err)
{
    size_t shared = mma_shared_bytes(a->length, DIM);
    dim3 grid((unsigned)(a->sequences * a->heads)), block(MMA_WARPS * CUDA_WARP);
    CUDA_TRY(cuda, cudaFuncSetAttribute(mma_dq_kernel<DIM>,
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared));
    CUDA_TRY(cuda, cudaFuncSetAttribute(mma_dkv_kernel<DIM>,
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared));
    CUDA_LAUNCH((mma_dq_kernel<DIM>), grid, block, shared, cuda->stream, *a);
    CUDA_LAUNCH((mma_dkv_kernel<DIM>), grid, block, shared, cuda->stream, *a);
    return IJ_OK;
}

enum ij_status cuda_attention_mma_backward(struct cuda_backend *cuda,
                                           const struct attention_args *a,
                                           struct ij_err *reterr_err)
{
#define MMA_CASE(dim) return mma_backward<dim>(cuda, a, reterr_err)
    MMA_SWITCH(a->dim)
#undef MMA_CASE
}
