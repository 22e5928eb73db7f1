/*
 * The context encoder in training: kept patches in, features out, and its backward pass.
 *
 * Only the kept patches are cut out and embedded; as no token meets another before the first block,
 * the result is that of embedding all and dropping the others afterwards.
 */
#ifndef GPU_MODEL_ENCODER_H
#define GPU_MODEL_ENCODER_H

#include "gpu/model/block.h"

/* Buffers for `rows` tokens at most. */
struct encoder {
    struct tensor patches; /* (rows, 3 p^2) */
    struct tensor *x;      /* depth + 1 of (rows, D) float32: inputs of the blocks, last output */
    struct block_saved *saved; /* depth */
    struct tensor normed;      /* (rows, D) what the predictor sees, in the model's type */
    float *mean, *rstd;        /* (rows) of the final norm */
    struct tensor gradient;    /* (rows, D) float32 */
    struct tensor incoming;    /* (rows, D) gradient of `normed`, in the model's type */
};

/* Images and which of their patches are kept; device memory, borrowed. */
struct encoder_input {
    struct tensor pixels; /* U8 (images, size, size, 3) or F32 (images, 3, size, size) */
    int64_t images, keep_count;
    const int32_t *index;  /* (images, keep_count) */
    const float *position; /* (patches, D) */
};

/* Allocates the arrays of views; carve with encoder_carve. */
IJ_MUST_USE enum ij_status encoder_init(struct encoder *encoder, const struct vit_config *config,
                                        struct ij_err *reterr_err);
void encoder_done(struct encoder *encoder); /* a zeroed struct is fine */
void encoder_carve(struct encoder *encoder, struct carve *carve, const struct vit_config *config,
                   int64_t rows);

/* Result in encoder->normed. */
IJ_MUST_USE enum ij_status encoder_forward(struct backend *backend, const struct vit_config *config,
                                           const struct layout *layout,
                                           const struct block_arena *arena,
                                           const struct encoder_input *input,
                                           const struct encoder *encoder,
                                           struct ij_err *reterr_err);

/* From encoder->incoming to the encoder's part of the gradient arena. */
IJ_MUST_USE enum ij_status
encoder_backward(struct backend *backend, const struct vit_config *config,
                 const struct layout *layout, const struct block_arena *arena,
                 const struct encoder_input *input, const struct encoder *encoder,
                 const struct block_work *work, struct ij_err *reterr_err);

/* Patches, their linear embedding and positions: the part shared with the frozen encoder. x: (rows,
 * D) float32. */
IJ_MUST_USE enum ij_status encoder_embed(struct backend *backend, const struct vit_config *config,
                                         const struct layout *layout,
                                         const struct block_arena *arena,
                                         const struct encoder_input *input, struct tensor patches,
                                         struct tensor x, struct ij_err *reterr_err);
/* The embedding's weights from encoder->gradient, that of its output (positions pass it on
 * unchanged). */
IJ_MUST_USE enum ij_status
encoder_embed_backward(struct backend *backend, const struct vit_config *config,
                       const struct layout *layout, const struct block_arena *arena, int64_t rows,
                       const struct encoder *encoder, const struct block_work *work,
                       struct ij_err *reterr_err);

#endif
