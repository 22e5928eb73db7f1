/* See host_softmax.h. */
#include "gpu/ops/host/host_softmax.h"

#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")
#include <string.h>

#include "gpu/ops/host/host_avx512.h"

#define SOFTMAX_STEP (16 * HOST_AVX512_EACH)

/* Up to 16 values from element `at` of a row; what the mask leaves out becomes zero. */
HOST_AVX512 void host_softmax_put(uint32_t *row, bool half, int64_t at, __mmask16 mask, __m512 v)
{
    if (half)
        _mm256_storeu_si256((__m256i *)(void *)((uint16_t *)(void *)row + at),
                            (__m256i)_mm512_maskz_cvtneps_pbh(mask, v));
    else
        _mm512_storeu_ps((float *)(void *)row + at, _mm512_maskz_mov_ps(mask, v));
}

/* Elements of a row from `at`, a multiple of 16, to its end. */
HOST_AVX512 void host_softmax_clear(uint32_t *row, bool half, int64_t at, int64_t words)
{
    int64_t from = half ? at / 2 : at;
    if (from < words)
        memset(row + from, 0, (size_t)(words - from) * sizeof *row);
}

HOST_AVX512 float host_softmax_max(const float *x, int64_t n)
{
    __m512 most = _mm512_set1_ps(-3.402823466e38f);
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 mask = host_avx512_mask(n - i);
        most = _mm512_mask_max_ps(most, mask, most, _mm512_loadu_ps(x + i));
    }
    return _mm512_reduce_max_ps(most);
}

HOST_AVX512 void host_softmax_rows(const struct host_softmax *args, bool half, float *shift,
                                   float *sum)
{
    __m512 scale = _mm512_set1_ps(args->scale);
    for (int64_t row = 0; row < args->rows; row++) {
        const float *x = args->scores + row * args->stride;
        uint32_t *p = args->p + row * args->words;
        shift[row] = args->scale * host_softmax_max(x, args->n);
        __m512 most = _mm512_set1_ps(shift[row]), total = _mm512_setzero_ps();
        int64_t i = 0;
        for (; i + SOFTMAX_STEP <= args->n; i += SOFTMAX_STEP) {
            __m512 e[HOST_AVX512_EACH];
            HOST_AVX512_FOR_EACH(v)
            e[v] = _mm512_fmsub_ps(_mm512_loadu_ps(x + i + 16 * v), scale, most);
            host_avx512_exps(e, HOST_AVX512_EACH);
            HOST_AVX512_FOR_EACH(v) total = _mm512_add_ps(total, e[v]);
            HOST_AVX512_FOR_EACH(v) host_softmax_put(p, half, i + 16 * v, 0xffff, e[v]);
        }
        for (; i < args->n; i += 16) {
            __mmask16 mask = host_avx512_mask(args->n - i);
            __m512 e = host_avx512_exp(_mm512_fmsub_ps(_mm512_loadu_ps(x + i), scale, most));
            total = _mm512_mask_add_ps(total, mask, total, e);
            host_softmax_put(p, half, i, mask, e);
        }
        host_softmax_clear(p, half, i, args->words);
        sum[row] = _mm512_reduce_add_ps(total);
    }
}

void host_softmax_forward(const struct host_softmax *args, float *shift, float *sum)
{
    if (args->type == TENSOR_BF16)
        host_softmax_rows(args, true, shift, sum);
    else
        host_softmax_rows(args, false, shift, sum);
}

HOST_AVX512 void host_softmax_slopes(const struct host_softmax *args, bool half, const float *lse,
                                     const float *delta)
{
    __m512 scale = _mm512_set1_ps(args->scale);
    for (int64_t row = 0; row < args->rows; row++) {
        const float *x = args->scores + row * args->stride;
        const float *dx = args->dscores + row * args->stride;
        uint32_t *p = args->p + row * args->words, *ds = args->ds + row * args->words;
        int64_t i = 0;
        for (; i + SOFTMAX_STEP <= args->n; i += SOFTMAX_STEP) {
            __m512 e[HOST_AVX512_EACH], rest[HOST_AVX512_EACH];
            HOST_AVX512_FOR_EACH(v)
            e[v] = _mm512_fmsub_ps(_mm512_loadu_ps(x + i + 16 * v), scale,
                                   _mm512_loadu_ps(lse + i + 16 * v));
            host_avx512_exps(e, HOST_AVX512_EACH);
            HOST_AVX512_FOR_EACH(v)
            rest[v] = _mm512_sub_ps(_mm512_loadu_ps(dx + i + 16 * v),
                                    _mm512_loadu_ps(delta + i + 16 * v));
            HOST_AVX512_FOR_EACH(v) host_softmax_put(p, half, i + 16 * v, 0xffff, e[v]);
            HOST_AVX512_FOR_EACH(v)
            host_softmax_put(ds, half, i + 16 * v, 0xffff,
                             _mm512_mul_ps(_mm512_mul_ps(e[v], rest[v]), scale));
        }
        for (; i < args->n; i += 16) {
            __mmask16 mask = host_avx512_mask(args->n - i);
            __m512 shift = _mm512_loadu_ps(lse + i), rest = _mm512_loadu_ps(delta + i);
            __m512 e = host_avx512_exp(_mm512_fmsub_ps(_mm512_loadu_ps(x + i), scale, shift));
            rest = _mm512_sub_ps(_mm512_loadu_ps(dx + i), rest);
            host_softmax_put(p, half, i, mask, e);
            host_softmax_put(ds, half, i, mask, _mm512_mul_ps(_mm512_mul_ps(e, rest), scale));
        }
        host_softmax_clear(p, half, i, args->words);
        host_softmax_clear(ds, half, i, args->words);
    }
}

void host_softmax_backward(const struct host_softmax *args, const float *lse, const float *delta)
{
    if (args->type == TENSOR_BF16)
        host_softmax_slopes(args, true, lse, delta);
    else
        host_softmax_slopes(args, false, lse, delta);
}

void host_softmax_store(const float *x, int64_t rows, int64_t columns, const float *factor,
                        struct tensor y, int64_t at, int64_t stride)
{
    __mmask16 mask[2] = {host_avx512_mask(columns), host_avx512_mask(columns - 16)};
    for (int64_t row = 0; row < rows; row++, at += stride, x += 32) {
        __m512 scale = _mm512_set1_ps(factor ? factor[row] : 1.0f);
        for (int i = 0; i < 2 && mask[i]; i++) {
            __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + 16 * i), scale);
            if (y.type == TENSOR_BF16)
                _mm256_mask_storeu_epi16((uint16_t *)y.data + at + 16 * i, mask[i],
                                         (__m256i)_mm512_cvtneps_pbh(v));
            else
                _mm512_mask_storeu_ps((float *)y.data + at + 16 * i, mask[i], v);
        }
    }
}

float host_softmax_dot(struct tensor x, struct tensor y, int64_t at, int64_t count)
{
    __m512 sum = _mm512_setzero_ps();
    for (int64_t i = 0; i < count; i += 16) {
        __mmask16 mask = host_avx512_mask(count - i);
        sum = _mm512_fmadd_ps(host_avx512_load(x.data, x.type == TENSOR_BF16, at + i, mask),
                              host_avx512_load(y.data, y.type == TENSOR_BF16, at + i, mask), sum);
    }
    return _mm512_reduce_add_ps(sum);
}
#endif
