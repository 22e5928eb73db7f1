/*
 * The encoder without a backward pass: the target encoder, and evaluation. Over all patches, or
 * over as many of each image as `input->index` lists.
 *
 * One set of buffers serves all blocks. Where only some tokens of the result are needed, the last
 * block's MLP and the final norm run on those alone (block.h).
 */
#ifndef GPU_MODEL_ENCODER_INFER_H
#define GPU_MODEL_ENCODER_INFER_H

#include "gpu/model/encoder.h"

struct encoder_infer {
    struct tensor patches; /* (images * patches, 3 p^2) */
    struct tensor x;       /* (images * patches, D) float32 */
    struct block_saved saved;
};

/* Called with each block's output x, (images * patches, D) float32, before the final norm. With
 * `needed` the last block's is (needed_count, D). May not change it. */
struct encoder_infer_tap {
    enum ij_status (*call)(void *user, int64_t block, struct tensor x, struct ij_err *reterr_err);
    void *user; /* call NULL: none */
};

void encoder_infer_carve(struct encoder_infer *infer, struct carve *carve,
                         const struct vit_config *config, int64_t images);

/*
 * y, float32: the final norm's output, (images * keep_count, D), or (needed_count, D) for the rows
 * `needed` (device memory, absolute rows; NULL: all).
 */
IJ_MUST_USE enum ij_status
encoder_infer_run(struct backend *backend, const struct vit_config *config,
                  const struct layout *layout, const struct block_arena *arena,
                  const struct encoder_input *input, const int32_t *needed, int64_t needed_count,
                  const struct encoder_infer *infer, const struct encoder_infer_tap *tap,
                  struct tensor y, struct ij_err *reterr_err);

#endif
