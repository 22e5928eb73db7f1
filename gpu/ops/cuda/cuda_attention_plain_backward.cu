/*
 * Plain float32 attention, backward. The first kernel owns query rows: delta and dq; the second
 * owns key rows: dk and dv.
 */
#include "gpu/ops/cuda/cuda_attention_plain.h"

/* Sum of out . dout over the row, to every lane. */
static __device__ inline float plain_delta(const struct attention_args &a,
                                           const struct plain_block &b, int64_t token)
{
    float sum = 0;
    for (int64_t d = b.lane; d < a.dim; d += CUDA_WARP) {
        float out[1], dout[1];
        cuda_load<1>(a.out, attention_out_at(a, token, b.head) + d, out);
        cuda_load<1>(a.dout, attention_out_at(a, token, b.head) + d, dout);
        sum += out[0] * dout[0];
    }
    return cuda_warp_sum(sum);
}

/* A query row's share of one tile of keys. */
static __device__ inline void plain_dq_tile(const struct attention_args &a,
                                            const struct plain_block &b, int own, bool present,
                                            float lse, float delta, float (&dq)[PLAIN_LANE_DIM])
{
    int64_t at = b.lane * (a.dim + 1);
    float score = plain_dot(b.own1 + own * a.dim, b.tile1 + at, a.dim) * a.scale;
    float dp = plain_dot(b.own2 + own * a.dim, b.tile2 + at, a.dim);
    b.weight1[b.lane] = present ? expf(score - lse) * (dp - delta) * a.scale : 0.0f;
    __syncwarp();
    plain_add(b.weight1, b.tile1, a.dim, b.lane, dq);
    __syncwarp();
}

static __global__ void plain_dq_kernel(struct attention_args a)
{
    CUDA_SHARED_DYNAMIC(memory);
    struct plain_block b = plain_block(a, memory);
    float dq[PLAIN_PER_WARP][PLAIN_LANE_DIM] = {}, lse[PLAIN_PER_WARP], delta[PLAIN_PER_WARP];
    if (b.first_row >= b.span.length)
        return; /* all threads */
    int64_t mine = b.first_row + b.warp * PLAIN_PER_WARP;
    for (int r = 0; r < PLAIN_PER_WARP; r++) {
        int64_t row = mine + r, token = b.span.first + row;
        lse[r] = delta[r] = 0;
        if (row < a.query_start || row >= b.span.length)
            continue;
        lse[r] = a.lse[token * a.heads + b.head];
        delta[r] = plain_delta(a, b, token);
        if (b.lane == 0)
            a.delta[token * a.heads + b.head] = delta[r];
    }
    plain_fill(a, b, a.qkv, 0, b.first_row, PLAIN_ROWS, a.dim, b.own1);
    plain_fill(a, b, a.dout, -1, b.first_row, PLAIN_ROWS, a.dim, b.own2);
    for (int64_t key = 0; key < b.span.length; key += PLAIN_TILE) {
        plain_fill(a, b, a.qkv, 1, key, PLAIN_TILE, a.dim + 1, b.tile1);
        plain_fill(a, b, a.qkv, 2, key, PLAIN_TILE, a.dim + 1, b.tile2);
        __syncthreads();
        for (int r = 0; r < PLAIN_PER_WARP; r++)
            if (mine + r >= a.query_start && mine + r < b.span.length)
                plain_dq_tile(a, b, b.warp * PLAIN_PER_WARP + r, key + b.lane < b.span.length,
                              lse[r], delta[r], dq[r]);
        __syncthreads();
    }
    for (int r = 0; r < PLAIN_PER_WARP && mine + r < b.span.length; r++)
        plain_write(a.dqkv, attention_at(a, b.span.first + mine + r, 0, b.head), a.dim, b.lane,
                    1.0f, dq[r]);
}

/* A key row's share of one tile of queries. */
static __device__ inline void plain_dkv_tile(const struct attention_args &a,
                                             const struct plain_block &b, int own, bool present,
                                             float lse, float delta, float (&dk)[PLAIN_LANE_DIM],
                                             float (&dv)[PLAIN_LANE_DIM])
{
    int64_t at = b.lane * (a.dim + 1);
    float score = plain_dot(b.own1 + own * a.dim, b.tile1 + at, a.dim) * a.scale;
    float dp = plain_dot(b.own2 + own * a.dim, b.tile2 + at, a.dim);
    float p = present ? expf(score - lse) : 0.0f;
    b.weight1[b.lane] = p;
    b.weight2[b.lane] = present ? p * (dp - delta) * a.scale : 0.0f;
    __syncwarp();
    plain_add(b.weight1, b.tile2, a.dim, b.lane, dv);
    plain_add(b.weight2, b.tile1, a.dim, b.lane, dk);
    __syncwarp();
}

static __global__ void plain_dkv_kernel(struct attention_args a)
{
    CUDA_SHARED_DYNAMIC(memory);
    struct plain_block b = plain_block(a, memory);
    float dk[PLAIN_PER_WARP][PLAIN_LANE_DIM] = {}, dv[PLAIN_PER_WARP][PLAIN_LANE_DIM] = {};
    if (b.first_row >= b.span.length)
        return; /* all threads */
    int64_t mine = b.first_row + b.warp * PLAIN_PER_WARP;
    plain_fill(a, b, a.qkv, 1, b.first_row, PLAIN_ROWS, a.dim, b.own1);
    plain_fill(a, b, a.qkv, 2, b.first_row, PLAIN_ROWS, a.dim, b.own2);
    for (int64_t query = a.query_start; query < b.span.length; query += PLAIN_TILE) {
        plain_fill(a, b, a.qkv, 0, query, PLAIN_TILE, a.dim + 1, b.tile1);
        plain_fill(a, b, a.dout, -1, query, PLAIN_TILE, a.dim + 1, b.tile2);
        bool present = query + b.lane < b.span.length;
        int64_t at = (b.span.first + query + b.lane) * a.heads + b.head;
        float lse = present ? a.lse[at] : 0.0f, delta = present ? a.delta[at] : 0.0f;
        __syncthreads();
        for (int r = 0; r < PLAIN_PER_WARP; r++)
            plain_dkv_tile(a, b, b.warp * PLAIN_PER_WARP + r, present, lse, delta, dk[r], dv[r]);
        __syncthreads();
    }
    for (int r = 0; r < PLAIN_PER_WARP && mine + r < b.span.length; r++) {
        int64_t token = b.span.first + mine + r;
        plain_write(a.dqkv, attention_at(a, token, 1, b.head), a.dim, b.lane, 1.0f, dk[r]);
        plain_write(a.dqkv, attention_at(a, token, 2, b.head), a.dim, b.lane, 1.0f, dv[r]);
    }
}

enum ij_status cuda_attention_plain_backward(struct cuda_backend *cuda,
                                             const struct attention_args *a,
                                             struct ij_err *reterr_err)
{
    size_t shared = plain_shared_bytes(a->dim);
    CUDA_TRY(cuda, cudaFuncSetAttribute(plain_dq_kernel,
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared));
    CUDA_TRY(cuda, cudaFuncSetAttribute(plain_dkv_kernel,
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared));
    dim3 grid((unsigned)(a->sequences * a->heads),
              (unsigned)((a->length + PLAIN_ROWS - 1) / PLAIN_ROWS));
    CUDA_LAUNCH(plain_dq_kernel, grid, dim3(PLAIN_WARPS * CUDA_WARP), shared, cuda->stream, *a);
    CUDA_LAUNCH(plain_dkv_kernel, grid, dim3(PLAIN_WARPS * CUDA_WARP), shared, cuda->stream, *a);
    return IJ_OK;
}
