/*
 * Softmax attention, forward and backward: heads out of tensors, split between the threads.
 *
 * The (sequence, head) pairs are dealt out by host_deal.h. Where the level has a product for
 * the type, host_head_tile.c computes one; elsewhere host_head.c, in float32: there a head whose
 * size is a multiple of 8 is used where it lies; others (bfloat16, odd sizes) are copied into the
 * thread's scratch with rows padded by zeros, and their results copied back.
 */
#include "gpu/ops/host/host_attention.h"

#include <math.h>

#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_deal.h"
#include "gpu/ops/host/host_head_tile.h"
#include "gpu/ops/host/host_small.h"
#include "gpu/ops/host/host_tensor.h"

#define HOST_HEAD_DIM_RESERVED 256 /* scratch for larger ones is made when they come */
#define HOST_LENGTH_RESERVED   4096
#define HOST_HEAD_COPIES       8 /* q k v out dout dq dk dv */
#define HOST_HEAD_PIECES       8 /* of a thread's heads, at least */

static size_t host_attention_floats(int64_t length, int64_t dim)
{
    int64_t padded = host_small_padded(dim);
    size_t plain = host_head_floats(length, padded) + HOST_HEAD_COPIES * (size_t)(length * padded);
    size_t tiles = host_head_tile_floats(length, dim);
    return plain > tiles ? plain : tiles;
}

size_t host_attention_local_floats(int64_t length, int64_t head_dim)
{
    return host_attention_floats(length < HOST_LENGTH_RESERVED ? length : HOST_LENGTH_RESERVED,
                                 head_dim < HOST_HEAD_DIM_RESERVED ? head_dim
                                                                   : HOST_HEAD_DIM_RESERVED);
}

/* ---- Copies ---------------------------------------------------------------------------------- */

/* Where one head lies: elements first, first + 1, ... of row 0, rows `stride` elements apart. */
struct host_slice {
    struct tensor tensor;
    int64_t first, stride, rows, dim;
};

static bool host_slice_direct(struct tensor t, int64_t dim)
{
    return t.type == TENSOR_F32 && dim % 8 == 0;
}

static float *host_slice_take(const struct host_slice *slice, float **next)
{
    float *y = *next;
    *next += slice->rows * host_small_padded(slice->dim);
    return y;
}

/* A float32 copy with padded rows. */
static float *host_slice_read(const struct host_slice *slice, float **next)
{
    int64_t padded = host_small_padded(slice->dim);
    float *y = host_slice_take(slice, next);
    for (int64_t row = 0; row < slice->rows; row++) {
        float *target = y + row * padded;
        const float *x =
            host_tensor_read(slice->tensor, slice->first + row * slice->stride, slice->dim, target);
        if (x != target)
            memcpy(target, x, (size_t)slice->dim * sizeof(float));
        for (int64_t i = slice->dim; i < padded; i++)
            target[i] = 0;
    }
    return y;
}

/* Rows from `begin` on of a copy back into the tensor. */
static void host_slice_write(const struct host_slice *slice, const float *x, int64_t begin)
{
    int64_t padded = host_small_padded(slice->dim);
    for (int64_t row = begin; row < slice->rows; row++) {
        int64_t at = slice->first + row * slice->stride;
        if (slice->tensor.type == TENSOR_F32)
            memcpy((float *)slice->tensor.data + at, x + row * padded,
                   (size_t)slice->dim * sizeof(float));
        host_tensor_write(slice->tensor, at, slice->dim, x + row * padded);
    }
}

/* The first token of sequence s and its length. */
static int64_t host_sequence(const int32_t *offsets, int64_t sequence, int64_t length,
                             int64_t *ret_length)
{
    *ret_length = offsets ? offsets[sequence + 1] - offsets[sequence] : length;
    return offsets ? offsets[sequence] : sequence * length;
}

/* q, k, v of a head, in place or copied. */
static void host_attention_inputs(struct host_head *head, const struct host_slice *q, int64_t width,
                                  float **next)
{
    struct host_slice part = *q;
    if (host_slice_direct(q->tensor, q->dim)) {
        head->q = (const float *)q->tensor.data + q->first;
        head->k = head->q + width;
        head->v = head->k + width;
        head->stride = q->stride;
        return;
    }
    head->stride = host_small_padded(q->dim);
    head->q = host_slice_read(&part, next);
    part.first += width;
    head->k = host_slice_read(&part, next);
    part.first += width;
    head->v = host_slice_read(&part, next);
}

/* From the first element of head h to that of the head after it, in the same sequence or the next
 * one; 0: there is none. */
static int64_t host_attention_next(int64_t sequence, int64_t sequences, int64_t length, int64_t h,
                                   int64_t heads, int64_t dim)
{
    if (h + 1 < heads)
        return dim;
    return sequence + 1 < sequences ? (3 * length * heads - h) * dim : 0;
}

/* ---- One head -------------------------------------------------------------------------------- */

static void host_attention_forward_tiles(const struct op_attention_forward *args, int64_t sequence,
                                         int64_t h, host_tile_fn *tile, float *local)
{
    int64_t dim = args->head_dim, width = args->heads * dim, length;
    int64_t first = host_sequence(args->offsets, sequence, args->length, &length);
    struct host_head_tile head = {
        .tile = tile,
        .length = length,
        .dim = dim,
        .query_start = args->query_start,
        .q = first * 3 * width + h * dim,
        .stride = 3 * width,
        .next = host_attention_next(sequence, args->sequences, length, h, args->heads, dim),
        .at = first * width + h * dim,
        .width = width,
        .qkv = args->qkv,
        .out = args->out,
        .lse = args->lse ? args->lse + first * args->heads + h : NULL,
        .lse_stride = args->heads,
        .scratch = local};
    host_head_tile_forward(&head);
}

static void host_attention_backward_tiles(const struct op_attention_backward *args,
                                          int64_t sequence, int64_t h, host_tile_fn *tile,
                                          float *local)
{
    int64_t dim = args->head_dim, width = args->heads * dim, length;
    int64_t first = host_sequence(args->offsets, sequence, args->length, &length);
    struct host_head_tile head = {
        .tile = tile,
        .length = length,
        .dim = dim,
        .query_start = args->query_start,
        .q = first * 3 * width + h * dim,
        .stride = 3 * width,
        .next = host_attention_next(sequence, args->sequences, length, h, args->heads, dim),
        .at = first * width + h * dim,
        .width = width,
        .qkv = args->qkv,
        .out = args->out,
        .dout = args->dout,
        .dqkv = args->dqkv,
        .lse = (float *)args->lse + first * args->heads + h,
        .lse_stride = args->heads,
        .scratch = local};
    host_head_tile_backward(&head);
}

static void host_attention_forward_head(const struct op_attention_forward *args, int64_t sequence,
                                        int64_t h, float *local)
{
    int64_t dim = args->head_dim, width = args->heads * dim, length;
    int64_t first = host_sequence(args->offsets, sequence, args->length, &length);
    struct host_head head = {.length = length,
                             .dim = host_small_padded(dim),
                             .query_start = args->query_start,
                             .scale = 1.0f / sqrtf((float)dim),
                             .lse_stride = args->heads,
                             .scratch = local};
    float *next = local + host_head_floats(length, head.dim);
    struct host_slice q = {args->qkv, first * 3 * width + h * dim, 3 * width, length, dim};
    struct host_slice y = {args->out, first * width + h * dim, width, length, dim};
    bool direct = host_slice_direct(args->out, dim);
    host_attention_inputs(&head, &q, width, &next);
    head.lse = args->lse ? args->lse + first * args->heads + h : NULL;
    head.out_stride = direct ? width : head.dim;
    head.y = direct ? (float *)args->out.data + y.first : host_slice_take(&y, &next);
    host_head_forward(&head);
    if (!direct)
        host_slice_write(&y, head.y, args->query_start);
}

static void host_attention_backward_head(const struct op_attention_backward *args, int64_t sequence,
                                         int64_t h, float *local)
{
    int64_t dim = args->head_dim, width = args->heads * dim, length;
    int64_t first = host_sequence(args->offsets, sequence, args->length, &length);
    struct host_head head = {.length = length,
                             .dim = host_small_padded(dim),
                             .query_start = args->query_start,
                             .scale = 1.0f / sqrtf((float)dim),
                             .lse_stride = args->heads,
                             .lse = (float *)args->lse + first * args->heads + h,
                             .scratch = local};
    float *next = local + host_head_floats(length, head.dim);
    struct host_slice q = {args->qkv, first * 3 * width + h * dim, 3 * width, length, dim};
    struct host_slice dq = {args->dqkv, q.first, q.stride, length, dim};
    struct host_slice out = {args->out, first * width + h * dim, width, length, dim};
    struct host_slice dout = {args->dout, out.first, width, length, dim};
    host_attention_inputs(&head, &q, width, &next);
    if (host_slice_direct(args->qkv, dim)) { /* all four have one type */
        head.out_stride = width;
        head.out = (const float *)args->out.data + out.first;
        head.dout = (const float *)args->dout.data + out.first;
        head.dq = (float *)args->dqkv.data + dq.first;
        head.dk = head.dq + width;
        head.dv = head.dk + width;
        host_head_backward(&head);
        return;
    }
    head.out_stride = head.dim;
    head.out = host_slice_read(&out, &next);
    head.dout = host_slice_read(&dout, &next);
    head.dq = host_slice_take(&dq, &next);
    head.dk = host_slice_take(&dq, &next);
    head.dv = host_slice_take(&dq, &next);
    host_head_backward(&head);
    host_slice_write(&dq, head.dq, 0);
    dq.first += width;
    host_slice_write(&dq, head.dk, 0);
    dq.first += width;
    host_slice_write(&dq, head.dv, 0);
}

/* ---- Operations ------------------------------------------------------------------------------ */

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

/* Heads that a thread takes at a time. */
static int64_t host_attention_most(const struct host_backend *host, int64_t heads)
{
    return heads / host->base.threads / HOST_HEAD_PIECES + 1;
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
    host_tile_fn *tile =
        args->out.type == args->qkv.type ? host_tile_of(host->isa, args->qkv.type) : NULL;
    int64_t heads = args->sequences * args->heads, most = host_attention_most(host, heads);
    host_deal_out(host, 0, heads);
#pragma omp parallel num_threads(backend->threads)
    {
        struct host_span span;
        float *local = host_backend_local(host);
        int helped = 0;
        host_tile_begin(host->isa);
        while (host_deal_take(host, 0, most, 1, &helped, &span))
            for (int64_t i = span.begin; i < span.end; i++)
                if (tile)
                    host_attention_forward_tiles(args, i / args->heads, i % args->heads, tile,
                                                 local);
                else
                    host_attention_forward_head(args, i / args->heads, i % args->heads, local);
        host_tile_end(host->isa);
    }
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
    host_tile_fn *tile = host_tile_of(host->isa, args->qkv.type);
    int64_t heads = args->sequences * args->heads, most = host_attention_most(host, heads);
    host_deal_out(host, 0, heads);
#pragma omp parallel num_threads(backend->threads)
    {
        struct host_span span;
        float *local = host_backend_local(host);
        int helped = 0;
        host_tile_begin(host->isa);
        while (host_deal_take(host, 0, most, 1, &helped, &span))
            for (int64_t i = span.begin; i < span.end; i++)
                if (tile)
                    host_attention_backward_tiles(args, i / args->heads, i % args->heads, tile,
                                                  local);
                else
                    host_attention_backward_head(args, i / args->heads, i % args->heads, local);
        host_tile_end(host->isa);
    }
    return IJ_OK;
}
