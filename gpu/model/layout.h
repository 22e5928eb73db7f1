/*
 * Where every trainable tensor lies in the one float32 arena, and under which public name.
 *
 * The encoder comes first, then the predictor, each in the order of public checkpoints. Every
 * tensor begins at a multiple of 16 values (64 bytes); the gaps stay zero. The arenas of gradients
 * and of both moments have the same layout. The arena of the target encoder is the encoder's part
 * of it: the same offsets, `encoder_floats` long. Fixed position tables are not in here.
 */
#ifndef GPU_MODEL_LAYOUT_H
#define GPU_MODEL_LAYOUT_H

#include "gpu/model/vit_config.h"

#define LAYOUT_NAME_MAX        64
#define LAYOUT_TARGET_NAME_MAX 80
#define LAYOUT_DIMS_MAX        4

enum layout_init { LAYOUT_INIT_ZERO, LAYOUT_INIT_ONE, LAYOUT_INIT_NORMAL };

struct layout_tensor {
    char name[LAYOUT_NAME_MAX]; /* "encoder.blocks.0.attn.qkv.weight" */
    int dims;
    uint64_t shape[LAYOUT_DIMS_MAX];
    int64_t offset, count; /* in values */
    enum layout_init init;
    int64_t rescale; /* n > 0: output weight of the n-th block, may start divided by sqrt(2 n) */
    bool decay, encoder;
};

/* Offsets of one block's tensors; weights are (out, in). */
struct layout_block {
    int64_t norm1_weight, norm1_bias, qkv_weight, qkv_bias, proj_weight, proj_bias;
    int64_t norm2_weight, norm2_bias, fc1_weight, fc1_bias, fc2_weight, fc2_bias;
};

struct layout {
    struct layout_tensor *tensors; /* owned */
    size_t count;
    int64_t floats, encoder_floats;                    /* arena sizes, gaps included */
    uint64_t parameters_encoder, parameters_predictor; /* trainable values */
    int64_t patch_weight, patch_bias, norm_weight, norm_bias;
    int64_t mask_token, embed_weight, embed_bias;
    int64_t pred_norm_weight, pred_norm_bias, pred_proj_weight, pred_proj_bias;
    struct layout_block *encoder_blocks, *predictor_blocks; /* owned */
    struct parameter_segment *segments;                     /* one per tensor, same order; owned */
};

IJ_MUST_USE enum ij_status layout_init(struct layout *layout, const struct vit_config *config,
                                       struct ij_err *reterr_err);
void layout_done(struct layout *layout); /* a zeroed struct is fine */

/* Index of the tensor with this name, or `count`. */
size_t layout_find(const struct layout *layout, const char *name);

/* The target encoder's name of an encoder tensor: "target_encoder." instead of "encoder.". */
void layout_target_name(const struct layout_tensor *tensor, char ret_name[LAYOUT_TARGET_NAME_MAX]);

#endif
