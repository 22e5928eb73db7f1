/*
 * See host_finish.h. One body, in which constant flags leave out what is not asked for, for each
 * combination that a model uses; and the same body with flags of any value.
 */
#include "gpu/ops/host/host_finish.h"

#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#include "gpu/ops/host/host_avx512.h"
#include "gpu/ops/host/host_tile.h"

enum {
    BIAS = 1 << 0,
    PRE = 1 << 1,
    PRE_HALF = 1 << 2, /* _HALF: bfloat16 */
    GELU = 1 << 3,
    GELU_TANH = 1 << 4,
    SLOPE = 1 << 5,
    SLOPE_HALF = 1 << 6,
    SLOPE_TANH = 1 << 7,
    RESIDUAL = 1 << 8,
    RESIDUAL_HALF = 1 << 9,
    HALF = 1 << 10,
    TABLES = 1 << 11,
};

static unsigned host_finish_flags(const struct host_finish *f)
{
    unsigned flags = (f->bias ? BIAS : 0) | (f->gelu ? TABLES : 0);
    flags |= f->pre.data ? PRE | (f->pre.type == TENSOR_BF16 ? PRE_HALF : 0) : 0;
    flags |= f->activation == ACTIVATION_GELU        ? GELU
             : f->activation == ACTIVATION_GELU_TANH ? GELU_TANH
                                                     : 0;
    if (f->slope_pre.data)
        flags |= SLOPE | (f->slope_pre.type == TENSOR_BF16 ? SLOPE_HALF : 0) |
                 (f->slope_tanh ? SLOPE_TANH : 0);
    if (f->residual.data)
        flags |= RESIDUAL | (f->residual.type == TENSOR_BF16 ? RESIDUAL_HALF : 0);
    return flags | (f->y.type == TENSOR_BF16 ? HALF : 0);
}

HOST_AVX512 void host_finish_store(const struct tensor *t, bool half, int64_t at, __mmask16 mask,
                                   __m512 v)
{
    if (half)
        _mm256_mask_storeu_epi16((uint16_t *)t->data + at, mask, (__m256i)_mm512_cvtneps_pbh(v));
    else
        _mm512_mask_storeu_ps((float *)t->data + at, mask, v);
}

/* 32 values of a row: whole lines of the cache, which `stream` lets pass it. */
HOST_AVX512 void host_finish_store_lines(const struct tensor *t, bool half, bool stream, int64_t at,
                                         const __m512 v[2])
{
    if (!stream) {
        host_finish_store(t, half, at, 0xffff, v[0]);
        host_finish_store(t, half, at + 16, 0xffff, v[1]);
    } else if (half) {
        _mm512_stream_si512((__m512i *)((uint16_t *)t->data + at),
                            (__m512i)_mm512_cvtne2ps_pbh(v[1], v[0]));
    } else {
        _mm512_stream_ps((float *)t->data + at, v[0]);
        _mm512_stream_ps((float *)t->data + at + 16, v[1]);
    }
}

/* Up to 16 values at each at[i]: v from pre to y. */
HOST_AVX512 void host_finish_values(const struct host_finish *f, unsigned flags,
                                    const int64_t at[HOST_AVX512_EACH],
                                    const __mmask16 mask[HOST_AVX512_EACH],
                                    __m512 v[HOST_AVX512_EACH])
{
    __m512 pre[HOST_AVX512_EACH];
    if (flags & (GELU | GELU_TANH) && flags & TABLES)
        host_avx512_gelu_table(f->gelu, v, flags & GELU_TANH);
    else if (flags & (GELU | GELU_TANH))
        HOST_AVX512_FOR_EACH(i) v[i] = host_avx512_gelu(v[i], flags & GELU_TANH);
    if (flags & SLOPE) {
        HOST_AVX512_FOR_EACH(i)
        pre[i] = host_avx512_load(f->slope_pre.data, flags & SLOPE_HALF, at[i], mask[i]);
        if (flags & TABLES)
            host_avx512_slope_table(f->gelu, pre, flags & SLOPE_TANH);
        else
            HOST_AVX512_FOR_EACH(i) pre[i] = host_avx512_gelu_slope(pre[i], flags & SLOPE_TANH);
        HOST_AVX512_FOR_EACH(i) v[i] = _mm512_mul_ps(v[i], pre[i]);
    }
    if (flags & RESIDUAL)
        HOST_AVX512_FOR_EACH(i)
    v[i] = _mm512_add_ps(v[i],
                         host_avx512_load(f->residual.data, flags & RESIDUAL_HALF, at[i], mask[i]));
}

/* Two rows of up to 32 columns from element `at`; of the second nothing if there is no `second`. */
HOST_AVX512 void host_finish_rows(const struct host_finish *f, unsigned flags, int64_t first,
                                  bool second, const __mmask16 columns[2], const float *sum,
                                  const __m512 bias[2])
{
    __m512 v[HOST_AVX512_EACH];
    const int64_t below = first + (second ? f->stride : 0);
    const int64_t at[] = {first, first + 16, below, below + 16};
    const __mmask16 none = second ? 0xffff : 0;
    const __mmask16 mask[] = {columns[0], columns[1], columns[0] & none, columns[1] & none};
    HOST_AVX512_FOR_EACH(i) v[i] = _mm512_load_ps(sum + 16 * i);
    if (flags & BIAS)
        HOST_AVX512_FOR_EACH(i) v[i] = _mm512_add_ps(v[i], bias[i % 2]);
    bool lines = (columns[1] & none) == 0xffff;
    for (int i = 0; flags & PRE && i < HOST_AVX512_EACH; i += lines ? 2 : 1)
        if (lines)
            host_finish_store_lines(&f->pre, flags & PRE_HALF, f->stream, at[i], v + i);
        else
            host_finish_store(&f->pre, flags & PRE_HALF, at[i], mask[i], v[i]);
    host_finish_values(f, flags, at, mask, v);
    for (int i = 0; i < HOST_AVX512_EACH; i += lines ? 2 : 1)
        if (lines)
            host_finish_store_lines(&f->y, flags & HALF, f->stream, at[i], v + i);
        else
            host_finish_store(&f->y, flags & HALF, at[i], mask[i], v[i]);
}

HOST_AVX512 void host_finish_body(const struct host_finish *f, const struct host_finish_part *part,
                                  const float *sum, unsigned flags)
{
    const struct host_finish local = *f; /* stores cannot change it: it stays in registers */
    const __mmask16 columns[2] = {host_avx512_mask(part->columns),
                                  host_avx512_mask(part->columns - 16)};
    __m512 bias[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int i = 0; i < 2 && flags & BIAS; i++)
        bias[i] = _mm512_maskz_loadu_ps(columns[i], local.bias + part->column + 16 * i);
    int64_t at = part->row * local.stride + part->column;
    for (int64_t row = 0; row < part->rows; row += 2, sum += 2 * HOST_TILE_COLUMNS) {
        host_finish_rows(&local, flags, at, row + 1 < part->rows, columns, sum, bias);
        at += 2 * local.stride;
    }
}

HOST_AVX512 void host_finish_fetch_lines(const struct tensor *t, int64_t stride,
                                         const struct host_finish_part *part)
{
    int64_t size = (int64_t)tensor_type_size(t->type), lines = (part->columns * size + 63) / 64;
    const char *x = (const char *)t->data + (part->row * stride + part->column) * size;
    for (int64_t row = 0; row < part->rows; row++, x += stride * size)
        for (int64_t line = 0; line < lines; line++)
            _mm_prefetch(x + 64 * line, _MM_HINT_T1);
}

void host_finish_end(const struct host_finish *finish)
{
    if (finish->stream)
        _mm_sfence();
}

void host_finish_fetch(const struct host_finish *finish, const struct host_finish_part *part)
{
    if (finish->slope_pre.data)
        host_finish_fetch_lines(&finish->slope_pre, finish->stride, part);
    if (!finish->stream)
        host_finish_fetch_lines(&finish->y, finish->stride, part);
    if (!finish->stream && finish->pre.data)
        host_finish_fetch_lines(&finish->pre, finish->stride, part);
}

/* The combinations of a model, in bfloat16 and in float32. */
#define HOST_FINISH_LIST(X)                                                                        \
    X(TABLES | HALF)                                                                               \
    X(TABLES | BIAS)                                                                               \
    X(TABLES | BIAS | HALF)                                                                        \
    X(TABLES | BIAS | RESIDUAL)                                                                    \
    X(TABLES | BIAS | GELU | HALF)                                                                 \
    X(TABLES | BIAS | PRE | PRE_HALF | GELU | HALF)                                                \
    X(TABLES | SLOPE | SLOPE_HALF | HALF)                                                          \
    X(TABLES | BIAS | PRE | PRE_HALF | GELU_TANH | HALF)                                           \
    X(TABLES | SLOPE | SLOPE_HALF | SLOPE_TANH | HALF)                                             \
    X(0)                                                                                           \
    X(BIAS)                                                                                        \
    X(BIAS | RESIDUAL)                                                                             \
    X(BIAS | GELU)                                                                                 \
    X(BIAS | PRE | GELU)                                                                           \
    X(SLOPE)

void host_finish_tile(const struct host_finish *finish, const struct host_finish_part *part,
                      const float *sum)
{
    unsigned flags = host_finish_flags(finish);
    switch (flags) {
#define X(known)                                                                                   \
    case known:                                                                                    \
        host_finish_body(finish, part, sum, known);                                                \
        break;
        HOST_FINISH_LIST(X)
#undef X
    default:
        host_finish_body(finish, part, sum, flags);
    }
}
#endif
