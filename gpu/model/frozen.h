/*
 * A frozen encoder: from pixels to pooled features, no gradient. What evaluation is built on.
 *
 * Weights are its own (random or from a checkpoint) or borrowed from a training run. All buffers
 * are allocated by frozen_new for `images_max` images; the other calls allocate nothing. One
 * thread.
 */
#ifndef GPU_MODEL_FROZEN_H
#define GPU_MODEL_FROZEN_H

#include <stdint.h>

#include "gpu/checkpoint/checkpoint.h"
#include "gpu/model/vit_config.h"

#define FROZEN_CONCAT_BLOCKS 4 /* the last blocks whose outputs make the long feature */

struct frozen;

/* Borrows the backend. The weights are unset: call one of the next three before frozen_features. */
IJ_MUST_USE enum ij_status frozen_new(struct backend *backend, const struct vit_config *config,
                                      int64_t images_max, struct frozen **ret_frozen,
                                      struct ij_err *reterr_err);
void frozen_free(struct frozen *frozen); /* NULL is fine */

/* Device memory that frozen_new takes, without scratch and weights. */
uint64_t frozen_device_bytes(const struct vit_config *config, int64_t images_max);

/* The same initial weights as a training run of this seed. */
IJ_MUST_USE enum ij_status frozen_set_random(struct frozen *frozen, uint64_t seed,
                                             struct ij_err *reterr_err);
/* IJ_CORRUPT names a tensor that is missing or has another size. */
IJ_MUST_USE enum ij_status frozen_set_checkpoint(struct frozen *frozen,
                                                 const struct checkpoint *checkpoint,
                                                 enum engine_encoder encoder,
                                                 struct ij_err *reterr_err);
/* Borrows device memory laid out as gpu/model/layout.h says, until the next set or free.
 * `parameter_bf16` is its bfloat16 copy, NULL unless config->type is TENSOR_BF16. */
void frozen_set_borrowed(struct frozen *frozen, const float *parameter,
                         const uint16_t *parameter_bf16);

/*
 * Features of `images` images (at most images_max), written to host memory:
 *   ret_last    (images, width)      mean over tokens of the final norm's output
 *   ret_concat  (images, 4 * width)  the last four blocks' outputs, oldest first, each through the
 *                                    final norm and averaged; with fewer blocks the missing ones
 *                                    are zero. NULL: not wanted.
 *   ret_tokens  (images, patches, width) the final norm's output itself, float32. NULL: not wanted.
 * `pixels` is host memory, uint8 (images, crop, crop, 3).
 */
IJ_MUST_USE enum ij_status frozen_features(struct frozen *frozen, const uint8_t *pixels,
                                           int64_t images, float *ret_last, float *ret_concat,
                                           float *ret_tokens, struct ij_err *reterr_err);

/* Of image `image` of the last frozen_features: the mean attention that each patch receives in the
 * last block, (heads, patches); see attention_received.h. */
IJ_MUST_USE enum ij_status frozen_attention(struct frozen *frozen, int64_t image,
                                            float *ret_received, struct ij_err *reterr_err);

#endif
