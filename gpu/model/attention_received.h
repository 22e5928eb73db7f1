/*
 * How much attention each token receives: softmax(q k^T / sqrt(head_dim)), averaged over queries.
 * I-JEPA has no class token whose attention could be drawn; this says what all patches look at.
 *
 * Computed on the host, for pictures of a few images.
 */
#ifndef GPU_MODEL_ATTENTION_RECEIVED_H
#define GPU_MODEL_ATTENTION_RECEIVED_H

#include "base/status.h"
#include "gpu/ops/ops.h"

/* Of one sequence; qkv: host memory, (length, 3, heads, head_dim) in float32 or bfloat16;
 * ret_received: (heads, length), each row's sum is 1. IJ_NO_MEMORY. */
IJ_MUST_USE enum ij_status attention_received(struct tensor qkv, int64_t length, int64_t heads,
                                              int64_t head_dim, float *ret_received,
                                              struct ij_err *reterr_err);

#endif
