/*
 * What other programs call the tensors of an encoder.
 *
 *   official, timm  blocks.3.attn.qkv.weight                       as in the layout, without prefix
 *   Hugging Face    encoder.layer.3.attention.attention.query.weight, ...key..., ...value...
 *
 * Names after the conversion script of transformers (convert_ijepa_to_hf.py). The three parts of a
 * split tensor are equal ranges of its rows, in this order. Pure.
 */
#ifndef GPU_INTEROP_WEIGHT_NAMES_H
#define GPU_INTEROP_WEIGHT_NAMES_H

#include "gpu/model/layout.h"

#define WEIGHT_NAMES_MAX       96
#define WEIGHT_NAMES_PARTS_MAX 3

enum weight_names_style { WEIGHT_NAMES_OFFICIAL, WEIGHT_NAMES_HF };

struct weight_names {
    int parts; /* 1 or 3 */
    char names[WEIGHT_NAMES_PARTS_MAX][WEIGHT_NAMES_MAX];
};

/* `tensor` belongs to the encoder. */
void weight_names_encoder(enum weight_names_style style, const struct layout_tensor *tensor,
                          struct weight_names *ret_names);
/* The shape of one part; as many dimensions as the tensor. */
void weight_names_part_shape(const struct weight_names *names, const struct layout_tensor *tensor,
                             uint64_t ret_shape[LAYOUT_DIMS_MAX]);
/* The position table, (1, patches, width); static. */
const char *weight_names_positions(enum weight_names_style style);

#endif
