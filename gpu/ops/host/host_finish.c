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

/* Up to 16 values at `at`. */
HOST_AVX512 void host_finish_vector(const struct host_finish *f, unsigned flags, int64_t at,
                                    __mmask16 mask, __m512 v, int64_t column)
{
    if (flags & BIAS)
        v = _mm512_add_ps(v, _mm512_maskz_loadu_ps(mask, f->bias + column));
    if (flags & PRE)
        host_finish_store(&f->pre, flags & PRE_HALF, at, mask, v);
    if (flags & (GELU | GELU_TANH))
        v = flags & TABLES ? host_avx512_gelu_table(f->gelu, v, flags & GELU_TANH)
                           : host_avx512_gelu(v, flags & GELU_TANH);
    if (flags & SLOPE) {
        __m512 pre = host_avx512_load(f->slope_pre.data, flags & SLOPE_HALF, at, mask);
        v = _mm512_mul_ps(v, flags & TABLES
                                 ? host_avx512_slope_table(f->gelu, pre, flags & SLOPE_TANH)
                                 : host_avx512_gelu_slope(pre, flags & SLOPE_TANH));
    }
    if (flags & RESIDUAL)
        v = _mm512_add_ps(v, host_avx512_load(f->residual.data, flags & RESIDUAL_HALF, at, mask));
    host_finish_store(&f->y, flags & HALF, at, mask, v);
}

HOST_AVX512 void host_finish_body(const struct host_finish *f, const struct host_finish_part *part,
                                  const float *sum, unsigned flags)
{
    const struct host_finish local = *f; /* stores cannot change it: it stays in registers */
    __mmask16 left = host_avx512_mask(part->columns), right = host_avx512_mask(part->columns - 16);
    int64_t at = part->row * local.stride + part->column;
    for (int64_t row = 0; row < part->rows; row++, at += local.stride, sum += HOST_TILE_COLUMNS) {
        host_finish_vector(&local, flags, at, left, _mm512_load_ps(sum), part->column);
        if (right)
            host_finish_vector(&local, flags, at + 16, right, _mm512_load_ps(sum + 16),
                               part->column + 16);
    }
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
