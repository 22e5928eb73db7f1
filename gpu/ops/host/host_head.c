/*
 * Softmax attention of one head, forward and backward, without a score matrix.
 *
 * Query rows go in blocks of HOST_HEAD_BLOCK, whose scores against all keys live in scratch. The
 * backward pass recomputes a block's probabilities from the saved log-sum-exp; the gradients of
 * keys and values are summed over the blocks in order. Keys (backward: values too) are transposed
 * once per head, so that every product reads its right side along rows.
 */
#include <math.h>

#include "gpu/ops/host/host_attention.h"
#include "gpu/ops/host/host_simd.h"
#include "gpu/ops/host/host_small.h"

#define HOST_HEAD_BLOCK 32 /* query rows whose scores exist at one time */

/* The parts of a head's scratch; rows of scores are `row` floats apart. */
struct host_head_room {
    int64_t row;
    float *scores, *dscores; /* (HOST_HEAD_BLOCK, row) */
    float *keys, *values;    /* (dim, row), transposed */
};

size_t host_head_floats(int64_t length, int64_t dim)
{
    return 2 * (size_t)host_small_padded(length) * (size_t)(HOST_HEAD_BLOCK + dim);
}

static struct host_head_room host_head_room(const struct host_head *head)
{
    int64_t row = host_small_padded(head->length);
    struct host_head_room room = {.row = row, .scores = head->scratch};
    room.dscores = room.scores + HOST_HEAD_BLOCK * row;
    room.keys = room.dscores + HOST_HEAD_BLOCK * row;
    room.values = room.keys + head->dim * row;
    return room;
}

/* ---- Rows of scores -------------------------------------------------------------------------- */

HOST_INLINE float host_head_max(const float *x, int64_t n)
{
    float most = x[0];
#pragma omp simd reduction(max : most)
    for (int64_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

/* x = e^(scale x - shift); returns the sum. */
HOST_INLINE float host_head_exp(float *x, float scale, float shift, int64_t n)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        x[i] = host_simd_exp(scale * x[i] - shift);
        sum += x[i];
    }
    return sum;
}

/* Rows of unscaled scores become probabilities; `shift` and `sum` (rows) give the log-sum-exp. A
 * NaN score stays one: the sum takes it up even where the maximum does not. */
HOST_CLONES static void host_head_softmax(float *scores, int64_t row, int64_t rows, int64_t n,
                                          float scale, float *restrict shift, float *restrict sum)
{
    for (int64_t r = 0; r < rows; r++, scores += row) {
        shift[r] = scale * host_head_max(scores, n);
        sum[r] = host_head_exp(scores, scale, shift[r], n);
        float factor = 1.0f / sum[r];
#pragma omp simd
        for (int64_t i = 0; i < n; i++)
            scores[i] *= factor;
    }
}

/* One row of the backward pass: the scores become probabilities p, and dp the gradient of the
 * unscaled scores, p (dp - out.dout) scale. */
HOST_CLONES static void host_head_slope(float *restrict p, float *restrict dp,
                                        const float *restrict out, const float *restrict dout,
                                        float lse, float scale, int64_t n, int64_t dim)
{
    float delta = 0;
#pragma omp simd reduction(+ : delta)
    for (int64_t i = 0; i < dim; i++)
        delta += out[i] * dout[i];
    (void)host_head_exp(p, scale, lse, n);
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dp[i] = p[i] * (dp[i] - delta) * scale;
}

/* ---- Products -------------------------------------------------------------------------------- */

/* scores (rows, row) = x (rows, dim) * transposed (dim, row) */
static void host_head_scores(const struct host_head *head, const float *x, int64_t stride,
                             int64_t rows, const float *transposed, int64_t row, float *scores)
{
    struct host_small_args args = {.m = rows,
                                   .n = row,
                                   .k = head->dim,
                                   .a = x,
                                   .a_row = stride,
                                   .a_step = 1,
                                   .b = transposed,
                                   .ldb = row,
                                   .c = scores,
                                   .ldc = row};
    host_small_product(&args);
}

/* y (rows, dim) = weights (rows, length) * x (length, dim) */
static void host_head_mix(const struct host_head *head, const float *weights, int64_t row,
                          int64_t rows, const float *x, float *y, int64_t stride)
{
    struct host_small_args args = {.m = rows,
                                   .n = head->dim,
                                   .k = head->length,
                                   .a = weights,
                                   .a_row = row,
                                   .a_step = 1,
                                   .b = x,
                                   .ldb = head->stride,
                                   .c = y,
                                   .ldc = stride};
    host_small_product(&args);
}

/* y (length, dim) (+)= weights (rows, length)^T * x (rows, dim) */
static void host_head_spread(const struct host_head *head, const float *weights, int64_t row,
                             int64_t rows, const float *x, int64_t stride, float *y, bool add)
{
    struct host_small_args args = {.m = head->length,
                                   .n = head->dim,
                                   .k = rows,
                                   .a = weights,
                                   .a_row = 1,
                                   .a_step = row,
                                   .b = x,
                                   .ldb = stride,
                                   .c = y,
                                   .ldc = head->stride,
                                   .add = add};
    host_small_product(&args);
}

/* ---- Passes ---------------------------------------------------------------------------------- */

void host_head_forward(const struct host_head *head)
{
    struct host_head_room room = host_head_room(head);
    int64_t length = head->length;
    float shift[HOST_HEAD_BLOCK], sum[HOST_HEAD_BLOCK];
    if (head->query_start >= length)
        return;
    host_small_transpose(head->k, head->stride, length, head->dim, room.keys);
    for (int64_t at = head->query_start; at < length; at += HOST_HEAD_BLOCK) {
        int64_t rows = at + HOST_HEAD_BLOCK < length ? HOST_HEAD_BLOCK : length - at;
        host_head_scores(head, head->q + at * head->stride, head->stride, rows, room.keys, room.row,
                         room.scores);
        host_head_softmax(room.scores, room.row, rows, length, head->scale, shift, sum);
        for (int64_t r = 0; head->lse && r < rows; r++)
            head->lse[(at + r) * head->lse_stride] = shift[r] + logf(sum[r]);
        host_head_mix(head, room.scores, room.row, rows, head->v, head->y + at * head->out_stride,
                      head->out_stride);
    }
}

static void host_head_backward_block(const struct host_head *head,
                                     const struct host_head_room *room, int64_t at, int64_t rows)
{
    const float *q = head->q + at * head->stride, *dout = head->dout + at * head->out_stride;
    bool add = at > head->query_start;
    host_head_scores(head, q, head->stride, rows, room->keys, room->row, room->scores);
    host_head_scores(head, dout, head->out_stride, rows, room->values, room->row, room->dscores);
    for (int64_t r = 0; r < rows; r++) {
        int64_t token = at + r;
        host_head_slope(room->scores + r * room->row, room->dscores + r * room->row,
                        head->out + token * head->out_stride, head->dout + token * head->out_stride,
                        head->lse[token * head->lse_stride], head->scale, head->length, head->dim);
    }
    host_head_spread(head, room->scores, room->row, rows, dout, head->out_stride, head->dv, add);
    host_head_spread(head, room->dscores, room->row, rows, q, head->stride, head->dk, add);
    host_head_mix(head, room->dscores, room->row, rows, head->k, head->dq + at * head->stride,
                  head->stride);
}

static void host_head_zero(float *x, int64_t rows, int64_t stride, int64_t dim)
{
    for (int64_t row = 0; row < rows; row++)
        memset(x + row * stride, 0, (size_t)dim * sizeof(float));
}

void host_head_backward(const struct host_head *head)
{
    struct host_head_room room = host_head_room(head);
    int64_t length = head->length, start = head->query_start;
    host_head_zero(head->dq, start < length ? start : length, head->stride, head->dim);
    if (start >= length) {
        host_head_zero(head->dk, length, head->stride, head->dim);
        host_head_zero(head->dv, length, head->stride, head->dim);
        return;
    }
    host_small_transpose(head->k, head->stride, length, head->dim, room.keys);
    host_small_transpose(head->v, head->stride, length, head->dim, room.values);
    for (int64_t at = start; at < length; at += HOST_HEAD_BLOCK) {
        int64_t rows = at + HOST_HEAD_BLOCK < length ? HOST_HEAD_BLOCK : length - at;
        host_head_backward_block(head, &room, at, rows);
    }
}
