/*
 * One pre-norm transformer block, forward and backward.
 *
 *   middle = x + proj(attention(qkv(norm1(x))))
 *   y      = middle + fc2(gelu(fc1(norm2(middle))))
 *
 * The residual stream (x, middle, y and their gradients) is float32; what enters matrix products
 * has the model's type. Where only some rows of y are needed, the part after attention runs on
 * those rows alone: keys and values still come from all rows, so the result is the same.
 */
#ifndef GPU_MODEL_BLOCK_H
#define GPU_MODEL_BLOCK_H

#include "gpu/model/carve.h"
#include "gpu/model/layout.h"

/* Told during a backward pass: the gradients from offset `from` on are final. `from` falls from
 * call to call, down to 0. */
struct block_ready {
    enum ij_status (*call)(void *user, int64_t from, struct ij_err *reterr_err);
    void *user;
};

/* Weights that a pass reads and gradients that it writes; borrowed device memory. */
struct block_arena {
    const float *parameter;
    const uint16_t *parameter_bf16;  /* copy for matrix products; NULL in float32 */
    const uint8_t *parameter_e4m3;   /* copy of the blocks' matrices in float8; NULL: none. Row r */
    const float *scale_e4m3;         /* of the one at `offset` has scale[offset / 16 + r] */
    float *gradient;                 /* NULL: no backward pass */
    bool accumulate;                 /* add to the gradients instead of writing them */
    const struct block_ready *ready; /* NULL: nobody wants to know */
};

static inline enum ij_status block_tell_ready(const struct block_arena *arena, int64_t from,
                                              struct ij_err *reterr_err)
{
    return arena->ready ? arena->ready->call(arena->ready->user, from, reterr_err) : IJ_OK;
}

/* Stochastic depth (Huang et al., ECCV 2016): what each sequence's branches are multiplied with, 0
 * for one that is dropped. Borrowed device memory. */
struct block_drop {
    const float *attention, *mlp; /* (sequences) */
    struct tensor branch;         /* (rows, D) float32; scratch */
};

/* The rows of one pass. */
struct block_rows {
    int64_t sequences, length;
    int64_t tail;          /* > 0: only the last `tail` rows of each sequence leave the block */
    const int32_t *gather; /* or only these rows leave, in this order (forward only) */
    int64_t gather_count;
    const struct block_drop *drop; /* NULL: every branch counts; not with tail or gather */
};

static inline int64_t block_rows_in(const struct block_rows *rows)
{
    return rows->sequences * rows->length;
}
static inline int64_t block_rows_out(const struct block_rows *rows)
{
    return rows->tail     ? rows->sequences * rows->tail
           : rows->gather ? rows->gather_count
                          : block_rows_in(rows);
}

/* What the forward pass leaves for the backward pass; scratch where there is none. */
struct block_saved {
    struct tensor normed1, qkv, attended; /* (in, D), (in, 3 D), (in, D) */
    struct tensor picked;                 /* (out, D) rows of `attended`; absent: all leave */
    struct tensor middle, normed2;        /* (out, D) */
    struct tensor pre, hidden;            /* (out, hidden); `pre` absent without a backward pass */
    float *mean1, *rstd1, *mean2, *rstd2, *lse; /* NULL without a backward pass */
    struct tensor quantized; /* (in, max(D, hidden)) a product's input in float8; else absent */
    float *row_scale;        /* (in) */
};

/* What lies at `offset` in a layout has its rows' scales here: rows are 16 values or longer. */
static inline int64_t block_scale_at(int64_t offset)
{
    return offset / 16;
}

/* Scratch of the backward pass, shared by the blocks of a stack. */
struct block_work {
    struct tensor cast;         /* (rows, D) gradient in the model's type; absent in float32 */
    struct tensor wide, narrow; /* (rows, max(3 D, hidden)), (rows, D) */
    struct tensor spread, spread_narrow; /* (rows, D) for `tail` */
};

enum block_use {
    BLOCK_FORWARD_ONLY, /* scratch that consecutive blocks share */
    BLOCK_TRAIN,
    BLOCK_TRAIN_TAIL, /* the block that uses `tail` */
};

void block_saved_carve(struct carve *carve, const struct vit_stack *stack, enum tensor_type type,
                       int64_t rows_in, int64_t rows_out, enum block_use use,
                       struct block_saved *ret_saved);
void block_work_carve(struct carve *carve, const struct vit_stack *stack, enum tensor_type type,
                      int64_t rows, struct block_work *ret_work);

/* A weight matrix in the type of the products. */
static inline struct tensor block_matrix(const struct block_arena *arena, int64_t offset)
{
    struct tensor t = {(void *)(uintptr_t)(arena->parameter + offset), TENSOR_F32};
    if (arena->parameter_bf16)
        t = (struct tensor){(void *)(uintptr_t)(arena->parameter_bf16 + offset), TENSOR_BF16};
    return t;
}

/* A bias, rounded, where there is a copy of the parameters in bfloat16. */
static inline const uint16_t *block_bias_bf16(const struct block_arena *arena, int64_t offset)
{
    return arena->parameter_bf16 ? arena->parameter_bf16 + offset : NULL;
}

/* y: (rows out, D) float32. It may alias x without a backward pass. */
IJ_MUST_USE enum ij_status
block_forward(struct backend *backend, const struct vit_stack *stack, const struct layout_block *at,
              const struct block_arena *arena, const struct block_rows *rows, struct tensor x,
              const struct block_saved *saved, struct tensor y, struct ij_err *reterr_err);

/* `gradient`: float32, (rows out, D) of y on entry, (rows in, D) of x on return. */
IJ_MUST_USE enum ij_status
block_backward(struct backend *backend, const struct vit_stack *stack,
               const struct layout_block *at, const struct block_arena *arena,
               const struct block_rows *rows, struct tensor x, const struct block_saved *saved,
               const struct block_work *work, struct tensor gradient, struct ij_err *reterr_err);

#endif
