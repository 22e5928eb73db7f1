/* The whole model for one micro-batch. See ijepa.h. */
#include "gpu/model/ijepa.h"

#include <string.h>

#include "base/mem.h"
#include "gpu/model/ijepa_views.h"
#include "gpu/model/op_call.h"
#include "gpu/model/positions.h"

struct ijepa {
    struct backend *backend;
    const struct vit_config *config;
    const struct layout *layout;
    struct predictor_limits limits;
    struct ijepa_views v;
    struct lanes lanes;
    struct lanes_part part; /* what the calls are about */
    int64_t part_index;
    float *sums;  /* owned; host copy of the views' */
    void *memory; /* owned; device: the lanes, then the views */
};

/* ---- Construction ---------------------------------------------------------------------------- */

static enum ij_status check_support(struct backend *backend, enum tensor_type type,
                                    struct ij_err *reterr_err)
{
    static const enum op_id needed[] = {OP_linear_forward,         OP_linear_backward_input,
                                        OP_linear_backward_weight, OP_attention_forward,
                                        OP_attention_backward,     OP_layer_norm_forward};
    for (size_t i = 0; i < COUNT_OF(needed); i++)
        if (!backend->ops->supports(backend, needed[i], type))
            return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "precision",
                                "the %s backend has no bfloat16 operations here; use float32",
                                backend->name);
    return IJ_OK;
}

static enum ij_status check_float8(struct backend *backend, const struct vit_config *config,
                                   struct ij_err *reterr_err)
{
    if (!config->target_e4m3 || backend->ops->supports(backend, OP_quantize_rows, TENSOR_E4M3))
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "target_precision",
                        "this device has no products of float8 (compute capability 8.9 or newer "
                        "is needed); use target_precision same");
}

static enum ij_status upload_positions(struct ijepa *ijepa, struct ij_err *reterr_err)
{
    const struct vit_config *c = ijepa->config;
    struct backend *backend = ijepa->backend;
    int64_t widest = c->encoder.width > c->predictor.width ? c->encoder.width : c->predictor.width;
    mem_auto float *table = mem_array(float, (size_t)(c->patches * widest));
    if (!table)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the position tables");
    positions_fill(c->grid, c->encoder.width, table);
    IJ_TRY(backend->ops->upload(backend, ijepa->v.position, table,
                                (size_t)(c->patches * c->encoder.width) * sizeof(float),
                                reterr_err));
    positions_fill(c->grid, c->predictor.width, table);
    return backend->ops->upload(backend, ijepa->v.pred_position, table,
                                (size_t)(c->patches * c->predictor.width) * sizeof(float),
                                reterr_err);
}

static enum ij_status allocate(struct ijepa *ijepa, enum tensor_type pixels,
                               struct ij_err *reterr_err)
{
    struct backend *backend = ijepa->backend;
    struct carve carve = {.base = NULL};
    IJ_TRY(lanes_init(&ijepa->lanes, backend, ijepa->config, &ijepa->limits, pixels, reterr_err));
    for (int pass = 0; pass < 2; pass++) { /* measure, then hand out */
        lanes_carve(&ijepa->lanes, &carve);
        ijepa_views_carve(&ijepa->v, &carve, ijepa->config, &ijepa->limits);
        if (pass == 0)
            IJ_TRY(backend->ops->allocate(backend, carve.peak, &ijepa->memory, reterr_err));
        carve = (struct carve){.base = ijepa->memory};
    }
    return IJ_OK;
}

enum ij_status ijepa_new(struct backend *backend, const struct vit_config *config,
                         const struct layout *layout, const struct predictor_limits *limits,
                         enum tensor_type pixels, struct ijepa **ret_ijepa,
                         struct ij_err *reterr_err)
{
    IJ_TRY(check_support(backend, config->type, reterr_err));
    IJ_TRY(check_float8(backend, config, reterr_err));
    struct ijepa *ijepa = mem_new(struct ijepa);
    if (!ijepa)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a model");
    ijepa->backend = backend;
    ijepa->config = config;
    ijepa->layout = layout;
    ijepa->limits = *limits;
    enum ij_status status;
    IJ_TRY_GOTO(status, ijepa_views_init(&ijepa->v, config, reterr_err), out);
    ijepa->sums = mem_array(float, IJEPA_LOSS_SUMS *(size_t)limits->images);
    if (!ijepa->sums) {
        status = IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a model");
        goto out;
    }
    IJ_TRY_GOTO(status, allocate(ijepa, pixels, reterr_err), out);
    struct ijepa_scratch s = ijepa_scratch(config, limits);
    IJ_TRY_GOTO(status,
                backend->ops->reserve_scratch(backend, s.rows, s.width, s.heads, reterr_err), out);
    IJ_TRY_GOTO(status, upload_positions(ijepa, reterr_err), out);
    *ret_ijepa = MEM_TAKE(ijepa);
out:
    ijepa_free(ijepa);
    return status;
}

void ijepa_free(struct ijepa *ijepa)
{
    if (!ijepa)
        return;
    ijepa_views_done(&ijepa->v);
    ijepa->backend->ops->release(ijepa->backend, ijepa->memory);
    lanes_done(&ijepa->lanes);
    mem_free(ijepa->sums);
    mem_free(ijepa);
}

/* ---- One micro-batch ------------------------------------------------------------------------- */

enum ij_status ijepa_prefetch(struct ijepa *ijepa, const struct ijepa_batch *batch,
                              struct ij_err *reterr_err)
{
    return lanes_prefetch(&ijepa->lanes, batch, reterr_err);
}

enum ij_status ijepa_load(struct ijepa *ijepa, const struct ijepa_batch *batch,
                          struct ij_err *reterr_err)
{
    IJ_TRY(lanes_load(&ijepa->lanes, batch, reterr_err));
    ijepa_set_part(ijepa, 0);
    return IJ_OK;
}

int64_t ijepa_parts(const struct ijepa *ijepa)
{
    return lanes_parts(&ijepa->lanes);
}

void ijepa_set_part(struct ijepa *ijepa, int64_t part)
{
    ijepa->part_index = part;
    ijepa->part = lanes_part(&ijepa->lanes, part);
}

static const struct lanes_input *input_of(const struct ijepa *ijepa)
{
    return &ijepa->part.input;
}
static const struct ijepa_batch *batch_of(const struct ijepa *ijepa)
{
    return &ijepa->part.batch;
}

/* Its images as a share of the batch's. */
static double share_of(const struct ijepa *ijepa, int64_t part)
{
    return (double)lanes_part(&ijepa->lanes, part).batch.images /
           (double)lanes_loaded(&ijepa->lanes)->batch.images;
}

static struct encoder_input all_patches(const struct ijepa *ijepa)
{
    struct encoder_input input = {.pixels = input_of(ijepa)->pixels,
                                  .images = batch_of(ijepa)->images,
                                  .keep_count = ijepa->config->patches,
                                  .position = ijepa->v.position};
    return input;
}

static struct encoder_input kept_patches(const struct ijepa *ijepa)
{
    struct encoder_input input = all_patches(ijepa);
    input.keep_count = batch_of(ijepa)->context_count;
    input.index = input_of(ijepa)->context;
    return input;
}

static struct predictor_input predictor_input(const struct ijepa *ijepa)
{
    struct predictor_input input = {.images = batch_of(ijepa)->images,
                                    .blocks = ijepa->limits.blocks,
                                    .context_count = batch_of(ijepa)->context_count,
                                    .target_count = batch_of(ijepa)->target_count,
                                    .context_index = input_of(ijepa)->context,
                                    .target_index = input_of(ijepa)->targets,
                                    .position = ijepa->v.pred_position,
                                    .features = ijepa->v.encoder.normed};
    return input;
}

static int64_t target_rows(const struct ijepa *ijepa)
{
    return ijepa->limits.blocks * batch_of(ijepa)->images * batch_of(ijepa)->target_count;
}

/* The target encoder sees the patches of one target block at a time. */
static enum ij_status target_of_blocks(struct ijepa *ijepa, const struct block_arena *target,
                                       struct ij_err *reterr_err)
{
    struct backend *backend = ijepa->backend;
    struct ijepa_views *v = &ijepa->v;
    struct encoder_input input = all_patches(ijepa);
    int64_t d = ijepa->config->encoder.width, rows = input.images * batch_of(ijepa)->target_count;
    input.keep_count = batch_of(ijepa)->target_count;
    for (int64_t m = 0; m < ijepa->limits.blocks; m++) {
        struct tensor y = {(float *)v->target.data + m * rows * d, TENSOR_F32};
        input.index = input_of(ijepa)->targets + m * rows;
        IJ_TRY(encoder_infer_run(backend, ijepa->config, ijepa->layout, target, &input, NULL, 0,
                                 &v->infer, NULL, y, reterr_err));
    }
    OP_CALL(layer_norm_forward, .rows = target_rows(ijepa), .width = d,
            .eps = VIT_CONFIG_TARGET_EPS, .x = v->target, .y = v->target);
    return IJ_OK;
}

enum ij_status ijepa_target(struct ijepa *ijepa, const struct block_arena *target,
                            struct ij_err *reterr_err)
{
    struct backend *backend = ijepa->backend;
    const struct ijepa_views *v = &ijepa->v;
    struct encoder_input input = all_patches(ijepa);
    int64_t d = ijepa->config->encoder.width;
    if (ijepa->config->target_at_input)
        return target_of_blocks(ijepa, target, reterr_err);
    IJ_TRY(encoder_infer_run(backend, ijepa->config, ijepa->layout, target, &input,
                             input_of(ijepa)->needed, ijepa->part.needed_count, &v->infer, NULL,
                             v->needed_features, reterr_err));
    OP_CALL(layer_norm_forward, .rows = ijepa->part.needed_count, .width = d,
            .eps = VIT_CONFIG_TARGET_EPS, .x = v->needed_features, .y = v->needed_features);
    OP_CALL(gather_rows, .rows = target_rows(ijepa), .width = d, .x = v->needed_features,
            .index = input_of(ijepa)->pick, .y = v->target);
    return IJ_OK;
}

enum ij_status ijepa_encode(struct ijepa *ijepa, const struct block_arena *arena,
                            struct ij_err *reterr_err)
{
    struct encoder_input kept = kept_patches(ijepa);
    return encoder_forward(ijepa->backend, ijepa->config, ijepa->layout, arena, &kept,
                           &ijepa->v.encoder, reterr_err);
}

enum ij_status ijepa_predict(struct ijepa *ijepa, const struct block_arena *arena,
                             struct ij_err *reterr_err)
{
    struct predictor_input input = predictor_input(ijepa);
    IJ_TRY(ijepa_encode(ijepa, arena, reterr_err));
    return predictor_forward(ijepa->backend, ijepa->config, ijepa->layout, arena, &input,
                             &ijepa->v.predictor, reterr_err);
}

enum ij_status ijepa_loss(struct ijepa *ijepa, float gradient_scale, struct ij_err *reterr_err)
{
    struct backend *backend = ijepa->backend;
    const struct ijepa_views *v = &ijepa->v;
    OP_CALL(loss, .rows = target_rows(ijepa), .width = ijepa->config->encoder.width,
            .kind = ijepa->config->loss, .prediction = v->predictor.prediction,
            .target = v->target.data,
            .gradient_scale = (float)(gradient_scale * share_of(ijepa, ijepa->part_index)),
            .dprediction = v->predictor.dprediction,
            .sums = v->sums + IJEPA_LOSS_SUMS * ijepa->part_index);
    return IJ_OK;
}

enum ij_status ijepa_read_loss(struct ijepa *ijepa, struct ijepa_loss *ret_loss,
                               struct ij_err *reterr_err)
{
    struct backend *backend = ijepa->backend;
    double means[IJEPA_LOSS_SUMS] = {0};
    int64_t parts = ijepa_parts(ijepa);
    IJ_TRY(backend->ops->download(backend, ijepa->sums, ijepa->v.sums,
                                  (size_t)(IJEPA_LOSS_SUMS * parts) * sizeof(float), reterr_err));
    for (int64_t p = 0; p < parts; p++)
        for (int i = 0; i < IJEPA_LOSS_SUMS; i++)
            means[i] += share_of(ijepa, p) * (double)ijepa->sums[IJEPA_LOSS_SUMS * p + i];
    *ret_loss = (struct ijepa_loss){(float)means[0], (float)means[1], (float)means[2]};
    return IJ_OK;
}

enum ij_status ijepa_backward(struct ijepa *ijepa, const struct block_arena *arena,
                              struct ij_err *reterr_err)
{
    struct encoder_input kept = kept_patches(ijepa);
    struct predictor_input input = predictor_input(ijepa);
    struct ijepa_views *v = &ijepa->v;
    IJ_TRY(predictor_backward(ijepa->backend, ijepa->config, ijepa->layout, arena, &input,
                              &v->predictor, &v->predictor_work, v->encoder.incoming, reterr_err));
    return encoder_backward(ijepa->backend, ijepa->config, ijepa->layout, arena, &kept, &v->encoder,
                            &v->encoder_work, reterr_err);
}

const float *ijepa_position(const struct ijepa *ijepa)
{
    return ijepa->v.position;
}

const float *ijepa_pred_position(const struct ijepa *ijepa)
{
    return ijepa->v.pred_position;
}

/* ---- Copies for comparison ------------------------------------------------------------------- */

/* `count` values as float32 in host memory; a bfloat16 tensor is widened here. */
static enum ij_status copy_values(struct ijepa *ijepa, struct tensor t, int64_t count,
                                  float *ret_values, struct ij_err *reterr_err)
{
    struct backend *backend = ijepa->backend;
    if (t.type == TENSOR_F32)
        return backend->ops->download(backend, ret_values, t.data, (size_t)count * sizeof(float),
                                      reterr_err);
    mem_auto uint16_t *half = mem_array(uint16_t, (size_t)count);
    if (!half)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to copy %lld values", (long long)count);
    IJ_TRY(backend->ops->download(backend, half, t.data, (size_t)count * sizeof *half, reterr_err));
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)half[i] << 16;
        memcpy(&ret_values[i], &bits, sizeof bits);
    }
    return IJ_OK;
}

enum ij_status ijepa_copy_target_features(struct ijepa *ijepa, const struct block_arena *target,
                                          float *ret_values, struct ij_err *reterr_err)
{
    const struct ijepa_views *v = &ijepa->v;
    struct encoder_input input = all_patches(ijepa);
    int64_t rows = input.images * input.keep_count;
    IJ_TRY(encoder_infer_run(ijepa->backend, ijepa->config, ijepa->layout, target, &input, NULL, 0,
                             &v->infer, NULL, v->needed_features, reterr_err));
    return copy_values(ijepa, v->needed_features, rows * ijepa->config->encoder.width, ret_values,
                       reterr_err);
}

enum ij_status ijepa_copy_context_features(struct ijepa *ijepa, float *ret_values,
                                           struct ij_err *reterr_err)
{
    int64_t rows = batch_of(ijepa)->images * batch_of(ijepa)->context_count;
    return copy_values(ijepa, ijepa->v.encoder.normed, rows * ijepa->config->encoder.width,
                       ret_values, reterr_err);
}

enum ij_status ijepa_copy_prediction(struct ijepa *ijepa, float *ret_values,
                                     struct ij_err *reterr_err)
{
    return copy_values(ijepa, ijepa->v.predictor.prediction,
                       target_rows(ijepa) * ijepa->config->encoder.width, ret_values, reterr_err);
}

enum ij_status ijepa_copy_target(struct ijepa *ijepa, float *ret_values, struct ij_err *reterr_err)
{
    return copy_values(ijepa, ijepa->v.target, target_rows(ijepa) * ijepa->config->encoder.width,
                       ret_values, reterr_err);
}
