/*
 * What one warp does with its tile of 16 rows against rows of the other side in shared memory: the
 * arithmetic of attention by matrix instructions, for sequences that lie there whole
 * (cuda_attention_mma*.cu) and for those that pass through in stages (cuda_attention_long.cu).
 *
 * Each of the three has a beginning, a step for some rows of the other side, and an end that
 * writes.
 */
#ifndef GPU_OPS_CUDA_ATTENTION_MMA_TILE_H
#define GPU_OPS_CUDA_ATTENTION_MMA_TILE_H

#include "gpu/ops/cuda/cuda_attention_mma.h"

#define MMA_CHUNK 64 /* keys between two corrections of the online softmax */

template <int DIM> static __device__ inline void mma_zero(struct fragment_c (&sum)[DIM / 8])
{
#pragma unroll
    for (int n = 0; n < DIM / 8; n++)
        sum[n] = {{0, 0, 0, 0}};
}

/* ---- Forward: a tile of queries -------------------------------------------------------------- */

/* Each lane has rows g and g + 8 of the tile. */
template <int DIM> struct mma_queries {
    struct fragment_a q[DIM / 16];
    struct fragment_c out[DIM / 8];
    float most[2], sum[2]; /* largest score times scale * log2(e); this lane's sum of powers */
};

/* Scores of MMA_CHUNK keys from `key`, times scale * log2(e); -infinity beyond the last key. */
template <int DIM>
static __device__ inline void
mma_chunk_scores(const struct mma_queries<DIM> &m, const uint16_t *keys, int key, int count,
                 float factor, int lane, struct fragment_c (&s)[MMA_CHUNK / 8])
{
#pragma unroll
    for (int n = 0; n < MMA_CHUNK / 8; n++) {
        int first = key + 8 * n, column = first + lane % 4 * 2;
        struct fragment_c c = {{0, 0, 0, 0}};
        if (first < count)
            c = mma_scores<DIM>(m.q, keys + first * (DIM + MMA_SKEW), lane);
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[n].v[i] = column + i % 2 < count ? c.v[i] * factor : -INFINITY;
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
static __device__ inline void mma_query_begin(const struct attention_args &a,
                                              const struct mma_block &b, int64_t row,
                                              struct mma_queries<DIM> &m)
{
    mma_rows<DIM>(a, b, a.qkv, 0, row, m.q);
    mma_zero<DIM>(m.out);
    m.most[0] = m.most[1] = -INFINITY;
    m.sum[0] = m.sum[1] = 0;
}

/* The first `count` keys and values in shared memory. */
template <int DIM>
static __device__ inline void
mma_query_keys(const struct attention_args &a, const struct mma_block &b, const uint16_t *keys,
               const uint16_t *values, int count, struct mma_queries<DIM> &m)
{
    for (int key = 0; key < count; key += MMA_CHUNK) {
        struct fragment_c s[MMA_CHUNK / 8];
        mma_chunk_scores<DIM>(m, keys, key, count, a.scale * MMA_LOG2E, b.lane, s);
        mma_chunk_softmax<DIM>(m, s);
#pragma unroll
        for (int k = 0; k < MMA_CHUNK / 16; k++)
            if (key + 16 * k < count)
                mma_add<DIM>(fragment_a_of_c(s[2 * k], s[2 * k + 1]),
                             values + (key + 16 * k) * (DIM + MMA_SKEW), b.lane, m.out);
    }
}

template <int DIM>
static __device__ inline void mma_query_end(const struct attention_args &a,
                                            const struct mma_block &b, int64_t row,
                                            const struct mma_queries<DIM> &m)
{
    float factor[2];
    for (int half = 0; half < 2; half++) {
        float sum = fragment_row_sum(m.sum[half]);
        int64_t r = row + b.lane / 4 + 8 * half;
        factor[half] = 1.0f / sum;
        if (a.lse && b.lane % 4 == 0 && r < b.span.length)
            a.lse[(b.span.first + r) * a.heads + b.head] = m.most[half] / MMA_LOG2E + logf(sum);
    }
    mma_write<DIM>(a, b, a.out, -1, row, 0, factor, m.out);
}

/* ---- Backward: a tile of queries ------------------------------------------------------------- */

template <int DIM> struct mma_dq {
    struct fragment_a q[DIM / 16], dout[DIM / 16];
    struct fragment_c dq[DIM / 8];
    float lse[2], delta[2]; /* of rows g and g + 8; lse times log2(e) */
};

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

/* Also leaves delta where the second kernel finds it. */
template <int DIM>
static __device__ inline void mma_dq_begin(const struct attention_args &a,
                                           const struct mma_block &b, int64_t row,
                                           struct mma_dq<DIM> &m)
{
    mma_zero<DIM>(m.dq);
    mma_rows<DIM>(a, b, a.qkv, 0, row, m.q);
    mma_rows<DIM>(a, b, a.dout, -1, row, m.dout);
    mma_delta<DIM>(a, b, row, m.dout, m.delta);
    for (int half = 0; half < 2; half++) {
        int64_t r = row + b.lane / 4 + 8 * half;
        int64_t at = (b.span.first + r) * a.heads + b.head;
        m.lse[half] = r < b.span.length ? a.lse[at] * MMA_LOG2E : 0.0f;
        if (b.lane % 4 == 0 && r < b.span.length)
            a.delta[at] = m.delta[half];
    }
}

/* Weights of dq: p (dp - delta) scale for 16 queries and the 8 keys from `key`. */
template <int DIM>
static __device__ inline struct fragment_c
mma_dq_weights(const struct attention_args &a, int lane, const uint16_t *keys,
               const uint16_t *values, int key, int count, const struct mma_dq<DIM> &m)
{
    struct fragment_c s = mma_scores<DIM>(m.q, keys + key * (DIM + MMA_SKEW), lane);
    struct fragment_c dp = mma_scores<DIM>(m.dout, values + key * (DIM + MMA_SKEW), lane);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float p = exp2f(s.v[i] * a.scale * MMA_LOG2E - m.lse[i / 2]);
        bool present = key + lane % 4 * 2 + i % 2 < count;
        s.v[i] = present ? p * (dp.v[i] - m.delta[i / 2]) * a.scale : 0.0f;
    }
    return s;
}

template <int DIM>
static __device__ inline void mma_dq_keys(const struct attention_args &a, const struct mma_block &b,
                                          const uint16_t *keys, const uint16_t *values, int count,
                                          struct mma_dq<DIM> &m)
{
    for (int key = 0; key < count; key += 16) {
        struct fragment_c left = mma_dq_weights<DIM>(a, b.lane, keys, values, key, count, m);
        struct fragment_c right = mma_dq_weights<DIM>(a, b.lane, keys, values, key + 8, count, m);
        mma_add<DIM>(fragment_a_of_c(left, right), keys + key * (DIM + MMA_SKEW), b.lane, m.dq);
    }
}

template <int DIM>
static __device__ inline void mma_dq_end(const struct attention_args &a, const struct mma_block &b,
                                         int64_t row, const struct mma_dq<DIM> &m)
{
    const float factor[2] = {1, 1};
    mma_write<DIM>(a, b, a.dqkv, 0, row, a.query_start, factor, m.dq);
}

/* ---- Backward: a tile of keys ---------------------------------------------------------------- */

template <int DIM> struct mma_dkv {
    struct fragment_a k[DIM / 16], v[DIM / 16];
    struct fragment_c dk[DIM / 8], dv[DIM / 8];
};

/* Queries with what belongs to them, in shared memory. */
struct mma_shared {
    uint16_t *queries, *douts;
    float *lse, *delta; /* lse times log2(e), infinite beyond the last row */
};

template <int DIM>
static __device__ inline struct mma_shared mma_shared_of(unsigned char *memory, int rows)
{
    struct mma_shared s;
    s.queries = (uint16_t *)(void *)memory;
    s.douts = s.queries + rows * (DIM + MMA_SKEW);
    s.lse = (float *)(void *)(s.douts + rows * (DIM + MMA_SKEW));
    s.delta = s.lse + rows;
    return s;
}

/* `count` queries from row `from` of the sequence, filled up to a multiple of 16. */
template <int DIM>
static __device__ inline void mma_shared_fill(const struct attention_args &a,
                                              const struct mma_block &b, int64_t from, int count,
                                              const struct mma_shared &s)
{
    mma_fill<DIM>(a, b, a.qkv, 0, from, count, s.queries);
    mma_fill<DIM>(a, b, a.dout, -1, from, count, s.douts);
    for (int i = (int)threadIdx.x; i < mma_round(count); i += (int)blockDim.x) {
        int64_t at = (b.span.first + from + i) * a.heads + b.head;
        s.lse[i] = i < count ? a.lse[at] * MMA_LOG2E : INFINITY;
        s.delta[i] = i < count ? a.delta[at] : 0.0f;
    }
}

template <int DIM>
static __device__ inline void mma_dkv_begin(const struct attention_args &a,
                                            const struct mma_block &b, int64_t row,
                                            struct mma_dkv<DIM> &m)
{
    mma_zero<DIM>(m.dk);
    mma_zero<DIM>(m.dv);
    mma_rows<DIM>(a, b, a.qkv, 1, row, m.k);
    mma_rows<DIM>(a, b, a.qkv, 2, row, m.v);
}

/* p and p (dp - delta) scale for 16 keys and the 8 queries from `query` on. */
template <int DIM>
static __device__ inline void
mma_dkv_weights(const struct attention_args &a, int lane, const struct mma_shared &s, int query,
                const struct mma_dkv<DIM> &m, struct fragment_c &p, struct fragment_c &ds)
{
    p = mma_scores<DIM>(m.k, s.queries + query * (DIM + MMA_SKEW), lane);
    ds = mma_scores<DIM>(m.v, s.douts + query * (DIM + MMA_SKEW), lane);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int at = query + lane % 4 * 2 + i % 2;
        p.v[i] = exp2f(p.v[i] * a.scale * MMA_LOG2E - s.lse[at]);
        ds.v[i] = p.v[i] * (ds.v[i] - s.delta[at]) * a.scale;
    }
}

template <int DIM>
static __device__ inline void mma_dkv_queries(const struct attention_args &a,
                                              const struct mma_block &b, const struct mma_shared &s,
                                              int count, struct mma_dkv<DIM> &m)
{
    for (int query = 0; query < count; query += 16) {
        struct fragment_c p[2], ds[2];
        for (int i = 0; i < 2; i++)
            mma_dkv_weights<DIM>(a, b.lane, s, query + 8 * i, m, p[i], ds[i]);
        mma_add<DIM>(fragment_a_of_c(p[0], p[1]), s.douts + query * (DIM + MMA_SKEW), b.lane, m.dv);
        mma_add<DIM>(fragment_a_of_c(ds[0], ds[1]), s.queries + query * (DIM + MMA_SKEW), b.lane,
                     m.dk);
    }
}

template <int DIM>
static __device__ inline void mma_dkv_end(const struct attention_args &a, const struct mma_block &b,
                                          int64_t row, const struct mma_dkv<DIM> &m)
{
    const float factor[2] = {1, 1};
    mma_write<DIM>(a, b, a.dqkv, 1, row, 0, factor, m.dk);
    mma_write<DIM>(a, b, a.dqkv, 2, row, 0, factor, m.dv);
}

#endif
