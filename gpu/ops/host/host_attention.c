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

/* ---- Heads ----------------------------------------------------------------------------------- */

/* Either operation: the forward one has neither dout nor dqkv. Borrows everything. */
struct host_attention {
    const char *op;
    bool backward;
    int64_t sequences, length, heads, dim, query_start;
    const int32_t *offsets;
    struct tensor qkv, out, dout, dqkv;
    float *lse;         /* written (NULL: not wanted) or, backward, read */
    host_tile_fn *tile; /* of the level and type, or NULL */
};

/* One head of a sequence: the first elements of q (in qkv and dqkv) and of its outputs, and how far
 * rows of either are apart. */
struct host_attention_head {
    int64_t sequence, number, length;
    int64_t q, stride, at, width;
    float *lse;
};

static struct host_attention_head host_attention_head(const struct host_attention *a, int64_t index)
{
    struct host_attention_head h = {.sequence = index / a->heads, .number = index % a->heads};
    int64_t first = a->offsets ? a->offsets[h.sequence] : h.sequence * a->length;
    h.length = a->offsets ? a->offsets[h.sequence + 1] - first : a->length;
    h.width = a->heads * a->dim;
    h.stride = 3 * h.width;
    h.q = first * h.stride + h.number * a->dim;
    h.at = first * h.width + h.number * a->dim;
    h.lse = a->lse ? a->lse + first * a->heads + h.number : NULL;
    return h;
}

/* From the first element of a head to that of the head after it, in the same sequence or the next
 * one; 0: there is none. */
static int64_t host_attention_next(const struct host_attention *a,
                                   const struct host_attention_head *h)
{
    if (h->number + 1 < a->heads)
        return a->dim;
    return h->sequence + 1 < a->sequences ? (3 * h->length * a->heads - h->number) * a->dim : 0;
}

static void host_attention_tiles(const struct host_attention *a,
                                 const struct host_attention_head *h, float *local)
{
    struct host_head_tile head = {.tile = a->tile,
                                  .length = h->length,
                                  .dim = a->dim,
                                  .query_start = a->query_start,
                                  .q = h->q,
                                  .stride = h->stride,
                                  .next = host_attention_next(a, h),
                                  .at = h->at,
                                  .width = h->width,
                                  .qkv = a->qkv,
                                  .out = a->out,
                                  .dout = a->dout,
                                  .dqkv = a->dqkv,
                                  .lse = h->lse,
                                  .lse_stride = a->heads,
                                  .scratch = local};
    if (a->backward)
        host_head_tile_backward(&head);
    else
        host_head_tile_forward(&head);
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

static void host_attention_outputs(const struct host_attention *a,
                                   const struct host_attention_head *h, struct host_head *head,
                                   float **next)
{
    struct host_slice y = {a->out, h->at, h->width, h->length, a->dim};
    bool direct = host_slice_direct(a->out, a->dim);
    head->out_stride = direct ? h->width : head->dim;
    head->y = direct ? (float *)a->out.data + y.first : host_slice_take(&y, next);
    host_head_forward(head);
    if (!direct)
        host_slice_write(&y, head->y, a->query_start);
}

static void host_attention_gradients(const struct host_attention *a,
                                     const struct host_attention_head *h, struct host_head *head,
                                     float **next)
{
    struct host_slice dq = {a->dqkv, h->q, h->stride, h->length, a->dim};
    struct host_slice out = {a->out, h->at, h->width, h->length, a->dim};
    struct host_slice dout = {a->dout, h->at, h->width, h->length, a->dim};
    if (host_slice_direct(a->qkv, a->dim)) { /* all four have one type */
        head->out_stride = h->width;
        head->out = (const float *)a->out.data + h->at;
        head->dout = (const float *)a->dout.data + h->at;
        head->dq = (float *)a->dqkv.data + h->q;
        head->dk = head->dq + h->width;
        head->dv = head->dk + h->width;
        host_head_backward(head);
        return;
    }
    head->out_stride = head->dim;
    head->out = host_slice_read(&out, next);
    head->dout = host_slice_read(&dout, next);
    head->dq = host_slice_take(&dq, next);
    head->dk = host_slice_take(&dq, next);
    head->dv = host_slice_take(&dq, next);
    host_head_backward(head);
    host_slice_write(&dq, head->dq, 0);
    dq.first += h->width;
    host_slice_write(&dq, head->dk, 0);
    dq.first += h->width;
    host_slice_write(&dq, head->dv, 0);
}

static void host_attention_plain(const struct host_attention *a,
                                 const struct host_attention_head *h, float *local)
{
    struct host_head head = {.length = h->length,
                             .dim = host_small_padded(a->dim),
                             .query_start = a->query_start,
                             .scale = 1.0f / sqrtf((float)a->dim),
                             .lse = h->lse,
                             .lse_stride = a->heads,
                             .scratch = local};
    struct host_slice q = {a->qkv, h->q, h->stride, h->length, a->dim};
    float *next = local + host_head_floats(h->length, head.dim);
    host_attention_inputs(&head, &q, h->width, &next);
    if (a->backward)
        host_attention_gradients(a, h, &head, &next);
    else
        host_attention_outputs(a, h, &head, &next);
}

/* ---- Operations ------------------------------------------------------------------------------ */

static enum ij_status host_attention_check(const struct host_attention *a,
                                           struct ij_err *reterr_err)
{
    if (a->sequences < 0 || a->length < 1 || a->heads < 1 || a->dim < 1 || a->query_start < 0)
        return IJ_ERR(reterr_err, IJ_INVALID,
                      "%s: %lld sequences of length %lld, %lld heads of %lld, queries from %lld",
                      a->op, (long long)a->sequences, (long long)a->length, (long long)a->heads,
                      (long long)a->dim, (long long)a->query_start);
    for (int64_t s = 0; a->offsets && s < a->sequences; s++)
        if (a->offsets[s + 1] < a->offsets[s] || a->offsets[s + 1] - a->offsets[s] > a->length)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "offsets",
                                "%s: sequence %lld has %d tokens, at most %lld are allowed", a->op,
                                (long long)s, a->offsets[s + 1] - a->offsets[s],
                                (long long)a->length);
    IJ_TRY(host_tensor_check(a->op, "qkv", a->qkv, reterr_err));
    IJ_TRY(host_tensor_check(a->op, "out", a->out, reterr_err));
    if (!a->backward)
        return IJ_OK;
    IJ_TRY(host_tensor_check(a->op, "dout", a->dout, reterr_err));
    IJ_TRY(host_tensor_check(a->op, "dqkv", a->dqkv, reterr_err));
    if (a->out.type != a->qkv.type || a->dout.type != a->qkv.type || a->dqkv.type != a->qkv.type)
        return IJ_ERR(reterr_err, IJ_INVALID, "%s: all four tensors must have one type", a->op);
    return IJ_OK;
}

static enum ij_status host_attention_run(struct host_backend *host, struct host_attention *a,
                                         struct ij_err *reterr_err)
{
    IJ_TRY(host_attention_check(a, reterr_err));
    IJ_TRY(host_backend_need(host, 0, host_attention_floats(a->length, a->dim), reterr_err));
    if (a->out.type == a->qkv.type)
        a->tile = host_tile_of(host->isa, a->qkv.type);
    int64_t heads = a->sequences * a->heads;
    int64_t most = heads / host->base.threads / HOST_HEAD_PIECES + 1; /* that a thread takes */
    host_deal_out(host, 0, heads);
#pragma omp parallel num_threads(host->base.threads)
    {
        struct host_span span;
        float *local = host_backend_local(host);
        int helped = 0;
        host_tile_begin(host->isa);
        while (host_deal_take(host, 0, most, 1, &helped, &span))
            for (int64_t i = span.begin; i < span.end; i++) {
                struct host_attention_head head = host_attention_head(a, i);
                if (a->tile)
                    host_attention_tiles(a, &head, local);
                else
                    host_attention_plain(a, &head, local);
            }
        host_tile_end(host->isa);
    }
    return IJ_OK;
}

enum ij_status host_attention_forward(struct backend *backend,
                                      const struct op_attention_forward *args,
                                      struct ij_err *reterr_err)
{
    struct host_attention attention = {.op = "attention_forward",
                                       .sequences = args->sequences,
                                       .length = args->length,
                                       .heads = args->heads,
                                       .dim = args->head_dim,
                                       .query_start = args->query_start,
                                       .offsets = args->offsets,
                                       .qkv = args->qkv,
                                       .out = args->out,
                                       .lse = args->lse};
    return host_attention_run(host_backend_of(backend), &attention, reterr_err);
}

enum ij_status host_attention_backward(struct backend *backend,
                                       const struct op_attention_backward *args,
                                       struct ij_err *reterr_err)
{
    struct host_attention attention = {.op = "attention_backward",
                                       .backward = true,
                                       .sequences = args->sequences,
                                       .length = args->length,
                                       .heads = args->heads,
                                       .dim = args->head_dim,
                                       .query_start = args->query_start,
                                       .offsets = args->offsets,
                                       .qkv = args->qkv,
                                       .out = args->out,
                                       .dout = args->dout,
                                       .dqkv = args->dqkv,
                                       .lse = (float *)args->lse};
    return host_attention_run(host_backend_of(backend), &attention, reterr_err);
}
