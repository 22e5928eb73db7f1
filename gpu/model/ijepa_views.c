/* See ijepa_views.h. */
#include "gpu/model/ijepa_views.h"

#include <string.h>

enum ij_status ijepa_views_init(struct ijepa_views *views, const struct vit_config *config,
                                struct ij_err *reterr_err)
{
    memset(views, 0, sizeof *views);
    IJ_TRY(encoder_init(&views->encoder, config, reterr_err));
    return predictor_init(&views->predictor, config, reterr_err);
}

void ijepa_views_done(struct ijepa_views *views)
{
    encoder_done(&views->encoder);
    predictor_done(&views->predictor);
}

void ijepa_views_carve(struct ijepa_views *v, struct carve *carve, const struct vit_config *config,
                       const struct predictor_limits *limits)
{
    int64_t tokens = limits->images * config->patches, d = config->encoder.width;
    int64_t targets = limits->blocks * limits->images * limits->target_count;
    v->position = carve_floats(carve, config->patches * d);
    v->pred_position = carve_floats(carve, config->patches * config->predictor.width);
    v->sums = carve_floats(carve, IJEPA_LOSS_SUMS * limits->images);
    v->target = carve_tensor(carve, TENSOR_F32, targets, d);
    encoder_carve(&v->encoder, carve, config, limits->context_rows);
    predictor_carve(&v->predictor, carve, config, limits);
    size_t shared = carve->used;
    encoder_infer_carve(&v->infer, carve, config, limits->images);
    v->needed_features = carve_tensor(carve, TENSOR_F32, tokens, d);
    carve->used = shared;
    block_work_carve(carve, &config->encoder, config->type, limits->context_rows, &v->encoder_work);
    carve->used = shared;
    block_work_carve(carve, &config->predictor, config->type,
                     limits->blocks * limits->context_rows + targets, &v->predictor_work);
    carve->used = carve->peak;
}
