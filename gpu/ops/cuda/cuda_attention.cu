/* Attention: arguments, and which kernels run. See cuda_attention.h. */
#include "gpu/ops/cuda/cuda_attention.h"

#include <math.h>

static enum ij_status attention_check(struct cuda_backend *cuda, const struct attention_args *a,
                                      struct ij_err *reterr_err)
{
    if (a->sequences < 0 || a->length < 1 || a->heads < 1 || a->dim < 1 || a->query_start < 0)
        return IJ_ERR(reterr_err, IJ_INVALID,
                      "%s: %lld sequences of %lld tokens, %lld heads of %lld, queries from %lld",
                      cuda->last_op, (long long)a->sequences, (long long)a->length,
                      (long long)a->heads, (long long)a->dim, (long long)a->query_start);
    if (a->dim > ATTENTION_DIM_MAX || (a->length + 15) / 16 > CUDA_GRID_MAX)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "%s: heads of %lld, %lld tokens", cuda->last_op,
                      (long long)a->dim, (long long)a->length);
    IJ_TRY(cuda_check(cuda, "qkv", a->qkv, reterr_err));
    IJ_TRY(cuda_check(cuda, "out", a->out, reterr_err));
    IJ_TRY(cuda_check_optional(cuda, "dout", a->dout, reterr_err));
    return cuda_check_optional(cuda, "dqkv", a->dqkv, reterr_err);
}

enum ij_status cuda_attention_forward(struct backend *backend,
                                      const struct op_attention_forward *args,
                                      struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    struct attention_args a = {};
    a.sequences = args->sequences;
    a.length = args->length;
    a.heads = args->heads;
    a.dim = args->head_dim;
    a.query_start = args->query_start;
    a.offsets = args->offsets;
    a.qkv = args->qkv;
    a.out = args->out;
    a.lse = args->lse;
    a.scale = 1.0f / sqrtf((float)args->head_dim);
    cuda_begin(cuda, "attention_forward", a.sequences * a.heads, a.length, a.dim);
    IJ_TRY(attention_check(cuda, &a, reterr_err));
    if (a.sequences == 0)
        return IJ_OK;
    if (cuda_attention_mma_fits(cuda, &a))
        IJ_TRY(cuda_attention_mma(cuda, &a, reterr_err));
    else if (cuda_attention_long_fits(cuda, &a))
        IJ_TRY(cuda_attention_long(cuda, &a, reterr_err));
    else
        IJ_TRY(cuda_attention_plain(cuda, &a, reterr_err));
    return cuda_done(cuda, reterr_err);
}

enum ij_status cuda_attention_backward(struct backend *backend,
                                       const struct op_attention_backward *args,
                                       struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    struct attention_args a = {};
    a.sequences = args->sequences;
    a.length = args->length;
    a.heads = args->heads;
    a.dim = args->head_dim;
    a.query_start = args->query_start;
    a.offsets = args->offsets;
    a.qkv = args->qkv;
    a.out = args->out;
    a.dout = args->dout;
    a.dqkv = args->dqkv;
    a.lse = (float *)args->lse;
    a.scale = 1.0f / sqrtf((float)args->head_dim);
    cuda_begin(cuda, "attention_backward", a.sequences * a.heads, a.length, a.dim);
    IJ_TRY(attention_check(cuda, &a, reterr_err));
    if (!a.dout.data || !a.dqkv.data || !a.lse)
        return IJ_ERR(reterr_err, IJ_INVALID, "attention_backward: dout, dqkv and lse are needed");
    if (a.sequences == 0)
        return IJ_OK;
    void *delta;
    size_t rows = (size_t)(a.sequences * a.length * a.heads);
    IJ_TRY(cuda_scratch(cuda, rows * sizeof(float), &delta, reterr_err));
    a.delta = (float *)delta;
    if (cuda_attention_mma_fits(cuda, &a))
        IJ_TRY(cuda_attention_mma_backward(cuda, &a, reterr_err));
    else if (cuda_attention_long_fits(cuda, &a))
        IJ_TRY(cuda_attention_long_backward(cuda, &a, reterr_err));
    else
        IJ_TRY(cuda_attention_plain_backward(cuda, &a, reterr_err));
    return cuda_done(cuda, reterr_err);
}
