/*
 * The predictor: from context features and target places to predicted target features.
 *
 * Each of the M target blocks is a sequence of its own with a copy of the context, so a batch of B
 * images makes M * B sequences of context_count + target_count tokens, block-major. Only the target
 * tokens leave the last block.
 */
#ifndef GPU_MODEL_PREDICTOR_H
#define GPU_MODEL_PREDICTOR_H

#include "gpu/model/block.h"

struct predictor {
    struct tensor context;     /* (B * Nc, P) embedded context; its gradient in the backward pass */
    struct tensor *x;          /* depth + 1 of (rows, P) float32; the last: (target rows, P) */
    struct block_saved *saved; /* depth */
    struct tensor normed;      /* (target rows, P) */
    float *mean, *rstd;        /* (target rows) of the final norm */
    struct tensor gradient;    /* (rows, P) float32 */
    struct tensor prediction;  /* (target rows, D), in the model's type */
    struct tensor dprediction; /* its gradient */
};

struct predictor_input {
    int64_t images, blocks, context_count, target_count;
    const int32_t *context_index; /* (images, context_count), device memory */
    const int32_t *target_index;  /* (blocks, images, target_count), device memory */
    const float *position;        /* (patches, P) */
    struct tensor features;       /* (images * context_count, D) from the context encoder */
};

/* The most that a batch can bring. */
struct predictor_limits {
    int64_t images, blocks, context_count, target_count;
    int64_t context_rows; /* context tokens worked on at once, context_count at least: a batch with
                             more is worked on in parts */
};

IJ_MUST_USE enum ij_status predictor_init(struct predictor *predictor,
                                          const struct vit_config *config,
                                          struct ij_err *reterr_err);
void predictor_done(struct predictor *predictor); /* a zeroed struct is fine */
void predictor_carve(struct predictor *predictor, struct carve *carve,
                     const struct vit_config *config, const struct predictor_limits *limits);

/* Result in predictor->prediction, (blocks * images * target_count, D). */
IJ_MUST_USE enum ij_status
predictor_forward(struct backend *backend, const struct vit_config *config,
                  const struct layout *layout, const struct block_arena *arena,
                  const struct predictor_input *input, const struct predictor *predictor,
                  struct ij_err *reterr_err);

/* From predictor->dprediction to the predictor's gradients and, in `dfeatures`, those of
 * input->features. */
IJ_MUST_USE enum ij_status
predictor_backward(struct backend *backend, const struct vit_config *config,
                   const struct layout *layout, const struct block_arena *arena,
                   const struct predictor_input *input, const struct predictor *predictor,
                   const struct block_work *work, struct tensor dfeatures,
                   struct ij_err *reterr_err);

#endif
