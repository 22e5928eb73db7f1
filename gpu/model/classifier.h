/*
 * An encoder with a linear classifier, trained as a whole: the mean over tokens of the last block's
 * output, a layer norm, a linear layer (He et al., CVPR 2022, fine-tuning with global pooling).
 *
 * Loss and its gradient are the caller's: logits come out, their gradient goes in. All buffers are
 * allocated by classifier_new; a pass allocates nothing. One thread.
 */
#ifndef GPU_MODEL_CLASSIFIER_H
#define GPU_MODEL_CLASSIFIER_H

#include "gpu/model/classifier_layout.h"
#include "gpu/model/encoder.h"

struct classifier;

/* Bytes of device memory for batches of `images`. */
IJ_MUST_USE enum ij_status classifier_measure(const struct vit_config *config, int64_t classes,
                                              int64_t images, uint64_t *ret_bytes,
                                              struct ij_err *reterr_err);
/* Borrows backend, config and layout. */
IJ_MUST_USE enum ij_status classifier_new(struct backend *backend, const struct vit_config *config,
                                          const struct classifier_layout *layout, int64_t images,
                                          struct classifier **ret_classifier,
                                          struct ij_err *reterr_err);
void classifier_free(struct classifier *classifier); /* NULL is fine */

/* The fixed position table, device memory: (patches, D). */
const float *classifier_position(const struct classifier *classifier);

/*
 * `pixels`: host memory, uint8 (images, crop, crop, 3). ret_logits: host memory (images, classes).
 * `drop`: host memory (depth, 2, images), the factors of each block's two branches (block.h,
 * attention first); NULL: no branch is dropped.
 */
IJ_MUST_USE enum ij_status classifier_forward(struct classifier *classifier,
                                              const struct block_arena *arena,
                                              const uint8_t *pixels, int64_t images,
                                              const float *drop, float *ret_logits,
                                              struct ij_err *reterr_err);
/* From the gradient of the logits of the last forward pass, host memory, to the gradient arena. The
 * final norm's gradient is not written. */
IJ_MUST_USE enum ij_status classifier_backward(struct classifier *classifier,
                                               const struct block_arena *arena,
                                               const float *dlogits, struct ij_err *reterr_err);

#endif
