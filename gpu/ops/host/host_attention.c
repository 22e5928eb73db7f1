/*
 * Softmax attention, forward and backward, fused per sequence and head.
 *
 * The (sequence, head) pairs are split between the threads. One pair at a time: query rows in blocks
 * of HOST_ATTENTION_BLOCK, whose scores against all keys live in the thread's scratch; the score matrix
 * as a whole never exists. The backward pass recomputes a block's probabilities from the saved
 * log-sum-exp; the gradients of keys and values are summed over the blocks in order, so no result
 * depends on timing.
 */
#include "gpu/ops/host/host_attention.h"

#include <math.h>

#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_gemm.h"
#include "gpu/ops/host/host_tensor.h"

#define HOST_HEAD_DIM_MAX    256
#define HOST_LENGTH_RESERVED 4096 /* scratch for longer sequences is made when they come */

/* One head of one sequence as float32 matrices (length, head_dim) with a row stride each. */
struct host_head {
    int64_t length, dim, query_start;
    int64_t stride, out_stride; /* of q, k, v and their gradients; of out and dout */
    int64_t lse_stride;
    const float *q, *k, *v, *out, *dout;
    float *dq, *dk, *dv, *y; /* y: forward output */
    float *lse;
    float *scores, *dscores; /* (HOST_ATTENTION_BLOCK, length) */
    float *delta;            /* (length) */
};

size_t host_attention_local_floats(int64_t length, int64_t head_dim)
{
    size_t rows = (size_t)(length < HOST_LENGTH_RESERVED ? length : HOST_LENGTH_RESERVED);
    size_t dim = (size_t)(head_dim < HOST_HEAD_DIM_MAX ? head_dim : HOST_HEAD_DIM_MAX);
    return rows * (8 * dim + 2 * HOST_ATTENTION_BLOCK + 1);
}

static size_t host_attention_floats(int64_t length, int64_t dim)
{
    return (size_t)length * (size_t)(8 * dim + 2 * HOST_ATTENTION_BLOCK + 1);
}

/* ---- Rows of scores ----------------------------------------------------------------------------- */

HOST_CLONES static float host_attention_max(const float *x, int64_t n)
{
    float most = x[0];
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

/* x = e^(scale x - shift); returns the sum. */
HOST_CLONES static float host_attention_exp(float *x, float scale, float shift, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        x[i] = host_simd_exp(scale * x[i] - shift);
        sum += x[i];
    }
    return sum;
}

HOST_CLONES static void host_attention_scale(float *x, float factor, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        x[i] *= factor;
}

/* dp = p (dp - delta) scale: the gradient of the unscaled scores. */
HOST_CLONES static void host_attention_slope(float *restrict dp, const float *restrict p,
                                             float delta, float scale, int64_t n)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dp[i] = p[i] * (dp[i] - delta) * scale;
}

HOST_CLONES static float host_attention_dot(const float *x, const float *y, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* ---- Small products ------------------------------------------------------------------------------ */

/* c (m, n) = a (m, k) * b (n, k)^T */
static bool host_attention_nt(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                              const float *b, int64_t ldb, float *c, int64_t ldc)
{
    struct host_gemm_args args = {.m = m,
                                  .n = n,
                                  .k = k,
                                  .transpose_b = true,
                                  .a = a,
                                  .b = b,
                                  .c = c,
                                  .lda = lda,
                                  .ldb = ldb,
                                  .ldc = ldc,
                                  .alpha = 1};
    return host_gemm_f32(&args);
}

/* c (m, n) = a (m, k) * b (k, n) */
static bool host_attention_nn(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                              const float *b, int64_t ldb, float *c, int64_t ldc)
{
    struct host_gemm_args args = {.m = m,
                                  .n = n,
                                  .k = k,
                                  .a = a,
                                  .b = b,
                                  .c = c,
                                  .lda = lda,
                                  .ldb = ldb,
                                  .ldc = ldc,
                                  .alpha = 1};
    return host_gemm_f32(&args);
}

/* c (m, n) (+)= a (k, m)^T * b (k, n) */
static bool host_attention_tn(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                              const float *b, int64_t ldb, float *c, int64_t ldc, bool add)
{
    struct host_gemm_args args = {.m = m,
                                  .n = n,
                                  .k = k,
                                  .transpose_a = true,
                                  .a = a,
                                  .b = b,
                                  .c = c,
                                  .lda = lda,
                                  .ldb = ldb,
                                  .ldc = ldc,
                                  .alpha = 1,
                                  .beta = add ? 1 : 0};
    return host_gemm_f32(&args);
}

/* ---- One head ------------------------------------------------------------------------------------ */

/* NaN scores stay NaN: the sum takes them up even where the maximum does not. */
static bool host_head_forward(const struct host_head *head)
{
    int64_t length = head->length, dim = head->dim;
    float scale = 1.0f / sqrtf((float)dim);
    for (int64_t at = head->query_start; at < length; at += HOST_ATTENTION_BLOCK) {
        int64_t rows = at + HOST_ATTENTION_BLOCK < length ? HOST_ATTENTION_BLOCK : length - at;
        if (!host_attention_nt(rows, length, dim, head->q + at * head->stride, head->stride,
                               head->k, head->stride, head->scores, length))
            return false;
        for (int64_t row = 0; row < rows; row++) {
            float *scores = head->scores + row * length;
            float shift = scale * host_attention_max(scores, length);
            float sum = host_attention_exp(scores, scale, shift, length);
            host_attention_scale(scores, 1.0f / sum, length);
            if (head->lse)
                head->lse[(at + row) * head->lse_stride] = shift + logf(sum);
        }
        if (!host_attention_nn(rows, dim, length, head->scores, length, head->v, head->stride,
                               head->y + at * head->out_stride, head->out_stride))
            return false;
    }
    return true;
}

/* Scores of a block of query rows become probabilities, dscores their gradient times scale. */
static void host_head_backward_rows(const struct host_head *head, int64_t at, int64_t rows)
{
    float scale = 1.0f / sqrtf((float)head->dim);
    for (int64_t row = 0; row < rows; row++) {
        float *scores = head->scores + row * head->length;
        float *dscores = head->dscores + row * head->length;
        int64_t token = at + row;
        float delta = host_attention_dot(head->out + token * head->out_stride,
                                         head->dout + token * head->out_stride, head->dim);
        (void)host_attention_exp(scores, scale, head->lse[token * head->lse_stride], head->length);
        host_attention_slope(dscores, scores, delta, scale, head->length);
    }
}

static bool host_head_backward_block(const struct host_head *head, int64_t at, int64_t rows)
{
    int64_t length = head->length, dim = head->dim, stride = head->stride;
    const float *q = head->q + at * stride, *dout = head->dout + at * head->out_stride;
    bool add = at > head->query_start;
    if (!host_attention_nt(rows, length, dim, q, stride, head->k, stride, head->scores, length) ||
        !host_attention_nt(rows, length, dim, dout, head->out_stride, head->v, stride,
                           head->dscores, length))
        return false;
    host_head_backward_rows(head, at, rows);
    return host_attention_tn(length, dim, rows, head->scores, length, dout, head->out_stride,
                             head->dv, stride, add) &&
           host_attention_tn(length, dim, rows, head->dscores, length, q, stride, head->dk, stride,
                             add) &&
           host_attention_nn(rows, dim, length, head->dscores, length, head->k, stride,
                             head->dq + at * stride, stride);
}

static bool host_head_backward(const struct host_head *head)
{
    size_t row_bytes = (size_t)head->dim * sizeof(float);
    for (int64_t row = 0; row < head->query_start && row < head->length; row++)
        memset(head->dq + row * head->stride, 0, row_bytes);
    for (int64_t row = 0; head->query_start >= head->length && row < head->length; row++) {
        memset(head->dk + row * head->stride, 0, row_bytes);
        memset(head->dv + row * head->stride, 0, row_bytes);
    }
    for (int64_t at = head->query_start; at < head->length; at += HOST_ATTENTION_BLOCK) {
        int64_t left = head->length - at;
        int64_t rows = left < HOST_ATTENTION_BLOCK ? left : HOST_ATTENTION_BLOCK;
        if (!host_head_backward_block(head, at, rows))
            return false;
    }
    return true;
}

/* ---- Heads out of tensors ------------------------------------------------------------------------ */

/* (rows, dim) of a bfloat16 tensor with a row stride, into dense float32. */
static float *host_head_widen(const uint16_t *x, int64_t stride, int64_t rows, int64_t dim,
                              float **next)
{
    float *y = *next;
    for (int64_t row = 0; row < rows; row++)
        host_tensor_widen(x + row * stride, y + row * dim, dim);
    *next += rows * dim;
    return y;
}

static void host_head_narrow(const float *x, uint16_t *y, int64_t stride, int64_t begin,
                             int64_t rows, int64_t dim)
{
    for (int64_t row = begin; row < rows; row++)
        host_tensor_narrow(x + row * dim, y + row * stride, dim);
}

static float *host_head_take(float **next, int64_t count)
{
    float *y = *next;
    *next += count;
    return y;
}

/* The first token of sequence s and its length. */
static int64_t host_sequence(const int32_t *offsets, int64_t sequence, int64_t length,
                             int64_t *ret_length)
{
    *ret_length = offsets ? offsets[sequence + 1] - offsets[sequence] : length;
    return offsets ? offsets[sequence] : sequence * length;
}

static bool host_attention_forward_head(const struct op_attention_forward *args, int64_t sequence,
                                        int64_t h, float *local)
{
    int64_t dim = args->head_dim, width = args->heads * dim, length;
    int64_t first = host_sequence(args->offsets, sequence, args->length, &length);
    int64_t in_at = first * 3 * width + h * dim, out_at = first * width + h * dim;
    struct host_head head = {.length = length,
                             .dim = dim,
                             .query_start = args->query_start,
                             .stride = 3 * width,
                             .out_stride = width,
                             .lse_stride = args->heads};
    head.lse = args->lse ? args->lse + first * args->heads + h : NULL;
    float *next = local;
    head.scores = host_head_take(&next, HOST_ATTENTION_BLOCK * length);
    if (args->qkv.type == TENSOR_F32) {
        head.q = (const float *)args->qkv.data + in_at;
        head.k = head.q + width;
        head.v = head.k + width;
    } else {
        const uint16_t *q = (const uint16_t *)args->qkv.data + in_at;
        head.stride = dim;
        head.q = host_head_widen(q, 3 * width, length, dim, &next);
        head.k = host_head_widen(q + width, 3 * width, length, dim, &next);
        head.v = host_head_widen(q + 2 * width, 3 * width, length, dim, &next);
    }
    bool wide = args->out.type == TENSOR_F32;
    head.out_stride = wide ? width : dim;
    head.y = wide ? (float *)args->out.data + out_at : host_head_take(&next, length * dim);
    if (!host_head_forward(&head))
        return false;
    if (!wide)
        host_head_narrow(head.y, (uint16_t *)args->out.data + out_at, width, args->query_start,
                         length, dim);
    return true;
}

static bool host_attention_backward_head(const struct op_attention_backward *args, int64_t sequence,
                                         int64_t h, float *local)
{
    int64_t dim = args->head_dim, width = args->heads * dim, length;
    int64_t first = host_sequence(args->offsets, sequence, args->length, &length);
    int64_t in_at = first * 3 * width + h * dim, out_at = first * width + h * dim;
    struct host_head head = {.length = length,
                             .dim = dim,
                             .query_start = args->query_start,
                             .stride = 3 * width,
                             .out_stride = width,
                             .lse_stride = args->heads};
    head.lse = (float *)args->lse + first * args->heads + h;
    float *next = local;
    head.scores = host_head_take(&next, HOST_ATTENTION_BLOCK * length);
    head.dscores = host_head_take(&next, HOST_ATTENTION_BLOCK * length);
    if (args->qkv.type == TENSOR_F32) {
        head.q = (const float *)args->qkv.data + in_at;
        head.k = head.q + width;
        head.v = head.k + width;
        head.dq = (float *)args->dqkv.data + in_at;
        head.dk = head.dq + width;
        head.dv = head.dk + width;
        head.out = (const float *)args->out.data + out_at;
        head.dout = (const float *)args->dout.data + out_at;
        return host_head_backward(&head);
    }
    const uint16_t *q = (const uint16_t *)args->qkv.data + in_at;
    uint16_t *dq = (uint16_t *)args->dqkv.data + in_at;
    head.stride = head.out_stride = dim;
    head.q = host_head_widen(q, 3 * width, length, dim, &next);
    head.k = host_head_widen(q + width, 3 * width, length, dim, &next);
    head.v = host_head_widen(q + 2 * width, 3 * width, length, dim, &next);
    head.out =
        host_head_widen((const uint16_t *)args->out.data + out_at, width, length, dim, &next);
    head.dout =
        host_head_widen((const uint16_t *)args->dout.data + out_at, width, length, dim, &next);
    head.dq = host_head_take(&next, 3 * length * dim);
    head.dk = head.dq + length * dim;
    head.dv = head.dk + length * dim;
    if (!host_head_backward(&head))
        return false;
    for (int64_t i = 0; i < 3; i++)
        host_head_narrow(head.dq + i * length * dim, dq + i * width, 3 * width, 0, length, dim);
    return true;
}

/* ---- Operations ----------------------------------------------------------------------------------- */

static enum ij_status host_attention_check(const char *op, int64_t sequences, int64_t length,
                                           int64_t heads, int64_t dim, int64_t query_start,
                                           const int32_t *offsets, struct ij_err *reterr_err)
{
    if (sequences < 0 || length < 1 || heads < 1 || dim < 1 || query_start < 0)
        return IJ_ERR(reterr_err, IJ_INVALID,
                      "%s: %lld sequences of length %lld, %lld heads of %lld, queries from %lld",
                      op, (long long)sequences, (long long)length, (long long)heads, (long long)dim,
                      (long long)query_start);
    for (int64_t s = 0; offsets && s < sequences; s++)
        if (offsets[s + 1] < offsets[s] || offsets[s + 1] - offsets[s] > length)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "offsets",
                                "%s: sequence %lld has %d tokens, at most %lld are allowed", op,
                                (long long)s, offsets[s + 1] - offsets[s], (long long)length);
    return IJ_OK;
}

enum ij_status host_attention_forward(struct backend *backend,
                                      const struct op_attention_forward *args,
                                      struct ij_err *reterr_err)
{
    const char *op = "attention_forward";
    struct host_backend *host = host_backend_of(backend);
    IJ_TRY(host_attention_check(op, args->sequences, args->length, args->heads, args->head_dim,
                                args->query_start, args->offsets, reterr_err));
    IJ_TRY(host_tensor_check(op, "qkv", args->qkv, reterr_err));
    IJ_TRY(host_tensor_check(op, "out", args->out, reterr_err));
    IJ_TRY(host_backend_need(host, 0, host_attention_floats(args->length, args->head_dim),
                             reterr_err));
    bool failed = false;
#pragma omp parallel num_threads(backend->threads) reduction(|| : failed)
    {
        struct host_span span = host_my_part(args->sequences * args->heads, 1);
        for (int64_t i = span.begin; i < span.end && !failed; i++)
            failed = !host_attention_forward_head(args, i / args->heads, i % args->heads,
                                                  host_backend_local(host));
    }
    if (failed)
        return IJ_ERR(reterr_err, IJ_DEVICE, "%s: oneDNN refused a product, length %lld, head %lld",
                      op, (long long)args->length, (long long)args->head_dim);
    return IJ_OK;
}

enum ij_status host_attention_backward(struct backend *backend,
                                       const struct op_attention_backward *args,
                                       struct ij_err *reterr_err)
{
    const char *op = "attention_backward";
    struct host_backend *host = host_backend_of(backend);
    IJ_TRY(host_attention_check(op, args->sequences, args->length, args->heads, args->head_dim,
                                args->query_start, args->offsets, reterr_err));
    IJ_TRY(host_tensor_check(op, "qkv", args->qkv, reterr_err));
    IJ_TRY(host_tensor_check(op, "out", args->out, reterr_err));
    IJ_TRY(host_tensor_check(op, "dout", args->dout, reterr_err));
    IJ_TRY(host_tensor_check(op, "dqkv", args->dqkv, reterr_err));
    if (args->out.type != args->qkv.type || args->dout.type != args->qkv.type ||
        args->dqkv.type != args->qkv.type)
        return IJ_ERR(reterr_err, IJ_INVALID, "%s: all four tensors must have one type", op);
    IJ_TRY(host_backend_need(host, 0, host_attention_floats(args->length, args->head_dim),
                             reterr_err));
    bool failed = false;
#pragma omp parallel num_threads(backend->threads) reduction(|| : failed)
    {
        struct host_span span = host_my_part(args->sequences * args->heads, 1);
        for (int64_t i = span.begin; i < span.end && !failed; i++)
            failed = !host_attention_backward_head(args, i / args->heads, i % args->heads,
                                                   host_backend_local(host));
    }
    if (failed)
        return IJ_ERR(reterr_err, IJ_DEVICE, "%s: oneDNN refused a product, length %lld, head %lld",
                      op, (long long)args->length, (long long)args->head_dim);
    return IJ_OK;
}
