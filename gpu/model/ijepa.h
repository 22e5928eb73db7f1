/*
 * The whole model: context encoder, target encoder, predictor and loss, for one micro-batch.
 *
 *   ijepa_load      pixels and masks to the device; ijepa_prefetch has sent them there before
 *   ijepa_target    target encoder over all patches, second layer norm, rows of the target blocks;
 *                   with target_at_input, target encoder over one target block's patches at a time
 *   ijepa_predict   context encoder over the kept patches, predictor
 *   ijepa_loss      loss, cosine and the gradient of the prediction
 *   ijepa_backward  gradients of encoder and predictor
 *   ijepa_read_loss waits for the device
 *
 * Called in this order. All memory is one allocation: the target encoder's buffers and the backward
 * pass's scratch share a place, as they are never alive together. No call after ijepa_new
 * allocates. Weights and gradients belong to the caller. One thread.
 *
 * Parts: the longest context that masks allow is several times what large batches bring, as a batch
 * is cut to its shortest. Memory is planned for what practically no batch exceeds
 * (gpu/model/mask_tail.h); one that does is worked on in parts of fewer images, each with its share
 * of the loss, so that loss and gradients are those of the whole, up to the order of sums. Between
 * ijepa_load and ijepa_read_loss the other calls are made for each part; part 0 is set at first.
 */
#ifndef GPU_MODEL_IJEPA_H
#define GPU_MODEL_IJEPA_H

#include "gpu/model/ijepa_memory.h"
#include "gpu/model/lanes.h"

struct ijepa; /* borrows backend, config and layout */

struct ijepa_loss {
    float loss, cosine;    /* cosine: mean over target tokens of that of prediction and target */
    float nonfinite_share; /* of the predicted values */
};

/* IJ_UNSUPPORTED: the backend lacks an operation for config->type. */
IJ_MUST_USE enum ij_status ijepa_new(struct backend *backend, const struct vit_config *config,
                                     const struct layout *layout,
                                     const struct predictor_limits *limits, enum tensor_type pixels,
                                     struct ijepa **ret_ijepa, struct ij_err *reterr_err);
void ijepa_free(struct ijepa *ijepa); /* NULL is fine */

/* Sends the next batch to the device beside what it is doing with this one. */
IJ_MUST_USE enum ij_status ijepa_prefetch(struct ijepa *ijepa, const struct ijepa_batch *batch,
                                          struct ij_err *reterr_err);
/* `batch` NULL: the one that was prefetched. */
IJ_MUST_USE enum ij_status ijepa_load(struct ijepa *ijepa, const struct ijepa_batch *batch,
                                      struct ij_err *reterr_err);
/* The parts of the loaded batch, and which of them the calls below are about. */
int64_t ijepa_parts(const struct ijepa *ijepa);
void ijepa_set_part(struct ijepa *ijepa, int64_t part);
/* `target`: the target encoder's weights (the encoder's part of the layout). */
IJ_MUST_USE enum ij_status ijepa_target(struct ijepa *ijepa, const struct block_arena *target,
                                        struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status ijepa_predict(struct ijepa *ijepa, const struct block_arena *arena,
                                         struct ij_err *reterr_err);
/* The context encoder alone, for ijepa_copy_context_features. */
IJ_MUST_USE enum ij_status ijepa_encode(struct ijepa *ijepa, const struct block_arena *arena,
                                        struct ij_err *reterr_err);
/* `gradient_scale`: 1 / micro-batches per optimiser step; of the part its share is taken. */
IJ_MUST_USE enum ij_status ijepa_loss(struct ijepa *ijepa, float gradient_scale,
                                      struct ij_err *reterr_err);
/* Of the loaded batch, all its parts, whatever was asked since; waits for the device. */
IJ_MUST_USE enum ij_status ijepa_read_loss(struct ijepa *ijepa, struct ijepa_loss *ret_loss,
                                           struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status ijepa_backward(struct ijepa *ijepa, const struct block_arena *arena,
                                          struct ij_err *reterr_err);

/* The fixed position tables, device memory: (patches, D) and (patches, P). */
const float *ijepa_position(const struct ijepa *ijepa);
const float *ijepa_pred_position(const struct ijepa *ijepa);

/* ---- For comparison with reference values: copies to host memory, float32 -------------------- */

/* Target encoder over all tokens, final norm included: (B, patches, D). */
IJ_MUST_USE enum ij_status ijepa_copy_target_features(struct ijepa *ijepa,
                                                      const struct block_arena *target,
                                                      float *ret_values, struct ij_err *reterr_err);
/* (B, context_count, D) after ijepa_predict or ijepa_encode. */
IJ_MUST_USE enum ij_status ijepa_copy_context_features(struct ijepa *ijepa, float *ret_values,
                                                       struct ij_err *reterr_err);
/* (M * B, target_count, D) after ijepa_predict and ijepa_target. */
IJ_MUST_USE enum ij_status ijepa_copy_prediction(struct ijepa *ijepa, float *ret_values,
                                                 struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status ijepa_copy_target(struct ijepa *ijepa, float *ret_values,
                                             struct ij_err *reterr_err);

#endif
