/* See tuner.h. */
#include "gpu/train/tuner.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/model/op_call.h"
#include "gpu/model/weights_init.h"

#define CLIP_EPS 1e-6 /* added to the norm, as torch.nn.utils.clip_grad_norm_ does */
#define HEAD_STD 2e-5

/* ---- Life ------------------------------------------------------------------------------------ */

static enum ij_status allocate(struct tuner *t, int64_t images, struct ij_err *reterr_err)
{
    const struct ops *ops = t->backend->ops;
    size_t floats = (size_t)t->layout.floats;
    for (int i = 0; i < TUNER_ARENAS; i++) {
        IJ_TRY(
            ops->allocate(t->backend, floats * sizeof(float), (void **)&t->arenas[i], reterr_err));
        IJ_TRY(ops->clear(t->backend, t->arenas[i], floats * sizeof(float), reterr_err));
    }
    if (t->config.type == TENSOR_BF16)
        IJ_TRY(ops->allocate(t->backend, floats * sizeof(uint16_t), (void **)&t->parameter_bf16,
                             reterr_err));
    IJ_TRY(ops->allocate(t->backend, t->layout.count * sizeof(double), (void **)&t->square_sums,
                         reterr_err));
    t->host_sums = mem_array(double, t->layout.count);
    t->logits = mem_array(float, (size_t)(images * t->layout.classes));
    return t->host_sums && t->logits
               ? IJ_OK
               : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a classifier's training");
}

enum ij_status tuner_new(struct backend *backend, const struct vit_config *config, int64_t classes,
                         int64_t images, struct tuner **ret_tuner, struct ij_err *reterr_err)
{
    enum ij_status status;
    struct tuner *t = mem_new(struct tuner);
    if (!t)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a classifier's training");
    t->backend = backend;
    t->config = *config;
    IJ_TRY_GOTO(status, classifier_layout_init(&t->layout, &t->config, classes, reterr_err), out);
    IJ_TRY_GOTO(status, allocate(t, images, reterr_err), out);
    IJ_TRY_GOTO(status,
                classifier_new(backend, &t->config, &t->layout, images, &t->classifier, reterr_err),
                out);
    *ret_tuner = MEM_TAKE(t);
out:
    tuner_free(t);
    return status;
}

void tuner_free(struct tuner *tuner)
{
    if (!tuner)
        return;
    const struct ops *ops = tuner->backend->ops;
    classifier_free(tuner->classifier);
    for (int i = 0; i < TUNER_ARENAS; i++)
        ops->release(tuner->backend, tuner->arenas[i]);
    ops->release(tuner->backend, tuner->parameter_bf16);
    ops->release(tuner->backend, tuner->square_sums);
    mem_free(tuner->host_sums);
    mem_free(tuner->logits);
    classifier_layout_done(&tuner->layout);
    mem_free(tuner);
}

/* ---- Weights --------------------------------------------------------------------------------- */

enum ij_status tuner_write(struct tuner *tuner, enum tuner_arena arena, const float *values,
                           struct ij_err *reterr_err)
{
    struct backend *backend = tuner->backend;
    IJ_TRY(backend->ops->upload(backend, tuner->arenas[arena], values,
                                (size_t)tuner->layout.floats * sizeof(float), reterr_err));
    if (arena == TUNER_PARAMETER && tuner->parameter_bf16)
        OP_CALL(convert, .count = tuner->layout.floats, .x = tensor_f32(tuner->arenas[arena]),
                .y = {tuner->parameter_bf16, TENSOR_BF16});
    return backend->ops->synchronize(backend, reterr_err);
}

enum ij_status tuner_read(struct tuner *tuner, enum tuner_arena arena, float *ret_values,
                          struct ij_err *reterr_err)
{
    struct backend *backend = tuner->backend;
    IJ_TRY(backend->ops->download(backend, ret_values, tuner->arenas[arena],
                                  (size_t)tuner->layout.floats * sizeof(float), reterr_err));
    return backend->ops->synchronize(backend, reterr_err);
}

enum ij_status tuner_set_random(struct tuner *tuner, uint64_t seed, struct ij_err *reterr_err)
{
    const struct classifier_layout *l = &tuner->layout;
    size_t most = (size_t)(l->floats > l->encoder.floats ? l->floats : l->encoder.floats);
    mem_auto float *values = mem_array(float, most);
    struct rng rng;
    if (!values)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the initial weights");
    weights_init_fill(&l->encoder, &tuner->config, seed, values);
    memset(values + l->encoder.encoder_floats, 0,
           (most - (size_t)l->encoder.encoder_floats) * sizeof *values);
    for (int64_t i = 0; i < tuner->config.encoder.width; i++)
        values[l->norm_weight + i] = 1;
    rng_init(&rng, seed, RNG_PROBE, 0, 1000);
    for (int64_t i = 0; i < l->classes * tuner->config.encoder.width; i++)
        values[l->head_weight + i] = (float)(HEAD_STD * rng_normal(&rng));
    IJ_TRY(tuner_write(tuner, TUNER_PARAMETER, values, reterr_err));
    memset(values, 0, most * sizeof *values);
    IJ_TRY(tuner_write(tuner, TUNER_MOMENT1, values, reterr_err));
    return tuner_write(tuner, TUNER_MOMENT2, values, reterr_err);
}

enum ij_status tuner_load_encoder(struct tuner *tuner, const struct checkpoint *checkpoint,
                                  enum engine_encoder encoder, struct ij_err *reterr_err)
{
    const struct classifier_layout *l = &tuner->layout;
    mem_auto float *values = mem_array(float, (size_t)l->floats);
    if (!values)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the checkpoint's weights");
    IJ_TRY(tuner_read(tuner, TUNER_PARAMETER, values, reterr_err));
    for (size_t i = 0; i < l->count && l->tensors[i].encoder; i++) {
        const struct layout_tensor *t = &l->tensors[i];
        char target[LAYOUT_TARGET_NAME_MAX];
        layout_target_name(t, target);
        IJ_TRY(checkpoint_read_f32(checkpoint, CHECKPOINT_MODEL,
                                   encoder == ENGINE_ENCODER_TARGET ? target : t->name,
                                   values + t->offset, (uint64_t)t->count, reterr_err));
    }
    return tuner_write(tuner, TUNER_PARAMETER, values, reterr_err);
}

/* ---- One step -------------------------------------------------------------------------------- */

static struct block_arena weights(const struct tuner *t, bool accumulate)
{
    return (struct block_arena){.parameter = t->arenas[TUNER_PARAMETER],
                                .parameter_bf16 = t->parameter_bf16,
                                .gradient = t->arenas[TUNER_GRADIENT],
                                .accumulate = accumulate};
}

enum ij_status tuner_answer(struct tuner *tuner, const uint8_t *pixels, int64_t images,
                            float *ret_logits, struct ij_err *reterr_err)
{
    struct block_arena arena = weights(tuner, false);
    return classifier_forward(tuner->classifier, &arena, pixels, images, NULL, ret_logits,
                              reterr_err);
}

/* The loss of one image; its logits become (softmax - target) * scale. */
static double image_loss(float *logits, const float *target, int64_t classes, double scale)
{
    double most = -INFINITY, sum = 0, loss = 0;
    for (int64_t c = 0; c < classes; c++)
        most = fmax(most, (double)logits[c]);
    for (int64_t c = 0; c < classes; c++)
        sum += exp((double)logits[c] - most);
    for (int64_t c = 0; c < classes; c++) {
        double log_share = (double)logits[c] - most - log(sum);
        loss -= (double)target[c] * log_share;
        logits[c] = (float)((exp(log_share) - (double)target[c]) * scale);
    }
    return loss;
}

enum ij_status tuner_micro_batch(struct tuner *tuner, const struct tuner_batch *batch,
                                 uint32_t index, uint32_t count, double *ret_loss,
                                 struct ij_err *reterr_err)
{
    struct block_arena arena = weights(tuner, index > 0);
    int64_t classes = tuner->layout.classes;
    double scale = 1 / ((double)batch->images * count), loss = 0;
    IJ_TRY(classifier_forward(tuner->classifier, &arena, batch->pixels, batch->images, batch->drop,
                              tuner->logits, reterr_err));
    for (int64_t i = 0; i < batch->images; i++)
        loss +=
            image_loss(tuner->logits + i * classes, batch->targets + i * classes, classes, scale) /
            (double)batch->images;
    *ret_loss = loss;
    return classifier_backward(tuner->classifier, &arena, tuner->logits, reterr_err);
}

static enum ij_status measure_norm(struct tuner *t, double *ret_norm, struct ij_err *reterr_err)
{
    struct backend *backend = t->backend;
    size_t count = t->layout.first[t->layout.layers];
    double sum = 0;
    OP_CALL(square_sums, .x = t->arenas[TUNER_GRADIENT], .segments = t->layout.segments,
            .segment_count = (int64_t)count, .sums = t->square_sums);
    IJ_TRY(backend->ops->download(backend, t->host_sums, t->square_sums, count * sizeof(double),
                                  reterr_err));
    IJ_TRY(backend->ops->synchronize(backend, reterr_err));
    for (size_t i = 0; i < count; i++)
        sum += t->host_sums[i];
    *ret_norm = sqrt(sum);
    return IJ_OK;
}

enum ij_status tuner_update(struct tuner *tuner, const struct tuner_update *update,
                            double *ret_norm, struct ij_err *reterr_err)
{
    struct backend *backend = tuner->backend;
    const struct classifier_layout *l = &tuner->layout;
    float **arenas = tuner->arenas;
    double scale = 1;
    IJ_TRY(measure_norm(tuner, ret_norm, reterr_err));
    if (!isfinite(*ret_norm))
        return IJ_ERR(reterr_err, IJ_NONFINITE, "the gradient is not finite at step %llu",
                      (unsigned long long)update->step);
    if (update->clip > 0 && *ret_norm > update->clip)
        scale = update->clip / (*ret_norm + CLIP_EPS);
    for (int64_t layer = 0; layer < l->layers; layer++)
        OP_CALL(adamw_ema, .step = (int64_t)update->step,
                .lr = update->lr * classifier_layout_rate(l, update->layer_decay, layer),
                .weight_decay = update->weight_decay, .beta1 = update->beta1,
                .beta2 = update->beta2, .eps = update->eps, .ema_momentum = 1,
                .gradient_scale = scale, .segments = l->segments + l->first[layer],
                .segment_count = (int64_t)(l->first[layer + 1] - l->first[layer]),
                .parameter = arenas[TUNER_PARAMETER], .gradient = arenas[TUNER_GRADIENT],
                .moment1 = arenas[TUNER_MOMENT1], .moment2 = arenas[TUNER_MOMENT2],
                .parameter_bf16 = tuner->parameter_bf16);
    return IJ_OK;
}
