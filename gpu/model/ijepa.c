/* The whole model for one micro-batch. See ijepa.h. */
#include "gpu/model/ijepa.h"

#include <string.h>

#include "base/mem.h"
#include "gpu/model/op_call.h"
#include "gpu/model/positions.h"

/* Everything in device memory. */
struct views {
    struct tensor pixels;
    float *position, *pred_position;       /* (patches, D), (patches, P) */
    int32_t *context, *targets;            /* as in struct ijepa_batch */
    int32_t *needed;                       /* (needed_count) rows of the target encoder's output */
    int32_t *pick;                         /* (M * B * K) which of those each target token is */
    struct tensor needed_features, target; /* (needed_count, D), (M * B * K, D) float32 */
    float *sums;                           /* (3) of the loss */
    struct encoder encoder;
    struct predictor predictor;
    struct encoder_infer infer; /* shares its place with the next two */
    struct block_work encoder_work, predictor_work;
};

struct ijepa {
    struct backend *backend;
    const struct vit_config *config;
    const struct layout *layout;
    struct predictor_limits limits;
    struct views v;
    void *memory;             /* owned; device */
    struct ijepa_batch batch; /* of the last load; pointers are not valid */
    int64_t needed_count;
    int32_t *slots, *host_needed, *host_pick; /* owned; (B * patches), then as in views */
};

static void carve_input(struct views *v, struct carve *carve, const struct vit_config *config,
                        const struct predictor_limits *limits, enum tensor_type pixels)
{
    int64_t tokens = limits->images * config->patches;
    int64_t targets = limits->blocks * limits->images * limits->target_count;
    v->pixels = carve_tensor(carve, pixels, limits->images * config->crop, 3 * config->crop);
    v->context = carve_indices(carve, limits->images * limits->context_count);
    v->targets = carve_indices(carve, targets);
    v->needed = carve_indices(carve, targets < tokens ? targets : tokens);
    v->pick = carve_indices(carve, targets);
}

static void carve_activations(struct views *v, struct carve *carve, const struct vit_config *config,
                              const struct predictor_limits *limits)
{
    int64_t tokens = limits->images * config->patches, d = config->encoder.width;
    int64_t targets = limits->blocks * limits->images * limits->target_count;
    int64_t length = limits->context_count + limits->target_count;
    v->position = carve_floats(carve, config->patches * d);
    v->pred_position = carve_floats(carve, config->patches * config->predictor.width);
    v->sums = carve_floats(carve, 3);
    v->target = carve_tensor(carve, TENSOR_F32, targets, d);
    encoder_carve(&v->encoder, carve, config, limits->images * limits->context_count);
    predictor_carve(&v->predictor, carve, config, limits);
    size_t shared = carve->used;
    encoder_infer_carve(&v->infer, carve, config, limits->images);
    v->needed_features = carve_tensor(carve, TENSOR_F32, tokens, d);
    carve->used = shared;
    block_work_carve(carve, &config->encoder, config->type, limits->images * limits->context_count,
                     &v->encoder_work);
    carve->used = shared;
    block_work_carve(carve, &config->predictor, config->type,
                     limits->blocks * limits->images * length, &v->predictor_work);
    carve->used = carve->peak;
}

struct predictor_limits ijepa_limits(const struct mask_sizes_rules *rules, uint32_t images)
{
    struct mask_sizes_bounds bounds = mask_sizes_bounds(rules);
    struct predictor_limits limits = {.images = images,
                                      .blocks = rules->targets,
                                      .context_count = bounds.context_max,
                                      .target_count = bounds.target_max};
    return limits;
}

static enum ij_status views_init(struct views *v, const struct vit_config *config,
                                 struct ij_err *reterr_err)
{
    memset(v, 0, sizeof *v);
    IJ_TRY(encoder_init(&v->encoder, config, reterr_err));
    return predictor_init(&v->predictor, config, reterr_err);
}

static void views_done(struct views *v)
{
    encoder_done(&v->encoder);
    predictor_done(&v->predictor);
}

enum ij_status ijepa_measure(const struct vit_config *config, const struct predictor_limits *limits,
                             enum tensor_type pixels, struct ijepa_bytes *ret_bytes,
                             struct ij_err *reterr_err)
{
    struct views v;
    struct carve input = {.base = NULL}, activations = {.base = NULL};
    enum ij_status status = views_init(&v, config, reterr_err);
    if (status == IJ_OK) {
        carve_input(&v, &input, config, limits, pixels);
        carve_activations(&v, &activations, config, limits);
        ret_bytes->input = input.peak;
        ret_bytes->activations = activations.peak;
    }
    views_done(&v);
    return status;
}

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

/* Largest rows and width of any operation. */
static enum ij_status reserve_scratch(struct ijepa *ijepa, struct ij_err *reterr_err)
{
    const struct vit_config *c = ijepa->config;
    const struct predictor_limits *l = &ijepa->limits;
    int64_t rows = l->images * c->patches;
    int64_t sequence_rows = l->images * l->blocks * (l->context_count + l->target_count);
    int64_t widths[] = {3 * c->encoder.width, c->encoder.hidden, 3 * c->predictor.width,
                        c->predictor.hidden, c->patch_values};
    int64_t width = 0;
    for (size_t i = 0; i < COUNT_OF(widths); i++)
        width = widths[i] > width ? widths[i] : width;
    int64_t heads = c->encoder.heads > c->predictor.heads ? c->encoder.heads : c->predictor.heads;
    return ijepa->backend->ops->reserve_scratch(
        ijepa->backend, rows > sequence_rows ? rows : sequence_rows, width, heads, reterr_err);
}

static enum ij_status allocate(struct ijepa *ijepa, enum tensor_type pixels,
                               struct ij_err *reterr_err)
{
    const struct vit_config *c = ijepa->config;
    const struct predictor_limits *l = &ijepa->limits;
    struct carve carve = {.base = NULL};
    carve_input(&ijepa->v, &carve, c, l, pixels);
    carve_activations(&ijepa->v, &carve, c, l);
    IJ_TRY(ijepa->backend->ops->allocate(ijepa->backend, carve.peak, &ijepa->memory, reterr_err));
    carve = (struct carve){.base = ijepa->memory};
    carve_input(&ijepa->v, &carve, c, l, pixels);
    carve_activations(&ijepa->v, &carve, c, l);
    size_t targets = (size_t)(l->blocks * l->images * l->target_count);
    ijepa->slots = mem_array(int32_t, (size_t)(l->images * c->patches));
    ijepa->host_needed = mem_array(int32_t, targets);
    ijepa->host_pick = mem_array(int32_t, targets);
    if (!ijepa->slots || !ijepa->host_needed || !ijepa->host_pick)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a batch's indices");
    return IJ_OK;
}

enum ij_status ijepa_new(struct backend *backend, const struct vit_config *config,
                         const struct layout *layout, const struct predictor_limits *limits,
                         enum tensor_type pixels, struct ijepa **ret_ijepa,
                         struct ij_err *reterr_err)
{
    IJ_TRY(check_support(backend, config->type, reterr_err));
    struct ijepa *ijepa = mem_new(struct ijepa);
    if (!ijepa)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a model");
    ijepa->backend = backend;
    ijepa->config = config;
    ijepa->layout = layout;
    ijepa->limits = *limits;
    enum ij_status status;
    IJ_TRY_GOTO(status, views_init(&ijepa->v, config, reterr_err), out);
    IJ_TRY_GOTO(status, allocate(ijepa, pixels, reterr_err), out);
    IJ_TRY_GOTO(status, reserve_scratch(ijepa, reterr_err), out);
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
    views_done(&ijepa->v);
    ijepa->backend->ops->release(ijepa->backend, ijepa->memory);
    mem_free(ijepa->slots);
    mem_free(ijepa->host_needed);
    mem_free(ijepa->host_pick);
    mem_free(ijepa);
}

/* ---- One micro-batch ------------------------------------------------------------------------- */

/* Lists every target token once, in the order of first use, and for each place in the target blocks
 * which of them it is. */
static void list_needed(struct ijepa *ijepa, const struct ijepa_batch *b)
{
    int64_t patches = ijepa->config->patches, count = 0;
    int64_t blocks = ijepa->limits.blocks;
    memset(ijepa->slots, 0xff, (size_t)(b->images * patches) * sizeof(int32_t));
    for (int64_t i = 0; i < blocks * b->images * b->target_count; i++) {
        int64_t image = i / b->target_count % b->images;
        int64_t row = image * patches + b->targets[i];
        if (ijepa->slots[row] < 0) {
            ijepa->slots[row] = (int32_t)count;
            ijepa->host_needed[count++] = (int32_t)row;
        }
        ijepa->host_pick[i] = ijepa->slots[row];
    }
    ijepa->needed_count = count;
}

static enum ij_status check_batch(const struct ijepa *ijepa, const struct ijepa_batch *b,
                                  struct ij_err *reterr_err)
{
    const struct predictor_limits *l = &ijepa->limits;
    if (b->images < 1 || b->images > l->images || b->context_count < 1 ||
        b->context_count > l->context_count || b->target_count < 1 ||
        b->target_count > l->target_count)
        return IJ_ERR(
            reterr_err, IJ_INVALID,
            "a batch of %lld images, %lld context and %lld target patches is outside what "
            "was planned: %lld, %lld, %lld",
            (long long)b->images, (long long)b->context_count, (long long)b->target_count,
            (long long)l->images, (long long)l->context_count, (long long)l->target_count);
    return IJ_OK;
}

enum ij_status ijepa_load(struct ijepa *ijepa, const struct ijepa_batch *batch,
                          struct ij_err *reterr_err)
{
    struct backend *backend = ijepa->backend;
    const struct views *v = &ijepa->v;
    size_t values = (size_t)(batch->images * ijepa->config->crop * ijepa->config->crop) * 3;
    IJ_TRY(check_batch(ijepa, batch, reterr_err));
    size_t context = (size_t)(batch->images * batch->context_count) * sizeof(int32_t);
    size_t targets =
        (size_t)(ijepa->limits.blocks * batch->images * batch->target_count) * sizeof(int32_t);
    list_needed(ijepa, batch);
    ijepa->batch = *batch;
    IJ_TRY(backend->ops->upload(backend, v->pixels.data, batch->pixels,
                                values * tensor_type_size(v->pixels.type), reterr_err));
    IJ_TRY(backend->ops->upload(backend, v->context, batch->context, context, reterr_err));
    IJ_TRY(backend->ops->upload(backend, v->targets, batch->targets, targets, reterr_err));
    IJ_TRY(backend->ops->upload(backend, v->needed, ijepa->host_needed,
                                (size_t)ijepa->needed_count * sizeof(int32_t), reterr_err));
    return backend->ops->upload(backend, v->pick, ijepa->host_pick, targets, reterr_err);
}

static struct encoder_input all_patches(const struct ijepa *ijepa)
{
    struct encoder_input input = {.pixels = ijepa->v.pixels,
                                  .images = ijepa->batch.images,
                                  .keep_count = ijepa->config->patches,
                                  .position = ijepa->v.position};
    return input;
}

static struct encoder_input kept_patches(const struct ijepa *ijepa)
{
    struct encoder_input input = all_patches(ijepa);
    input.keep_count = ijepa->batch.context_count;
    input.index = ijepa->v.context;
    return input;
}

static struct predictor_input predictor_input(const struct ijepa *ijepa)
{
    struct predictor_input input = {.images = ijepa->batch.images,
                                    .blocks = ijepa->limits.blocks,
                                    .context_count = ijepa->batch.context_count,
                                    .target_count = ijepa->batch.target_count,
                                    .context_index = ijepa->v.context,
                                    .target_index = ijepa->v.targets,
                                    .position = ijepa->v.pred_position,
                                    .features = ijepa->v.encoder.normed};
    return input;
}

static int64_t target_rows(const struct ijepa *ijepa)
{
    return ijepa->limits.blocks * ijepa->batch.images * ijepa->batch.target_count;
}

/* The target encoder sees the patches of one target block at a time. */
static enum ij_status target_of_blocks(struct ijepa *ijepa, const struct block_arena *target,
                                       struct ij_err *reterr_err)
{
    struct backend *backend = ijepa->backend;
    struct views *v = &ijepa->v;
    struct encoder_input input = all_patches(ijepa);
    int64_t d = ijepa->config->encoder.width, rows = input.images * ijepa->batch.target_count;
    input.keep_count = ijepa->batch.target_count;
    for (int64_t m = 0; m < ijepa->limits.blocks; m++) {
        struct tensor y = {(float *)v->target.data + m * rows * d, TENSOR_F32};
        input.index = v->targets + m * rows;
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
    const struct views *v = &ijepa->v;
    struct encoder_input input = all_patches(ijepa);
    int64_t d = ijepa->config->encoder.width;
    if (ijepa->config->target_at_input)
        return target_of_blocks(ijepa, target, reterr_err);
    IJ_TRY(encoder_infer_run(backend, ijepa->config, ijepa->layout, target, &input, v->needed,
                             ijepa->needed_count, &v->infer, NULL, v->needed_features, reterr_err));
    OP_CALL(layer_norm_forward, .rows = ijepa->needed_count, .width = d,
            .eps = VIT_CONFIG_TARGET_EPS, .x = v->needed_features, .y = v->needed_features);
    OP_CALL(gather_rows, .rows = target_rows(ijepa), .width = d, .x = v->needed_features,
            .index = v->pick, .y = v->target);
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

enum ij_status ijepa_loss(struct ijepa *ijepa, float gradient_scale, struct ijepa_loss *ret_loss,
                          struct ij_err *reterr_err)
{
    struct backend *backend = ijepa->backend;
    const struct views *v = &ijepa->v;
    float sums[3];
    OP_CALL(loss, .rows = target_rows(ijepa), .width = ijepa->config->encoder.width,
            .kind = ijepa->config->loss, .prediction = v->predictor.prediction,
            .target = v->target.data, .gradient_scale = gradient_scale,
            .dprediction = v->predictor.dprediction, .sums = v->sums);
    IJ_TRY(backend->ops->download(backend, sums, v->sums, sizeof sums, reterr_err));
    *ret_loss = (struct ijepa_loss){sums[0], sums[1], sums[2]};
    return IJ_OK;
}

enum ij_status ijepa_backward(struct ijepa *ijepa, const struct block_arena *arena,
                              struct ij_err *reterr_err)
{
    struct encoder_input kept = kept_patches(ijepa);
    struct predictor_input input = predictor_input(ijepa);
    struct views *v = &ijepa->v;
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
    const struct views *v = &ijepa->v;
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
    int64_t rows = ijepa->batch.images * ijepa->batch.context_count;
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
