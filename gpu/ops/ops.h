/*
 * The operation contract: about twenty-five operations at the grain at which they are fused.
 *
 * A `struct backend` is one device (host threads, or one GPU and its stream). Its table `ops` holds
 * one function per operation; each takes one argument struct and returns a status. Rules that hold
 * for all:
 *
 * - Tensors are contiguous and row-major unless a field says otherwise. Views own nothing.
 *   Shapes stand behind each field. R = rows (tokens), B = images, N = patches per image,
 *   D = width, H = heads, S = sequences.
 * - "writes" means the old content is ignored; "adds" means it is accumulated into. Operations that
 *   can do both have a field `accumulate` (false: writes).
 * - Inputs and outputs never alias, except where a field says "may alias".
 * - Activations and weights have the type in their view: TENSOR_F32, or TENSOR_BF16 where
 *   `supports` says so. Statistics, biases, norm parameters, losses and weight gradients are
 *   float32; bf16 products accumulate in float32.
 * - Deterministic: same arguments, same build, same device, same thread count, same bits.
 * - Asynchronous on a GPU: results are there after `synchronize`. Errors of a kernel may be
 *   reported by a later call; the text names the operation and its shape.
 * - Nothing allocates device memory after `reserve_scratch`.
 *
 * To add an operation: a struct and a row here; host implementation in ops/host/host_<op>.c; a
 * double-precision reference and a case in tests/ops/; then ops/cuda/cuda_<op>.cu.
 */
#ifndef GPU_OPS_OPS_H
#define GPU_OPS_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* TENSOR_E4M3: float8 with 4 exponent and 3 mantissa bits, +-448, no infinity; a scale per row. */
enum tensor_type { TENSOR_F32, TENSOR_BF16, TENSOR_U8, TENSOR_I32, TENSOR_E4M3 };

/* A view of device memory; shape is known to whoever uses it. NULL data: absent. */
struct tensor {
    void *data;
    enum tensor_type type;
};

static inline size_t tensor_type_size(enum tensor_type type)
{
    return type == TENSOR_U8 || type == TENSOR_E4M3 ? 1 : type == TENSOR_BF16 ? 2 : 4;
}
static inline struct tensor tensor_f32(float *data)
{
    struct tensor t = {data, TENSOR_F32};
    return t;
}

/* ---- Linear --------------------------------------------------------------------------------- */

enum activation {
    ACTIVATION_NONE,
    ACTIVATION_GELU,     /* exact erf: the published function */
    ACTIVATION_GELU_TANH /* its tanh form, up to 5e-4 away */
};

/*
 * y = activation(x * weight^T + bias) + residual. Writes y. Where x and weight are E4M3, as
 * quantize_rows left them, each row counts times its scale; in and out are then multiples of 16.
 */
struct op_linear_forward {
    int64_t rows, in, out;
    struct tensor x;          /* (rows, in) */
    struct tensor weight;     /* (out, in) */
    const float *x_scale;     /* (rows) of E4M3; else NULL */
    const float *weight_scale; /* (out) */
    const float *bias;        /* (out) or NULL */
    const uint16_t *bias_bf16; /* the same in bfloat16, where the caller has it; or NULL */
    enum activation activation;
    struct tensor pre;        /* (rows, out) x*weight^T + bias, for the backward pass; or absent */
    struct tensor residual;   /* (rows, out), may alias y; or absent */
    struct tensor y;          /* (rows, out) */
};

/* dx (+)= (dy * weight) [. gelu'(pre)]. */
struct op_linear_backward_input {
    int64_t rows, in, out;
    struct tensor dy;         /* (rows, out) */
    struct tensor weight;     /* (out, in) */
    struct tensor gelu_pre;   /* (rows, in): pre-activation of the layer that made x; or absent */
    bool gelu_tanh;           /* that layer's activation was the tanh form */
    struct tensor dx;         /* (rows, in) */
    bool accumulate;
};

/* dweight (+)= dy^T * x; dbias (+)= column sums of dy. */
struct op_linear_backward_weight {
    int64_t rows, in, out;
    struct tensor dy;         /* (rows, out) */
    struct tensor x;          /* (rows, in) */
    float *dweight;           /* (out, in) */
    float *dbias;             /* (out) or NULL */
    bool accumulate;
};

/* c = alpha * op(a) * op(b) + beta * c, float32, for evaluation (similarities, probes). */
struct op_matmul {
    int64_t m, n, k;
    bool transpose_a, transpose_b;
    const float *a;           /* (m, k), or (k, m) if transposed */
    const float *b;           /* (k, n), or (n, k) if transposed */
    float *c;                 /* (m, n) */
    float alpha, beta;
};

/* ---- Layer norm ----------------------------------------------------------------------------- */

/* y = (x - mean) / sqrt(var + eps) * gamma + beta, per row; var is the biased one. Writes y. */
struct op_layer_norm_forward {
    int64_t rows, width;
    float eps;
    struct tensor x;          /* (rows, width) */
    const float *gamma, *beta; /* (width), or both NULL: no affine part */
    struct tensor y;          /* (rows, width), may alias x */
    float *mean, *rstd;       /* (rows) kept for the backward pass, or both NULL */
};

/* dx = d(layer norm)/dx * dy + residual; dgamma, dbeta (+)=. */
struct op_layer_norm_backward {
    int64_t rows, width;
    struct tensor dy, x;      /* (rows, width) */
    const float *gamma;       /* (width) or NULL */
    const float *mean, *rstd; /* (rows) from the forward pass */
    struct tensor residual;   /* (rows, width) gradient that joins here, may alias dx; or absent */
    struct tensor dx;         /* (rows, width), may alias dy; written */
    float *dgamma, *dbeta;    /* (width) or both NULL */
    bool accumulate;          /* of dgamma and dbeta */
};

/* ---- Attention ------------------------------------------------------------------------------ */

/*
 * Softmax attention inside each sequence, scale head_dim^-0.5, no mask.
 * Sequences are either all `length` tokens long (offsets NULL), or packed: sequence s holds tokens
 * offsets[s] .. offsets[s+1]-1, none longer than `length`.
 * Only query rows >= query_start of each sequence are computed (0: all); keys and values are always
 * all rows. Output rows below query_start are not written (forward); their dq is written as zero.
 * No more than one head's block of rows of the score matrix ever exists.
 */
struct op_attention_forward {
    int64_t sequences, length, heads, head_dim;
    int64_t query_start;
    const int32_t *offsets;   /* (sequences + 1) or NULL */
    struct tensor qkv;        /* (tokens, 3, heads, head_dim) */
    struct tensor out;        /* (tokens, heads, head_dim); written */
    float *lse;               /* (tokens, heads) log-sum-exp of scaled scores; NULL: not kept */
};

struct op_attention_backward {
    int64_t sequences, length, heads, head_dim;
    int64_t query_start;
    const int32_t *offsets;
    struct tensor qkv, out, dout;
    const float *lse;
    struct tensor dqkv;       /* (tokens, 3, heads, head_dim); written */
};

/* ---- Patches, positions, gathers ------------------------------------------------------------ */

/*
 * Cuts kept patches out of images: y[b*keep_count + j] = patch index[b*keep_count + j] of image b,
 * values in (channel, dy, dx) order. uint8 images are RGB with channels last and become
 * (v/255 - mean) / std; float32 images are (3, size, size) and are copied. Writes y.
 */
struct op_patchify {
    int64_t images, size, patch;
    struct tensor pixels;     /* U8 (images, size, size, 3) or F32 (images, 3, size, size) */
    float mean[3], std[3];
    const int32_t *index;     /* (images, keep_count) patch numbers; NULL: all, in order */
    int64_t keep_count;       /* patches per image in y; with index NULL it is (size/patch)^2 */
    struct tensor y;          /* (images * keep_count, 3 * patch * patch) */
};

/* x[r] += position[index[r]]; index NULL: r modulo positions. */
struct op_add_position {
    int64_t rows, width, positions;
    struct tensor x;          /* (rows, width); adds */
    const float *position;    /* (positions, width) */
    const int32_t *index;     /* (rows) or NULL */
};

/* y[r] = x[index[r]]. Writes y. */
struct op_gather_rows {
    int64_t rows, width;
    struct tensor x;          /* (any, width) */
    const int32_t *index;     /* (rows), absolute rows of x */
    struct tensor y;          /* (rows, width) */
};

/* The last `tail` rows of each sequence: y[s, j] = x[s, length - tail + j]. Writes y. */
struct op_tail_forward {
    int64_t sequences, length, tail, width;
    struct tensor x;          /* (sequences, length, width) */
    struct tensor y;          /* (sequences, tail, width) */
};

/* dx[s, length - tail + j] = dy[s, j]; the head rows of dx are zero. Writes all of dx. */
struct op_tail_backward {
    int64_t sequences, length, tail, width;
    struct tensor dy, dx;
};

/*
 * Builds the predictor's input. Sequence s = m * images + b (target-block-major):
 *   x[s, j]             = context[b, j] + position[context_index[b, j]]      j < context_count
 *   x[s, context_count+i] = mask_token + position[target_index[m, b, i]]     i < target_count
 */
struct op_assemble_forward {
    int64_t images, blocks, context_count, target_count, width;
    struct tensor context;    /* (images, context_count, width) */
    const float *position;    /* (positions, width) */
    const float *mask_token;  /* (width) */
    const int32_t *context_index; /* (images, context_count) */
    const int32_t *target_index;  /* (blocks, images, target_count) */
    struct tensor x;          /* (blocks * images, context_count + target_count, width); written */
};

/* dcontext = sum over blocks (written); dmask_token (+)= sum over all target rows. */
struct op_assemble_backward {
    int64_t images, blocks, context_count, target_count, width;
    struct tensor dx;
    struct tensor dcontext;   /* (images, context_count, width) */
    float *dmask_token;       /* (width) */
    bool accumulate;          /* of dmask_token */
};

/* y[s] = mean over the `length` rows of sequence s. Writes y (float32). */
struct op_mean_pool {
    int64_t sequences, length, width;
    struct tensor x;          /* (sequences, length, width) */
    float *y;                 /* (sequences, width) */
};

/*
 * y[s, j] = scale[s] * x[s, j] + residual[s, j]; with `broadcast` x has one row per sequence, which
 * all its rows get. Writes y. What drops whole branches of a sequence, and spreads a mean's
 * gradient.
 */
struct op_scale_rows {
    int64_t sequences, length, width;
    bool broadcast;
    struct tensor x;          /* (sequences, length, width), or (sequences, width) */
    const float *scale;       /* (sequences) */
    struct tensor residual;   /* (sequences, length, width), may alias y; or absent */
    struct tensor y;          /* (sequences, length, width), may alias x unless `broadcast` */
};

/* ---- Loss ----------------------------------------------------------------------------------- */

enum loss_kind { LOSS_SMOOTH_L1 /* beta 1 */, LOSS_L2 /* mean of squares */ };

/*
 * loss = mean over rows*width of l(prediction - target); dprediction = gradient * gradient_scale.
 * Writes everything. `sums` receives three float32 values: loss, mean over rows of the cosine of
 * prediction and target, share of non-finite predictions.
 */
struct op_loss {
    int64_t rows, width;
    enum loss_kind kind;
    struct tensor prediction; /* (rows, width) */
    const float *target;      /* (rows, width) */
    float gradient_scale;     /* 1 / number of accumulated micro-batches */
    struct tensor dprediction; /* (rows, width), may alias prediction; absent: loss only */
    float *sums;              /* (3) */
};

/* ---- Optimiser ------------------------------------------------------------------------------ */

/* A run of elements in the parameter arena that share their rules. */
struct parameter_segment {
    int64_t offset, count;
    bool decay;               /* weight decay applies */
    int64_t ema_offset;       /* where its moving average lives in `ema`; -1: it has none */
};

/*
 * AdamW with decoupled decay (as torch.optim.AdamW, no amsgrad) and the EMA in one pass:
 *   p -= lr*wd*p (decay segments); m, v updated; p -= lr * mhat / (sqrt(vhat) + eps);
 *   ema = momentum*ema + (1-momentum)*p.
 * Elements outside all segments are untouched. bf16 copies are written where they are given.
 */
struct op_adamw_ema {
    int64_t step;             /* 1 for the first update: bias correction */
    double lr, weight_decay, beta1, beta2, eps, ema_momentum;
    double gradient_scale;    /* multiplies every gradient first (clipping); 1 = none */
    const struct parameter_segment *segments; /* host memory */
    int64_t segment_count;
    float *parameter;         /* arena */
    const float *gradient;    /* arena, same layout */
    float *moment1, *moment2; /* arenas, same layout */
    float *ema;               /* arena of the averaged parameters */
    uint16_t *parameter_bf16, *ema_bf16; /* copies, same layouts; or NULL */
};

/* sums[i] = sum of squares of x[offset_i .. offset_i+count_i), added up in double. Writes. */
struct op_square_sums {
    const float *x;
    const struct parameter_segment *segments; /* host memory */
    int64_t segment_count;
    double *sums;             /* (segment_count), device memory */
};

/* y = x in another type (float32 <-> bfloat16, round to nearest even). Writes y. */
struct op_convert {
    int64_t count;
    struct tensor x, y;
};

/* scale[r] = largest |x[r]| / 448; y[r] = x[r] / scale[r] as E4M3, nearest even. A row of zeros has
 * scale 1. NaN stays NaN. Writes y and scale. */
struct op_quantize_rows {
    int64_t rows, width;
    struct tensor x;          /* (rows, width) float32 or bfloat16 */
    struct tensor y;          /* (rows, width) E4M3 */
    float *scale;             /* (rows) */
};

/* ---- Backend -------------------------------------------------------------------------------- */

#define OPS_LANES 2 /* input that is used, and input that is on its way */

/* X(name): struct op_<name>, function <name>. The order is free. */
#define OPS_LIST(X)                                                                                \
    X(linear_forward)                                                                              \
    X(linear_backward_input)                                                                       \
    X(linear_backward_weight)                                                                      \
    X(matmul)                                                                                      \
    X(layer_norm_forward)                                                                          \
    X(layer_norm_backward)                                                                         \
    X(attention_forward)                                                                           \
    X(attention_backward)                                                                          \
    X(patchify)                                                                                    \
    X(add_position)                                                                                \
    X(gather_rows)                                                                                 \
    X(tail_forward)                                                                                \
    X(tail_backward)                                                                               \
    X(assemble_forward)                                                                            \
    X(assemble_backward)                                                                           \
    X(mean_pool)                                                                                   \
    X(scale_rows)                                                                                  \
    X(loss)                                                                                        \
    X(adamw_ema)                                                                                   \
    X(square_sums)                                                                                 \
    X(convert)                                                                                     \
    X(quantize_rows)

enum op_id {
#define X(name) OP_##name,
    OPS_LIST(X)
#undef X
        OP_COUNT
};

struct backend;

struct ops {
#define X(name)                                                                                    \
    enum ij_status (*name)(struct backend * backend, const struct op_##name *args,                 \
                           struct ij_err *reterr_err);
    OPS_LIST(X)
#undef X
    /* May the operation run with this activation type? A normal question, not an error. */
    bool (*supports)(struct backend *backend, enum op_id op, enum tensor_type type);

    /* Device memory; *ret_memory is 64-byte aligned, not cleared. NULL is fine for release. */
    enum ij_status (*allocate)(struct backend *backend, size_t bytes, void **ret_memory,
                               struct ij_err *reterr_err);
    void (*release)(struct backend *backend, void *memory);
    /* Host <-> device copies and clearing, ordered with the operations. */
    enum ij_status (*upload)(struct backend *backend, void *device, const void *host, size_t bytes,
                             struct ij_err *reterr_err);
    enum ij_status (*download)(struct backend *backend, void *host, const void *device,
                               size_t bytes, struct ij_err *reterr_err);
    enum ij_status (*clear)(struct backend *backend, void *device, size_t bytes,
                            struct ij_err *reterr_err);
    enum ij_status (*synchronize)(struct backend *backend, struct ij_err *reterr_err);
    /*
     * Uploads beside the operations, in lanes 0 .. OPS_LANES - 1. Each has `bytes` at `device`, the
     * same in every call. lane_open waits until the lane's last upload is done and gives the host
     * memory to fill; lane_send starts the copy of its first `bytes`, which waits for the
     * operations before the lane's last lane_leave; operations after lane_enter find the new
     * content. The order is open, send, enter, operations, leave; lanes do not wait for each other.
     */
    enum ij_status (*lane_open)(struct backend *backend, int lane, void *device, size_t bytes,
                                void **ret_host, struct ij_err *reterr_err);
    enum ij_status (*lane_send)(struct backend *backend, int lane, size_t bytes,
                                struct ij_err *reterr_err);
    enum ij_status (*lane_enter)(struct backend *backend, int lane, struct ij_err *reterr_err);
    enum ij_status (*lane_leave)(struct backend *backend, int lane, struct ij_err *reterr_err);
    /* Scratch for operations that need it; call once, with the largest rows (tokens), width and
     * heads to come. */
    enum ij_status (*reserve_scratch)(struct backend *backend, int64_t rows_max, int64_t width_max,
                                      int64_t heads_max, struct ij_err *reterr_err);
    /* Device memory that is left, and all of it; 0 and 0 where that is the host's. */
    enum ij_status (*memory)(struct backend *backend, uint64_t *ret_left, uint64_t *ret_all,
                             struct ij_err *reterr_err);
    void (*free)(struct backend *backend);
};

/* Every backend's struct begins with this. */
struct backend {
    const struct ops *ops;
    const char *name;         /* "host", "cuda" */
    const char *level;        /* instructions of a host's products; NULL for a GPU */
    int threads;              /* host threads in use; 1 for a GPU */
};

/* threads 0: all cores this process may use. Caller frees with ops->free. */
IJ_MUST_USE enum ij_status backend_host_new(int threads, struct backend **ret_backend,
                                            struct ij_err *reterr_err);

#ifdef __cplusplus
}
#endif
#endif
