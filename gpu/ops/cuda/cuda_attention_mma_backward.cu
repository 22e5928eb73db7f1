/*
 * Attention by matrix instructions, backward. The first kernel owns query rows and has keys and
 * values in shared memory: delta and dq. The second owns key rows and has queries and output
 * gradients there: dk and dv. Scores are computed twice, nothing is added across warps.
 */
#include "gpu/ops/cuda/cuda_attention_mma.h"

template <int DIM> static __device__ inline void mma_zero(struct fragment_c (&sum)[DIM / 8])
{
#pragma unroll
    for (int n = 0; n < DIM / 8; n++)
        sum[n] = {{0, 0, 0, 0}};
}

static __device__ inline float mma_dot(unsigned x, unsigned y)
{
    return cuda_from_bf16((uint16_t)x) * cuda_from_bf16((uint16_t)y) +
           cuda_from_bf16((uint16_t)(x >> 16)) * cuda_from_bf16((uint16_t)(y >> 16));
}

/* rowsum(out . dout) of rows g and g + 8, to the 4 lanes of each row. */
template <int DIM>
static __device__ inline void mma_delta(const struct attention_args &a, const struct mma_block &b,
                                        int64_t row, const struct fragment_a (&dout)[DIM / 16],
                                        float (&delta)[2])
{
    int64_t d = b.lane % 4 * 2;
    delta[0] = delta[1] = 0;
#pragma unroll
    for (int k = 0; k < DIM / 16; k++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            delta[i % 2] +=
                mma_dot(dout[k].r[i], mma_pair(a, b, a.out, -1, row + b.lane / 4 + i % 2 * 8,
                                               d + 16 * k + i / 2 * 8));
    delta[0] = fragment_row_sum(delta[0]);
    delta[1] = fragment_row_sum(delta[1]);
}

/* Weights of dq: p (dp - delta) scale for 16 queries and the 8 keys from `key`. */
template <int DIM>
static __device__ inline struct fragment_c
mma_dq_weights(const struct attention_args &a, const struct mma_block &b, const uint16_t *keys,
               const uint16_t *values, int key, const struct fragment_a (&q)[DIM / 16],
               const struct fragment_a (&dout)[DIM / 16], const float (&lse)[2],
               const float (&delta)[2])
{
    struct fragment_c s = mma_scores<DIM>(q, keys + key * (DIM + MMA_SKEW), b.lane);
    struct fragment_c dp = mma_scores<DIM>(dout, values + key * (DIM + MMA_SKEW), b.lane);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float p = exp2f(s.v[i] * a.scale * MMA_LOG2E - lse[i / 2]);
        bool present = key + b.lane % 4 * 2 + i % 2 < b.span.length;
        s.v[i] = present ? p * (dp.v[i] - delta[i / 2]) * a.scale : 0.0f;
    }
    return s;
}

template <int DIM>
static __device__ inline void mma_dq_tile(const struct attention_args &a, const struct mma_block &b,
                                          const uint16_t *keys, const uint16_t *values, int64_t row)
{
    struct fragment_a q[DIM / 16], dout[DIM / 16];
    struct fragment_c dq[DIM / 8];
    float lse[2], delta[2];
    mma_zero<DIM>(dq);
    mma_rows<DIM>(a, b, a.qkv, 0, row, q);
    mma_rows<DIM>(a, b, a.dout, -1, row, dout);
    mma_delta<DIM>(a, b, row, dout, delta);
    for (int half = 0; half < 2; half++) {
        int64_t r = row + b.lane / 4 + 8 * half;
        int64_t at = (b.span.first + r) * a.heads + b.head;
        lse[half] = r < b.span.length ? a.lse[at] * MMA_LOG2E : 0.0f;
        if (b.lane % 4 == 0 && r < b.span.length)
            a.delta[at] = delta[half];
    }
    for (int key = 0; key < (int)b.span.length; key += 16) {
        struct fragment_c left = mma_dq_weights<DIM>(a, b, keys, values, key, q, dout, lse, delta);
        struct fragment_c right =
            mma_dq_weights<DIM>(a, b, keys, values, key + 8, q, dout, lse, delta);
        mma_add<DIM>(fragment_a_of_c(left, right), keys + key * (DIM + MMA_SKEW), b.lane, dq);
    }
    const float factor[2] = {1, 1};
    mma_write<DIM>(a, b, a.dqkv, 0, row, a.query_start, factor, dq);
}

template <int DIM>
static __global__ void __launch_bounds__(MMA_WARPS *CUDA_WARP)
    mma_dq_kernel(struct attention_args a)
{
    CUDA_SHARED_DYNAMIC(memory);
    struct mma_block b = mma_block(a);
    uint16_t *keys = (uint16_t *)(void *)memory;
    uint16_t *values = keys + mma_round(b.span.length) * (DIM + MMA_SKEW);
    mma_fill<DIM>(a, b, a.qkv, 1, 0, keys);
    mma_fill<DIM>(a, b, a.qkv, 2, 0, values);
    __syncthreads();
    int64_t first = b.warp * MMA_ROWS;
    for (int64_t row = first; row < b.span.length; row += MMA_WARPS * MMA_ROWS)
        mma_dq_tile<DIM>(a, b, keys, values, row);
}

/* ---- Keys and values ------------------------------------------------------------------------- */

/* What the second kernel has in shared memory: rows from query_start on. */
struct mma_shared {
    uint16_t *queries, *douts;
    float *lse, *delta; /* lse times log2(e), infinite beyond the last row */
};

/* p and p (dp - delta) scale for 16 keys and the 8 queries from `query` on. */
template <int DIM>
static __device__ inline void
mma_dkv_weights(const struct attention_args &a, const struct mma_block &b,
                const struct mma_shared &m, int query, const struct fragment_a (&k)[DIM / 16],
                const struct fragment_a (&v)[DIM / 16], struct fragment_c &p, struct fragment_c &ds)
{
    p = mma_scores<DIM>(k, m.queries + query * (DIM + MMA_SKEW), b.lane);
    ds = mma_scores<DIM>(v, m.douts + query * (DIM + MMA_SKEW), b.lane);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int at = query + b.lane % 4 * 2 + i % 2;
        p.v[i] = exp2f(p.v[i] * a.scale * MMA_LOG2E - m.lse[at]);
        ds.v[i] = p.v[i] * (ds.v[i] - m.delta[at]) * a.scale;
    }
}

template <int DIM>
static __device__ inline void mma_dkv_tile(const struct attention_args &a,
                                           const struct mma_block &b, const struct mma_shared &m,
                                           int64_t row)
{
    struct fragment_a k[DIM / 16], v[DIM / 16];
    struct fragment_c dk[DIM / 8], dv[DIM / 8];
    mma_zero<DIM>(dk);
    mma_zero<DIM>(dv);
    mma_rows<DIM>(a, b, a.qkv, 1, row, k);
    mma_rows<DIM>(a, b, a.qkv, 2, row, v);
    int queries = (int)(b.span.length - a.query_start);
    for (int query = 0; query < queries; query += 16) {
        struct fragment_c p[2], ds[2];
        for (int i = 0; i < 2; i++)
            mma_dkv_weights<DIM>(a, b, m, query + 8 * i, k, v, p[i], ds[i]);
        mma_add<DIM>(fragment_a_of_c(p[0], p[1]), m.douts + query * (DIM + MMA_SKEW), b.lane, dv);
        mma_add<DIM>(fragment_a_of_c(ds[0], ds[1]), m.queries + query * (DIM + MMA_SKEW), b.lane,
                     dk);
    }
    const float factor[2] = {1, 1};
    mma_write<DIM>(a, b, a.dqkv, 1, row, 0, factor, dk);
    mma_write<DIM>(a, b, a.dqkv, 2, row, 0, factor, dv);
}

template <int DIM>
static __global__ void __launch_bounds__(MMA_WARPS *CUDA_WARP)
    mma_dkv_kernel(struct attention_args a)
{
    CUDA_SHARED_DYNAMIC(memory);
    struct mma_block b = mma_block(a);
    int64_t queries = b.span.length - a.query_start;
    int rows = queries > 0 ? mma_round(queries) : 0;
    struct mma_shared m;
    m.queries = (uint16_t *)(void *)memory;
    m.douts = m.queries + rows * (DIM + MMA_SKEW);
    m.lse = (float *)(void *)(m.douts + rows * (DIM + MMA_SKEW));
    m.delta = m.lse + rows;
    if (rows > 0) {
        mma_fill<DIM>(a, b, a.qkv, 0, a.query_start, m.queries);
        mma_fill<DIM>(a, b, a.dout, -1, a.query_start, m.douts);
    }
    for (int i = (int)threadIdx.x; i < rows; i += (int)blockDim.x) {
        int64_t at = (b.span.first + a.query_start + i) * a.heads + b.head;
        m.lse[i] = i < queries ? a.lse[at] * MMA_LOG2E : INFINITY;
        m.delta[i] = i < queries ? a.delta[at] : 0.0f;
    }
    __syncthreads();
    int64_t first = b.warp * MMA_ROWS;
    for (int64_t row = first; row < b.span.length; row += MMA_WARPS * MMA_ROWS)
        mma_dkv_tile<DIM>(a, b, m, row);
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
