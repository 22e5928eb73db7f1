/*
 * The shape of one I-JEPA model, derived once from the run's spec.
 *
 * Two stacks of the same kind of block: the encoder (context and target encoder share its shape)
 * and the narrower predictor. Plain data, no pointers; shared by planning, training and evaluation.
 */
#ifndef GPU_MODEL_VIT_CONFIG_H
#define GPU_MODEL_VIT_CONFIG_H

#include <stdint.h>

#include "gpu/engine.h"
#include "gpu/ops/ops.h"

#define VIT_CONFIG_NORM_EPS   1e-6f /* every layer norm with weights */
#define VIT_CONFIG_TARGET_EPS 1e-5f /* the weightless layer norm of the targets */

/* A stack of pre-norm transformer blocks. */
struct vit_stack {
    int64_t width, depth, heads, hidden; /* hidden: inner width of the MLP */
    bool gelu_tanh;                      /* GELU of the MLP in its tanh form */
};

struct vit_config {
    int64_t crop, patch;  /* pixels per side */
    int64_t grid;         /* patches per side: crop / patch, a remainder is not looked at */
    int64_t patches;      /* grid^2 */
    int64_t stretched;    /* grid whose encoder position table is stretched to this one; 0: none */
    int64_t patch_values; /* 3 * patch^2 */
    struct vit_stack encoder, predictor;
    enum loss_kind loss;
    bool target_at_input;  /* the target encoder sees one target block at a time */
    bool target_e4m3;      /* products of the target encoder's blocks in float8 */
    enum tensor_type type; /* of activations and weights in matrix products */
    float mean[3], std[3]; /* of pixels scaled to 0..1 */
    double init_std, patch_init_std;
    bool init_rescale;
};

/* The spec must have passed engine_check. */
struct vit_config vit_config_from_spec(const struct engine_spec *spec);

#endif
