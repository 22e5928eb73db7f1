/* The derived shape of a model. See vit_config.h. */
#include "gpu/model/vit_config.h"

struct vit_config vit_config_from_spec(const struct engine_spec *spec)
{
    const struct engine_model *m = &spec->model;
    struct vit_config c = {
        .crop = spec->data.crop,
        .patch = m->patch,
        .grid = spec->data.crop / m->patch,
        .patch_values = (int64_t)3 * m->patch * m->patch,
        .loss = spec->loss == ENGINE_L2 ? LOSS_L2 : LOSS_SMOOTH_L1,
        .target_at_input = spec->masks.target_at == ENGINE_TARGET_AT_INPUT,
        .target_e4m3 = spec->target_precision == ENGINE_TARGET_FLOAT8,
        .type = spec->precision == ENGINE_BFLOAT16 ? TENSOR_BF16 : TENSOR_F32,
        .init_std = m->init_std,
        .patch_init_std = m->patch_init_std > 0 ? m->patch_init_std : m->init_std,
        .init_rescale = m->init_rescale,
    };
    if (spec->eval.positions == ENGINE_POSITIONS_BICUBIC)
        c.stretched = spec->eval.trained_crop / m->patch;
    c.patches = c.grid * c.grid;
    c.encoder.gelu_tanh = c.predictor.gelu_tanh = m->gelu_tanh;
    c.encoder.width = m->width;
    c.encoder.depth = m->depth;
    c.encoder.heads = m->heads;
    c.encoder.hidden = (int64_t)((double)m->width * m->mlp_ratio);
    c.predictor.width = m->pred_width;
    c.predictor.depth = m->pred_depth;
    c.predictor.heads = m->pred_heads ? m->pred_heads : m->heads;
    c.predictor.hidden = 4 * c.predictor.width;
    for (int i = 0; i < 3; i++) {
        c.mean[i] = (float)spec->data.mean[i];
        c.std[i] = (float)spec->data.std[i];
    }
    return c;
}
