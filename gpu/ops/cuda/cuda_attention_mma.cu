/* Attention by matrix instructions, forward: keys and values of a sequence in shared memory. */
#include "gpu/ops/cuda/cuda_attention_mma_tile.h"

template <int DIM>
static __global__ void __launch_bounds__(MMA_WARPS *CUDA_WARP)
    mma_forward_kernel(struct attention_args a)
{
    CUDA_SHARED_DYNAMIC(memory);
    struct mma_block b = mma_block(a);
    int length = (int)b.span.length;
    uint16_t *keys = (uint16_t *)(void *)memory;
    uint16_t *values = keys + mma_round(length) * (DIM + MMA_SKEW);
    mma_fill<DIM>(a, b, a.qkv, 1, 0, length, keys);
    mma_fill<DIM>(a, b, a.qkv, 2, 0, length, values);
    __syncthreads();
    int64_t first = a.query_start + b.warp * MMA_ROWS;
    for (int64_t row = first; row < length; row += MMA_WARPS * MMA_ROWS) {
        struct mma_queries<DIM> m;
        mma_query_begin<DIM>(a, b, row, m);
        mma_query_keys<DIM>(a, b, keys, values, length, m);
        mma_query_end<DIM>(a, b, row, m);
    }
}

/* bfloat16 throughout, rows that are multiples of 16 bytes. */
bool cuda_attention_mma_types(const struct attention_args *a)
{
    const struct tensor all[] = {a->qkv, a->out, a->dout, a->dqkv};
    for (int i = 0; i < 4; i++)
        if (all[i].data && (all[i].type != TENSOR_BF16 || (uintptr_t)all[i].data % 16 != 0))
            return false;
    return a->dim % 8 == 0 && a->dim <= 128;
}

bool cuda_attention_mma_fits(const struct cuda_backend *cuda, const struct attention_args *a)
{
    return cuda_attention_mma_types(a) && a->length <= ATTENTION_MMA_LENGTH &&
           mma_shared_bytes(a->length, mma_dim(a->dim)) <= (size_t)cuda->shared_max;
}

template <int DIM>
static enum ij_status mma_forward(struct cuda_backend *cuda, const struct attention_args *a,
                                  struct ij_err *reterr_err)
{
    size_t shared = mma_shared_bytes(a->length, DIM);
    CUDA_TRY(cuda, cudaFuncSetAttribute(mma_forward_kernel<DIM>,
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared));
    CUDA_LAUNCH((mma_forward_kernel<DIM>), dim3((unsigned)(a->sequences * a->heads)),
                dim3(MMA_WARPS * CUDA_WARP), shared, cuda->stream, *a);
    return IJ_OK;
}

enum ij_status cuda_attention_mma(struct cuda_backend *cuda, const struct attention_args *a,
                                  struct ij_err *reterr_err)
{
#define MMA_CASE(dim) return mma_forward<dim>(cuda, a, reterr_err)
    MMA_SWITCH(a->dim)
#undef MMA_CASE
}
