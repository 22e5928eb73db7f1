/* Arenas and one optimiser step. See trainer.h. */
#include "gpu/train/trainer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/model/op_call.h"
#include "gpu/model/weights_init.h"

#define BUCKET_FLOATS (25 * 1024 * 1024 / 4) /* of one exchange between ranks */
#define CLIP_EPS      1e-6 /* added to the norm, as torch.nn.utils.clip_grad_norm_ does */

int64_t trainer_floats(const struct trainer *trainer, enum trainer_arena arena)
{
    return arena == TRAINER_TARGET ? trainer->layout.encoder_floats : trainer->layout.floats;
}

static enum ij_status allocate(struct trainer *t, struct ij_err *reterr_err)
{
    const struct ops *ops = t->backend->ops;
    size_t sums = t->layout.count * sizeof(double);
    for (int i = 0; i < TRAINER_ARENA_COUNT; i++) {
        size_t bytes = (size_t)trainer_floats(t, (enum trainer_arena)i) * sizeof(float);
        IJ_TRY(ops->allocate(t->backend, bytes, (void **)&t->arenas[i], reterr_err));
        IJ_TRY(ops->clear(t->backend, t->arenas[i], bytes, reterr_err));
    }
    if (t->config.type == TENSOR_BF16) {
        IJ_TRY(ops->allocate(t->backend, (size_t)t->layout.floats * sizeof(uint16_t),
                             (void **)&t->parameter_bf16, reterr_err));
        IJ_TRY(ops->allocate(t->backend, (size_t)t->layout.encoder_floats * sizeof(uint16_t),
                             (void **)&t->target_bf16, reterr_err));
    }
    if (t->config.target_e4m3) {
        size_t values = (size_t)t->layout.encoder_floats;
        size_t scales = (size_t)block_scale_at(t->layout.encoder_floats) * sizeof(float);
        IJ_TRY(ops->allocate(t->backend, values, (void **)&t->target_e4m3, reterr_err));
        IJ_TRY(ops->allocate(t->backend, scales, (void **)&t->target_scale, reterr_err));
        t->target_is_new = true;
    }
    IJ_TRY(ops->allocate(t->backend, sums, (void **)&t->square_sums, reterr_err));
    t->host_sums = mem_array(double, t->layout.count);
    return t->host_sums ? IJ_OK : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for gradient norms");
}

enum ij_status trainer_new(struct backend *backend, const struct vit_config *config,
                           const struct predictor_limits *limits, enum tensor_type pixels,
                           struct trainer **ret_trainer, struct ij_err *reterr_err)
{
    enum ij_status status;
    struct trainer *t = mem_new(struct trainer);
    if (!t)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a trainer");
    t->backend = backend;
    t->config = *config;
    IJ_TRY_GOTO(status, layout_init(&t->layout, &t->config, reterr_err), out);
    IJ_TRY_GOTO(status, allocate(t, reterr_err), out);
    IJ_TRY_GOTO(status,
                ijepa_new(backend, &t->config, &t->layout, limits, pixels, &t->ijepa, reterr_err),
                out);
    *ret_trainer = MEM_TAKE(t);
out:
    trainer_free(t);
    return status;
}

void trainer_free(struct trainer *trainer)
{
    if (!trainer)
        return;
    const struct ops *ops = trainer->backend->ops;
    ijepa_free(trainer->ijepa);
    for (int i = 0; i < TRAINER_ARENA_COUNT; i++)
        ops->release(trainer->backend, trainer->arenas[i]);
    ops->release(trainer->backend, trainer->parameter_bf16);
    ops->release(trainer->backend, trainer->target_bf16);
    ops->release(trainer->backend, trainer->target_e4m3);
    ops->release(trainer->backend, trainer->target_scale);
    ops->release(trainer->backend, trainer->square_sums);
    mem_free(trainer->host_sums);
    layout_done(&trainer->layout);
    mem_free(trainer);
}

enum ij_status trainer_write(struct trainer *trainer, enum trainer_arena arena, const float *values,
                             struct ij_err *reterr_err)
{
    struct backend *backend = trainer->backend;
    int64_t count = trainer_floats(trainer, arena);
    uint16_t *copy = arena == TRAINER_PARAMETER ? trainer->parameter_bf16
                     : arena == TRAINER_TARGET  ? trainer->target_bf16
                                                : NULL;
    IJ_TRY(backend->ops->upload(backend, trainer->arenas[arena], values,
                                (size_t)count * sizeof(float), reterr_err));
    trainer->target_is_new |= arena == TRAINER_TARGET;
    if (copy)
        OP_CALL(convert, .count = count, .x = tensor_f32(trainer->arenas[arena]),
                .y = {copy, TENSOR_BF16});
    return IJ_OK;
}

enum ij_status trainer_read(struct trainer *trainer, enum trainer_arena arena, float *ret_values,
                            struct ij_err *reterr_err)
{
    size_t bytes = (size_t)trainer_floats(trainer, arena) * sizeof(float);
    return trainer->backend->ops->download(trainer->backend, ret_values, trainer->arenas[arena],
                                           bytes, reterr_err);
}

enum ij_status trainer_set_random(struct trainer *trainer, uint64_t seed, struct ij_err *reterr_err)
{
    struct backend *backend = trainer->backend;
    size_t bytes = (size_t)trainer->layout.floats * sizeof(float);
    mem_auto float *values = mem_array(float, (size_t)trainer->layout.floats);
    if (!values)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the initial weights");
    weights_init_fill(&trainer->layout, &trainer->config, seed, values);
    IJ_TRY(trainer_write(trainer, TRAINER_PARAMETER, values, reterr_err));
    IJ_TRY(trainer_write(trainer, TRAINER_TARGET, values, reterr_err));
    IJ_TRY(backend->ops->clear(backend, trainer->arenas[TRAINER_MOMENT1], bytes, reterr_err));
    return backend->ops->clear(backend, trainer->arenas[TRAINER_MOMENT2], bytes, reterr_err);
}

/* By tensor, so that no second copy of a large model is needed. */
enum ij_status trainer_ema_gap(struct trainer *trainer, double *ret_gap, struct ij_err *reterr_err)
{
    const struct layout *l = &trainer->layout;
    const struct backend *backend = trainer->backend;
    int64_t longest = 0;
    double apart = 0, size = 0;
    for (size_t i = 0; i < l->count; i++)
        longest = l->tensors[i].count > longest ? l->tensors[i].count : longest;
    mem_auto float *own = mem_array(float, (size_t)longest);
    mem_auto float *other = mem_array(float, (size_t)longest);
    if (!own || !other)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to compare the encoders");
    for (size_t i = 0; i < l->count; i++) {
        const struct layout_tensor *t = &l->tensors[i];
        size_t bytes = (size_t)t->count * sizeof(float);
        if (!t->encoder)
            continue;
        IJ_TRY(backend->ops->download(trainer->backend, own,
                                      trainer->arenas[TRAINER_PARAMETER] + t->offset, bytes,
                                      reterr_err));
        IJ_TRY(backend->ops->download(trainer->backend, other,
                                      trainer->arenas[TRAINER_TARGET] + t->offset, bytes,
                                      reterr_err));
        for (int64_t k = 0; k < t->count; k++) {
            double gap = (double)own[k] - (double)other[k];
            apart += gap * gap;
            size += (double)own[k] * (double)own[k];
        }
    }
    *ret_gap = size > 0 ? sqrt(apart / size) : (double)NAN;
    return IJ_OK;
}

struct block_arena trainer_weights(const struct trainer *trainer, bool accumulate)
{
    struct block_arena arena = {.parameter = trainer->arenas[TRAINER_PARAMETER],
                                .parameter_bf16 = trainer->parameter_bf16,
                                .gradient = trainer->arenas[TRAINER_GRADIENT],
                                .accumulate = accumulate};
    return arena;
}

struct block_arena trainer_target(const struct trainer *trainer)
{
    struct block_arena arena = {.parameter = trainer->arenas[TRAINER_TARGET],
                                .parameter_bf16 = trainer->target_bf16};
    return arena;
}

/* ---- Ranks ----------------------------------------------------------------------------------- */

void trainer_join(struct trainer *trainer, struct comm *comm)
{
    trainer->comm = comm;
}

/* Gradients become final from the end of the arena to its beginning: a full bucket leaves at once.
 */
static enum ij_status give_bucket(void *user, int64_t from, struct ij_err *reterr_err)
{
    struct trainer *t = user;
    int64_t count = t->summed_from - from;
    if (count < BUCKET_FLOATS && from > 0)
        return IJ_OK;
    t->summed_from = from;
    return comm_add(t->comm, t->arenas[TRAINER_GRADIENT] + from, count, reterr_err);
}

static enum ij_status backward(struct trainer *t, struct block_arena *weights, bool last,
                               struct ij_err *reterr_err)
{
    struct block_ready ready = {.call = give_bucket, .user = t};
    bool exchange = last && t->comm && comm_count(t->comm) > 1;
    if (exchange)
        weights->ready = &ready;
    t->summed_from = t->layout.floats;
    IJ_TRY(ijepa_backward(t->ijepa, weights, reterr_err));
    return exchange ? comm_add_finish(t->comm, reterr_err) : IJ_OK;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static enum ij_status quantize(struct trainer *t, int64_t offset, int64_t rows, int64_t width,
                               struct ij_err *reterr_err)
{
    struct backend *backend = t->backend;
    OP_CALL(quantize_rows, .rows = rows, .width = width,
            .x = tensor_f32(t->arenas[TRAINER_TARGET] + offset),
            .y = {t->target_e4m3 + offset, TENSOR_E4M3},
            .scale = t->target_scale + block_scale_at(offset));
    return IJ_OK;
}

/* The matrices of the target encoder's blocks in float8, from their float32 averages: once after
 * every change. */
static enum ij_status follow_target(struct trainer *t, struct ij_err *reterr_err)
{
    int64_t d = t->config.encoder.width, hidden = t->config.encoder.hidden;
    if (!t->target_e4m3 || !t->target_is_new)
        return IJ_OK;
    for (int64_t i = 0; i < t->config.encoder.depth; i++) {
        const struct layout_block *at = &t->layout.encoder_blocks[i];
        IJ_TRY(quantize(t, at->qkv_weight, 3 * d, d, reterr_err));
        IJ_TRY(quantize(t, at->proj_weight, d, d, reterr_err));
        IJ_TRY(quantize(t, at->fc1_weight, hidden, d, reterr_err));
        IJ_TRY(quantize(t, at->fc2_weight, d, hidden, reterr_err));
    }
    t->target_is_new = false;
    return IJ_OK;
}

enum ij_status trainer_prefetch(struct trainer *trainer, const struct ijepa_batch *batch,
                                struct ij_err *reterr_err)
{
    return ijepa_prefetch(trainer->ijepa, batch, reterr_err);
}

enum ij_status trainer_start(struct trainer *trainer, const struct ijepa_batch *batch,
                             uint32_t index, uint32_t count, struct ij_err *reterr_err)
{
    struct ijepa *ijepa = trainer->ijepa;
    uint32_t ranks = trainer->comm ? comm_count(trainer->comm) : 1;
    struct block_arena target = trainer_target(trainer);
    target.parameter_e4m3 = trainer->target_e4m3;
    target.scale_e4m3 = trainer->target_scale;
    IJ_TRY(ijepa_load(ijepa, batch, reterr_err));
    IJ_TRY(follow_target(trainer, reterr_err));
    int64_t parts = ijepa_parts(ijepa);
    for (int64_t part = 0; part < parts; part++) {
        struct block_arena weights = trainer_weights(trainer, index > 0 || part > 0);
        bool last = index + 1 == count && part + 1 == parts;
        ijepa_set_part(ijepa, part);
        IJ_TRY(ijepa_target(ijepa, &target, reterr_err));
        IJ_TRY(ijepa_predict(ijepa, &weights, reterr_err));
        IJ_TRY(ijepa_loss(ijepa, 1.0f / (float)(count * ranks), reterr_err));
        IJ_TRY(backward(trainer, &weights, last, reterr_err));
    }
    return IJ_OK;
}

enum ij_status trainer_loss(struct trainer *trainer, struct ijepa_loss *ret_loss,
                            struct ij_err *reterr_err)
{
    return ijepa_read_loss(trainer->ijepa, ret_loss, reterr_err);
}

enum ij_status trainer_micro_batch(struct trainer *trainer, const struct ijepa_batch *batch,
                                   uint32_t index, uint32_t count, struct ijepa_loss *ret_loss,
                                   struct ij_err *reterr_err)
{
    IJ_TRY(trainer_start(trainer, batch, index, count, reterr_err));
    return trainer_loss(trainer, ret_loss, reterr_err);
}

static bool in_block(const char *name, long long block)
{
    char prefix[LAYOUT_NAME_MAX];
    int size = snprintf(prefix, sizeof prefix, "encoder.blocks.%lld.", block);
    return strncmp(name, prefix, (size_t)size) == 0;
}

static enum ij_status measure_norms(struct trainer *t, struct trainer_norms *ret_norms,
                                    struct ij_err *reterr_err)
{
    struct backend *backend = t->backend;
    double all = 0, first = 0, last = 0;
    OP_CALL(square_sums, .x = t->arenas[TRAINER_GRADIENT], .segments = t->layout.segments,
            .segment_count = (int64_t)t->layout.count, .sums = t->square_sums);
    IJ_TRY(backend->ops->download(backend, t->host_sums, t->square_sums,
                                  t->layout.count * sizeof(double), reterr_err));
    for (size_t i = 0; i < t->layout.count; i++) {
        const char *name = t->layout.tensors[i].name;
        all += t->host_sums[i];
        first += in_block(name, 0) ? t->host_sums[i] : 0;
        last += in_block(name, t->config.encoder.depth - 1) ? t->host_sums[i] : 0;
    }
    *ret_norms = (struct trainer_norms){sqrt(all), sqrt(first), sqrt(last)};
    return IJ_OK;
}

enum ij_status trainer_update(struct trainer *trainer, const struct trainer_update *update,
                              struct trainer_norms *ret_norms, struct ij_err *reterr_err)
{
    struct backend *backend = trainer->backend;
    float **arenas = trainer->arenas;
    IJ_TRY(measure_norms(trainer, ret_norms, reterr_err));
    if (!isfinite(ret_norms->all))
        return IJ_ERR(reterr_err, IJ_NONFINITE, "the gradient is not finite at step %llu",
                      (unsigned long long)update->step);
    double scale = 1;
    if (update->clip > 0 && ret_norms->all > update->clip)
        scale = update->clip / (ret_norms->all + CLIP_EPS);
    OP_CALL(adamw_ema, .step = (int64_t)update->step, .lr = update->lr,
            .weight_decay = update->weight_decay, .beta1 = update->beta1, .beta2 = update->beta2,
            .eps = update->eps, .ema_momentum = update->ema_momentum, .gradient_scale = scale,
            .segments = trainer->layout.segments, .segment_count = (int64_t)trainer->layout.count,
            .parameter = arenas[TRAINER_PARAMETER], .gradient = arenas[TRAINER_GRADIENT],
            .moment1 = arenas[TRAINER_MOMENT1], .moment2 = arenas[TRAINER_MOMENT2],
            .ema = arenas[TRAINER_TARGET], .parameter_bf16 = trainer->parameter_bf16,
            .ema_bf16 = trainer->target_bf16);
    trainer->target_is_new = true;
    return IJ_OK;
}
