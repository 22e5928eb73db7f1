/* Plain float32 attention, forward: online softmax over tiles of keys. */
#include "gpu/ops/cuda/cuda_attention_plain.h"

/* One query row as it goes over the tiles. */
struct plain_row {
    float most, sum; /* largest scaled score so far; sum of exponentials relative to it */
    float out[PLAIN_LANE_DIM];
};

static __device__ inline void plain_row_tile(const struct attention_args &a,
                                             const struct plain_block &b, const float *q,
                                             bool present, struct plain_row &row)
{
    float score = plain_dot(q, b.tile1 + b.lane * (a.dim + 1), a.dim) * a.scale;
    float most = fmaxf(row.most, cuda_warp_max(present ? score : -INFINITY));
    float weight = present ? expf(score - most) : 0.0f, keep = expf(row.most - most);
    row.sum = row.sum * keep + cuda_warp_sum(weight);
    row.most = most;
    for (int k = 0; k < PLAIN_LANE_DIM; k++)
        row.out[k] *= keep;
    b.weight1[b.lane] = weight;
    __syncwarp();
    plain_add(b.weight1, b.tile2, a.dim, b.lane, row.out);
    __syncwarp();
}

static __global__ void plain_forward_kernel(struct attention_args a)
{
    CUDA_SHARED_DYNAMIC(memory);
    struct plain_block b = plain_block(a, memory);
    struct plain_row rows[PLAIN_PER_WARP];
    int64_t first = a.query_start + b.first_row;
    if (first >= b.span.length)
        return; /* all threads */
    for (int r = 0; r < PLAIN_PER_WARP; r++) {
        rows[r].most = -INFINITY;
        rows[r].sum = 0;
        for (int k = 0; k < PLAIN_LANE_DIM; k++)
            rows[r].out[k] = 0;
    }
    plain_fill(a, b, a.qkv, 0, first, PLAIN_ROWS, a.dim, b.own1);
    for (int64_t key = 0; key < b.span.length; key += PLAIN_TILE) {
        plain_fill(a, b, a.qkv, 1, key, PLAIN_TILE, a.dim + 1, b.tile1);
        plain_fill(a, b, a.qkv, 2, key, PLAIN_TILE, a.dim + 1, b.tile2);
        __syncthreads();
        for (int r = 0; r < PLAIN_PER_WARP; r++)
            plain_row_tile(a, b, b.own1 + (b.warp * PLAIN_PER_WARP + r) * a.dim,
                           key + b.lane < b.span.length, rows[r]);
        __syncthreads();
    }
    for (int r = 0; r < PLAIN_PER_WARP; r++) {
        int64_t row = first + b.warp * PLAIN_PER_WARP + r, token = b.span.first + row;
        if (row >= b.span.length)
            break;
        plain_write(a.out, attention_out_at(a, token, b.head), a.dim, b.lane, 1.0f / rows[r].sum,
                    rows[r].out);
        if (a.lse && b.lane == 0)
            a.lse[token * a.heads + b.head] = rows[r].most + logf(rows[r].sum);
    }
}

enum ij_status cuda_attention_plain(struct cuda_backend *cuda, const struct attention_args *a,
                                    struct ij_err *reterr_err)
{
    if (a->query_start >= a->length)
        return IJ_OK;
    size_t shared = plain_shared_bytes(a->dim);
    CUDA_TRY(cuda, cudaFuncSetAttribute(plain_forward_kernel,
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared));
    int64_t tiles = (a->length - a->query_start + PLAIN_ROWS - 1) / PLAIN_ROWS;
    CUDA_LAUNCH(plain_forward_kernel, dim3((unsigned)(a->sequences * a->heads), (unsigned)tiles),
                dim3(PLAIN_WARPS * CUDA_WARP), shared, cuda->stream, *a);
    return IJ_OK;
}
