/* Attention by matrix instructions, forward: keys and values of a sequence in shared memory. */
#include "gpu/ops/cuda/cuda_attention_mma.h"

#define MMA_CHUNK 64 /* keys between two corrections of the online softmax */

/* A tile of 16 query rows; each lane has rows g and g + 8 of it. */
template <int DIM> struct mma_queries {
    struct fragment_a q[DIM / 16];
    struct fragment_c out[DIM / 8];
    float most[2], sum[2]; /* largest score times scale * log2(e); this lane's sum of powers */
};

/* Scores of MMA_CHUNK keys from `key`, times scale * log2(e); -infinity beyond the last key. */
template <int DIM>
static __device__ inline void
mma_chunk_scores(const struct mma_queries<DIM> &m, const uint16_t *keys, int key, int length,
                 float factor, int lane, struct fragment_c (&s)[MMA_CHUNK / 8])
{
#pragma unroll
    for (int n = 0; n < MMA_CHUNK / 8; n++) {
        int first = key + 8 * n, column = first + lane % 4 * 2;
        struct fragment_c c = {{0, 0, 0, 0}};
        if (first < length)
            c = mma_scores<DIM>(m.q, keys + first * (DIM + MMA_SKEW), lane);
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[n].v[i] = column + i % 2 < length ? c.v[i] * factor : -INFINITY;
    }
}

/* Turns the scores into powers of two relative to the largest so far; corrects what was summed. */
template <int DIM>
static __device__ inline void mma_chunk_softmax(struct mma_queries<DIM> &m,
                                                struct fragment_c (&s)[MMA_CHUNK / 8])
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float most = m.most[half];
#pragma unroll
        for (int n = 0; n < MMA_CHUNK / 8; n++)
            most = fmaxf(most, fmaxf(s[n].v[2 * half], s[n].v[2 * half + 1]));
        most = fragment_row_max(most);
        float keep = exp2f(m.most[half] - most), sum = m.sum[half] * keep;
#pragma unroll
        for (int n = 0; n < MMA_CHUNK / 8; n++)
#pragma unroll
            for (int i = 2 * half; i < 2 * half + 2; i++) {
                s[n].v[i] = exp2f(s[n].v[i] - most);
                sum += s[n].v[i];
            }
        m.most[half] = most;
        m.sum[half] = sum;
#pragma unroll
        for (int n = 0; n < DIM / 8; n++) {
            m.out[n].v[2 * half] *= keep;
            m.out[n].v[2 * half + 1] *= keep;
        }
    }
}

template <int DIM>
static __device__ inline void mma_query_tile(const struct attention_args &a,
                                             const struct mma_block &b, const uint16_t *keys,
                                             const uint16_t *values, int64_t row)
{
    struct mma_queries<DIM> m;
    int length = (int)b.span.length;
    mma_rows<DIM>(a, b, a.qkv, 0, row, m.q);
#pragma unroll
    for (int n = 0; n < DIM / 8; n++)
        m.out[n] = {{0, 0, 0, 0}};
    m.most[0] = m.most[1] = -INFINITY;
    m.sum[0] = m.sum[1] = 0;
    for (int key = 0; key < length; key += MMA_CHUNK) {
        struct fragment_c s[MMA_CHUNK / 8];
        mma_chunk_scores<DIM>(m, keys, key, length, a.scale * MMA_LOG2E, b.lane, s);
        mma_chunk_softmax<DIM>(m, s);
#pragma unroll
        for (int k = 0; k < MMA_CHUNK / 16; k++)
            if (key + 16 * k < length)
                mma_add<DIM>(fragment_a_of_c(s[2 * k], s[2 * k + 1]),
                             values + (key + 16 * k) * (DIM + MMA_SKEW), b.lane, m.out);
    }
    float factor[2];
    for (int half = 0; half < 2; half++) {
        float sum = fragment_row_sum(m.sum[half]);
        int64_t r = row + b.lane / 4 + 8 * half;
        factor[half] = 1.0f / sum;
        if (a.lse && b.lane % 4 == 0 && r < length)
            a.lse[(b.span.first + r) * a.heads + b.head] = m.most[half] / MMA_LOG2E + logf(sum);
    }
    mma_write<DIM>(a, b, a.out, -1, row, 0, factor, m.out);
}

template <int DIM>
static __global__ void __launch_bounds__(MMA_WARPS *CUDA_WARP)
    mma_forward_kernel(struct attention_args a)
{
    CUDA_SHARED_DYNAMIC(memory);
    struct mma_block b = mma_block(a);
    uint16_t *keys = (uint16_t *)(void *)memory;
    uint16_t *values = keys + mma_round(b.span.length) * (DIM + MMA_SKEW);
    mma_fill<DIM>(a, b, a.qkv, 1, 0, keys);
    mma_fill<DIM>(a, b, a.qkv, 2, 0, values);
    __syncthreads();
    int64_t first = a.query_start + b.warp * MMA_ROWS;
    for (int64_t row = first; row < b.span.length; row += MMA_WARPS * MMA_ROWS)
        mma_query_tile<DIM>(a, b, keys, values, row);
}

/* bfloat16 throughout, 16-byte rows, and the shared memory suffices. */
bool cuda_attention_mma_fits(const struct cuda_backend *cuda, const struct attention_args *a)
{
    const struct tensor all[] = {a->qkv, a->out, a->dout, a->dqkv};
    for (int i = 0; i < 4; i++)
        if (all[i].data && (all[i].type != TENSOR_BF16 || (uintptr_t)all[i].data % 16 != 0))
            return false;
    return a->length <= ATTENTION_MMA_LENGTH && a->dim % 8 == 0 && a->dim <= 128 &&
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
