/*
 * Replays a reference file: five training steps of another implementation. See engine.h.
 *
 * The file (tests/golden/README.md) holds the initial weights, per step the images, masks, loss and
 * rates, for step 0 the features and gradients, and the weights after the last update. Groups are
 * compared by |ours - reference| / |reference| in the L2 norm over all values of the group.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "gpu/checkpoint/safetensors.h"
#include "gpu/engine.h"
#include "gpu/engine_device.h"
#include "gpu/train/trainer.h"

#define LIMIT_FORWARD  1e-5
#define LIMIT_GRADIENT 1e-4
#define LIMIT_LOSS     1e-5
#define LIMIT_WEIGHTS  1e-4
#define STEPS_MAX      1000

struct replay {
    const struct safetensors *file;
    struct vit_config config;
    struct predictor_limits limits;
    uint64_t steps;
    double beta1, beta2, eps;
    struct trainer *trainer; /* owned */
    float *ours, *theirs;    /* owned; staging, large enough for any group */
    void (*report)(void *user, const char *line);
    void *user;
    bool failed;
};

/* ---- The file -------------------------------------------------------------------------------- */

/* A number of the metadata; `otherwise` where the key is left out (NaN: it must be there). */
static enum ij_status number(const struct safetensors *file, const char *key, double otherwise,
                             double *ret_value, struct ij_err *reterr_err)
{
    const char *text = safetensors_metadata(file, key);
    *ret_value = otherwise;
    if ((!text && isnan(otherwise)) || (text && !text_to_double(text, ret_value)))
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, key, "metadata '%s' is %s%s", key,
                            text ? "not a number: " : "missing", text ? text : "");
    return IJ_OK;
}

static enum ij_status integer(const struct safetensors *file, const char *key, double otherwise,
                              double max, uint32_t *ret_value, struct ij_err *reterr_err)
{
    double value;
    IJ_TRY(number(file, key, otherwise, &value, reterr_err));
    if (value < 0 || value > max || value != floor(value))
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, key,
                            "metadata '%s' must be a whole number up to %g, got %g", key, max,
                            value);
    *ret_value = (uint32_t)value;
    return IJ_OK;
}

static enum ij_status read_loss(const struct safetensors *file, enum engine_loss *ret_loss,
                                struct ij_err *reterr_err)
{
    const char *text = safetensors_metadata(file, "loss");
    *ret_loss = ENGINE_SMOOTH_L1;
    if (text && strcmp(text, "l2") == 0)
        *ret_loss = ENGINE_L2;
    else if (text && strcmp(text, "smooth_l1") != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, "loss",
                            "metadata 'loss' must be smooth_l1 or l2, got %s", text);
    return IJ_OK;
}

/* The model of the file as a spec that engine_check can judge. */
static enum ij_status read_spec(const struct safetensors *file, struct engine_spec *spec,
                                struct ij_err *reterr_err)
{
    struct engine_model *m = &spec->model;
    memset(spec, 0, sizeof *spec);
    spec->kind = ENGINE_KNN; /* the one without demands on masks and schedules */
    snprintf(spec->data.path, sizeof spec->data.path, "reference");
    for (int i = 0; i < 3; i++)
        spec->data.std[i] = 1;
    spec->eval = (struct engine_eval){.batch = 1, .seeds = 1, .neighbors = 1, .temperature = 1};
    m->init_std = 0.02;
    IJ_TRY(integer(file, "crop", NAN, 1024, &spec->data.crop, reterr_err));
    IJ_TRY(integer(file, "patch", NAN, 128, &m->patch, reterr_err));
    IJ_TRY(integer(file, "dim", NAN, 8192, &m->width, reterr_err));
    IJ_TRY(integer(file, "depth", NAN, 128, &m->depth, reterr_err));
    IJ_TRY(integer(file, "heads", NAN, 128, &m->heads, reterr_err));
    IJ_TRY(number(file, "mlp_ratio", 4, &m->mlp_ratio, reterr_err));
    IJ_TRY(integer(file, "pred_width", 384, 8192, &m->pred_width, reterr_err));
    IJ_TRY(integer(file, "pred_depth", 6, 128, &m->pred_depth, reterr_err));
    IJ_TRY(integer(file, "pred_heads", m->heads, 128, &m->pred_heads, reterr_err));
    IJ_TRY(read_loss(file, &spec->loss, reterr_err));
    return engine_check(spec, reterr_err);
}

static enum ij_status find(const struct replay *r, const char *name,
                           const struct safetensors_tensor **ret_tensor, struct ij_err *reterr_err)
{
    *ret_tensor = safetensors_find(r->file, name);
    return *ret_tensor ? IJ_OK
                       : IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, name, "tensor '%s' is missing", name);
}

/* A tensor of exactly `count` values, as float32. */
static enum ij_status read_values(const struct replay *r, const char *name, float *ret_values,
                                  int64_t count, struct ij_err *reterr_err)
{
    const struct safetensors_tensor *t;
    IJ_TRY(find(r, name, &t, reterr_err));
    if (t->count != (uint64_t)count)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, name, "tensor '%s' has %llu values, not %lld",
                            name, (unsigned long long)t->count, (long long)count);
    return safetensors_copy_f32(t, ret_values, t->count, reterr_err);
}

/* The masks' shapes of one step. */
static enum ij_status read_shapes(const struct replay *r, uint64_t step, int64_t *ret_images,
                                  int64_t *ret_context, int64_t *ret_blocks, int64_t *ret_targets,
                                  struct ij_err *reterr_err)
{
    const struct safetensors_tensor *context, *targets;
    char name[LAYOUT_NAME_MAX];
    snprintf(name, sizeof name, "step%llu.targets", (unsigned long long)step);
    IJ_TRY(find(r, name, &targets, reterr_err));
    snprintf(name, sizeof name, "step%llu.context", (unsigned long long)step);
    IJ_TRY(find(r, name, &context, reterr_err));
    uint64_t patches = (uint64_t)r->config.patches;
    if (context->dims != 2 || targets->dims != 3 || targets->shape[1] != context->shape[0] ||
        targets->shape[0] < 1 || targets->shape[0] > ENGINE_TARGETS_MAX || context->shape[0] < 1 ||
        context->shape[0] > 65536 || context->shape[1] > patches || targets->shape[2] > patches)
        return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, name,
                            "the masks of step %llu must be context [B, Nc] and targets [M, B, K] "
                            "of at most %llu patches",
                            (unsigned long long)step, (unsigned long long)patches);
    *ret_images = (int64_t)context->shape[0];
    *ret_context = (int64_t)context->shape[1];
    *ret_blocks = (int64_t)targets->shape[0];
    *ret_targets = (int64_t)targets->shape[2];
    return IJ_OK;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static enum ij_status read_limits(struct replay *r, struct ij_err *reterr_err)
{
    struct predictor_limits *l = &r->limits;
    for (uint64_t step = 0; step < r->steps; step++) {
        int64_t images, context, blocks, targets;
        IJ_TRY(read_shapes(r, step, &images, &context, &blocks, &targets, reterr_err));
        if (step > 0 && blocks != l->blocks)
            return IJ_ERR(reterr_err, IJ_CORRUPT,
                          "the number of target blocks changes at step %llu",
                          (unsigned long long)step);
        l->blocks = blocks;
        l->images = larger(l->images, images);
        l->context_count = larger(l->context_count, context);
        l->target_count = larger(l->target_count, targets);
    }
    l->context_rows = l->images * l->context_count;
    return IJ_OK;
}

static enum ij_status read_indices(const struct replay *r, const char *name, int64_t count,
                                   int32_t *ret_indices, struct ij_err *reterr_err)
{
    const struct safetensors_tensor *t;
    IJ_TRY(find(r, name, &t, reterr_err));
    mem_auto int64_t *wide = mem_array(int64_t, (size_t)count);
    if (!wide)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for '%s'", name);
    IJ_TRY(safetensors_copy_i64(t, wide, (uint64_t)count, reterr_err));
    for (int64_t i = 0; i < count; i++) {
        if (wide[i] < 0 || wide[i] >= r->config.patches)
            return IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, name, "'%s' names patch %lld of %lld", name,
                                (long long)wide[i], (long long)r->config.patches);
        ret_indices[i] = (int32_t)wide[i];
    }
    return IJ_OK;
}

/* ---- Comparison ------------------------------------------------------------------------------ */

/* Sums of squares of difference and reference. */
struct distance {
    double difference, reference;
};

static void measure(struct distance *d, const float *ours, const float *theirs, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double delta = (double)ours[i] - (double)theirs[i];
        d->difference += delta * delta;
        d->reference += (double)theirs[i] * (double)theirs[i];
    }
}

static void judge(struct replay *r, const char *group, const struct distance *d, double limit)
{
    char line[160];
    double error = d->reference > 0 ? sqrt(d->difference / d->reference) : sqrt(d->difference);
    bool good = error <= limit; /* NaN is not */
    r->failed = r->failed || !good;
    snprintf(line, sizeof line, "%-44s %.3e  limit %.0e  %s", group, error, limit,
             good ? "ok" : "DIFFERS");
    r->report(r->user, line);
}

/* Compares r->ours with a tensor of the file. */
static enum ij_status compare(struct replay *r, const char *group, const char *name, int64_t count,
                              double limit, struct ij_err *reterr_err)
{
    struct distance d = {0, 0};
    IJ_TRY(read_values(r, name, r->theirs, count, reterr_err));
    measure(&d, r->ours, r->theirs, count);
    judge(r, group, &d, limit);
    return IJ_OK;
}

static enum ij_status compare_features(struct replay *r, const struct ijepa_batch *b,
                                       struct ij_err *reterr_err)
{
    int64_t d = r->config.encoder.width;
    int64_t rows = r->limits.blocks * b->images * b->target_count;
    struct block_arena weights = trainer_weights(r->trainer, false);
    struct block_arena target = trainer_target(r->trainer);
    struct ijepa *ijepa = r->trainer->ijepa;
    IJ_TRY(ijepa_load(ijepa, b, reterr_err));
    IJ_TRY(ijepa_copy_target_features(ijepa, &target, r->ours, reterr_err));
    IJ_TRY(compare(r, "target_features", "step0.target_features", b->images * r->config.patches * d,
                   LIMIT_FORWARD, reterr_err));
    IJ_TRY(ijepa_target(ijepa, &target, reterr_err));
    IJ_TRY(ijepa_copy_target(ijepa, r->ours, reterr_err));
    IJ_TRY(compare(r, "target", "step0.target", rows * d, LIMIT_FORWARD, reterr_err));
    IJ_TRY(ijepa_predict(ijepa, &weights, reterr_err));
    IJ_TRY(ijepa_copy_context_features(ijepa, r->ours, reterr_err));
    IJ_TRY(compare(r, "context_features", "step0.context_features",
                   b->images * b->context_count * d, LIMIT_FORWARD, reterr_err));
    IJ_TRY(ijepa_copy_prediction(ijepa, r->ours, reterr_err));
    return compare(r, "prediction", "step0.prediction", rows * d, LIMIT_FORWARD, reterr_err);
}

/* The gradients of step 0, each tensor a group of its own, then all together. */
static enum ij_status compare_gradients(struct replay *r, struct ij_err *reterr_err)
{
    const struct layout *l = &r->trainer->layout;
    char name[2 * LAYOUT_NAME_MAX];
    struct distance all = {0, 0};
    IJ_TRY(trainer_read(r->trainer, TRAINER_GRADIENT, r->ours, reterr_err));
    for (size_t i = 0; i < l->count; i++) {
        const struct layout_tensor *t = &l->tensors[i];
        struct distance d = {0, 0};
        snprintf(name, sizeof name, "step0.grad.%s", t->name);
        IJ_TRY(read_values(r, name, r->theirs, t->count, reterr_err));
        measure(&d, r->ours + t->offset, r->theirs, t->count);
        all.difference += d.difference;
        all.reference += d.reference;
        judge(r, name + strlen("step0."), &d, LIMIT_GRADIENT);
    }
    judge(r, "grad (all)", &all, LIMIT_GRADIENT);
    return IJ_OK;
}

/* One of final.encoder, final.predictor, final.target, all its tensors as one group. */
static enum ij_status compare_weights(struct replay *r, enum trainer_arena arena, bool encoder,
                                      const char *group, struct ij_err *reterr_err)
{
    const struct layout *l = &r->trainer->layout;
    char name[2 * LAYOUT_NAME_MAX];
    struct distance d = {0, 0};
    IJ_TRY(trainer_read(r->trainer, arena, r->ours, reterr_err));
    for (size_t i = 0; i < l->count; i++) {
        const struct layout_tensor *t = &l->tensors[i];
        if (t->encoder != encoder)
            continue;
        snprintf(name, sizeof name, "%s.%s", group, strchr(t->name, '.') + 1);
        IJ_TRY(read_values(r, name, r->theirs, t->count, reterr_err));
        measure(&d, r->ours + t->offset, r->theirs, t->count);
    }
    judge(r, group, &d, LIMIT_WEIGHTS);
    return IJ_OK;
}

/* ---- Replay ---------------------------------------------------------------------------------- */

/* Fills one arena from the file's initial weights. */
static enum ij_status set_weights(struct replay *r, enum trainer_arena arena, bool predictor,
                                  const char *encoder_prefix, struct ij_err *reterr_err)
{
    const struct layout *l = &r->trainer->layout;
    char name[2 * LAYOUT_NAME_MAX];
    memset(r->ours, 0, (size_t)l->floats * sizeof(float));
    for (size_t i = 0; i < l->count; i++) {
        const struct layout_tensor *t = &l->tensors[i];
        if (!t->encoder && !predictor)
            continue;
        snprintf(name, sizeof name, "init.%s.%s", t->encoder ? encoder_prefix : "predictor",
                 strchr(t->name, '.') + 1);
        IJ_TRY(read_values(r, name, r->ours + t->offset, t->count, reterr_err));
    }
    return trainer_write(r->trainer, arena, r->ours, reterr_err);
}

/* The update of one step with the file's own rates. */
static enum ij_status update(struct replay *r, uint64_t step, struct ij_err *reterr_err)
{
    const struct safetensors_tensor *t;
    char name[LAYOUT_NAME_MAX];
    double rates[3];
    struct trainer_norms norms;
    snprintf(name, sizeof name, "step%llu.lr_wd_ema", (unsigned long long)step);
    IJ_TRY(find(r, name, &t, reterr_err));
    IJ_TRY(safetensors_copy_f64(t, rates, 3, reterr_err));
    struct trainer_update u = {.step = step + 1,
                               .lr = rates[0],
                               .weight_decay = rates[1],
                               .ema_momentum = rates[2],
                               .beta1 = r->beta1,
                               .beta2 = r->beta2,
                               .eps = r->eps};
    return trainer_update(r->trainer, &u, &norms, reterr_err);
}

static enum ij_status read_batch(const struct replay *r, uint64_t step, float *pixels,
                                 int32_t *context, int32_t *targets, struct ijepa_batch *ret_batch,
                                 struct ij_err *reterr_err)
{
    struct ijepa_batch b = {.pixels = pixels, .context = context, .targets = targets};
    char name[LAYOUT_NAME_MAX];
    int64_t blocks;
    unsigned long long n = step;
    IJ_TRY(read_shapes(r, step, &b.images, &b.context_count, &blocks, &b.target_count, reterr_err));
    snprintf(name, sizeof name, "step%llu.images", n);
    IJ_TRY(
        read_values(r, name, pixels, b.images * 3 * r->config.crop * r->config.crop, reterr_err));
    snprintf(name, sizeof name, "step%llu.context", n);
    IJ_TRY(read_indices(r, name, b.images * b.context_count, context, reterr_err));
    snprintf(name, sizeof name, "step%llu.targets", n);
    IJ_TRY(read_indices(r, name, blocks * b.images * b.target_count, targets, reterr_err));
    *ret_batch = b;
    return IJ_OK;
}

static enum ij_status replay_step(struct replay *r, uint64_t step, const struct ijepa_batch *batch,
                                  struct ij_err *reterr_err)
{
    char name[LAYOUT_NAME_MAX], group[LAYOUT_NAME_MAX];
    struct ijepa_loss loss;
    if (step == 0)
        IJ_TRY(compare_features(r, batch, reterr_err));
    IJ_TRY(trainer_micro_batch(r->trainer, batch, 0, 1, &loss, reterr_err));
    snprintf(name, sizeof name, "step%llu.loss", (unsigned long long)step);
    snprintf(group, sizeof group, "loss of step %llu", (unsigned long long)step);
    r->ours[0] = loss.loss;
    IJ_TRY(compare(r, group, name, 1, LIMIT_LOSS, reterr_err));
    if (step == 0)
        IJ_TRY(compare_gradients(r, reterr_err));
    return update(r, step, reterr_err);
}

static enum ij_status replay_all(struct replay *r, struct ij_err *reterr_err)
{
    const struct predictor_limits *l = &r->limits;
    mem_auto float *pixels =
        mem_array(float, (size_t)(l->images * 3 * r->config.crop * r->config.crop));
    mem_auto int32_t *context = mem_array(int32_t, (size_t)(l->images * l->context_count));
    mem_auto int32_t *targets =
        mem_array(int32_t, (size_t)(l->blocks * l->images * l->target_count));
    if (!pixels || !context || !targets)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the file's batches");
    IJ_TRY(set_weights(r, TRAINER_PARAMETER, true, "encoder", reterr_err));
    IJ_TRY(set_weights(r, TRAINER_TARGET, false, "target", reterr_err));
    for (uint64_t step = 0; step < r->steps; step++) {
        struct ijepa_batch batch;
        IJ_TRY(read_batch(r, step, pixels, context, targets, &batch, reterr_err));
        IJ_TRY(replay_step(r, step, &batch, reterr_err));
    }
    IJ_TRY(compare_weights(r, TRAINER_PARAMETER, true, "final.encoder", reterr_err));
    IJ_TRY(compare_weights(r, TRAINER_PARAMETER, false, "final.predictor", reterr_err));
    return compare_weights(r, TRAINER_TARGET, true, "final.target", reterr_err);
}

static enum ij_status prepare(struct replay *r, struct backend *backend, struct ij_err *reterr_err)
{
    struct engine_spec spec;
    uint32_t steps;
    IJ_TRY(read_spec(r->file, &spec, reterr_err));
    IJ_TRY(integer(r->file, "steps", 5, STEPS_MAX, &steps, reterr_err));
    IJ_TRY(number(r->file, "beta1", 0.9, &r->beta1, reterr_err));
    IJ_TRY(number(r->file, "beta2", 0.999, &r->beta2, reterr_err));
    IJ_TRY(number(r->file, "adam_eps", 1e-8, &r->eps, reterr_err));
    r->steps = steps;
    r->config = vit_config_from_spec(&spec);
    IJ_TRY(read_limits(r, reterr_err));
    IJ_TRY(trainer_new(backend, &r->config, &r->limits, TENSOR_F32, &r->trainer, reterr_err));
    int64_t d = r->config.encoder.width, most = r->trainer->layout.floats;
    most = larger(most, r->limits.images * r->config.patches * d);
    most = larger(most, r->limits.blocks * r->limits.images * r->limits.target_count * d);
    r->ours = mem_array(float, (size_t)most);
    r->theirs = mem_array(float, (size_t)most);
    return r->ours && r->theirs ? IJ_OK
                                : IJ_ERR(reterr_err, IJ_NO_MEMORY,
                                         "no memory to compare %lld values", (long long)most);
}

enum ij_status engine_check_golden(const char *path, void (*report)(void *user, const char *line),
                                   void *user, struct ij_err *reterr_err)
{
    struct safetensors *file = NULL;
    struct backend *backend = NULL;
    struct replay r = {.report = report, .user = user};
    struct engine_spec spec = {.device = ENGINE_DEVICE_AUTO};
    enum ij_status status;
    IJ_TRY_GOTO(status, safetensors_open(path, &file, reterr_err), out);
    r.file = file;
    IJ_TRY_GOTO(status, engine_device_open(&spec, &backend, reterr_err), out);
    IJ_TRY_GOTO(status, prepare(&r, backend, reterr_err), out);
    IJ_TRY_GOTO(status, replay_all(&r, reterr_err), out);
    if (r.failed)
        status =
            IJ_ERR_FIELD(reterr_err, IJ_DATA, path, "%s: results differ beyond the limits", path);
out:
    mem_free(r.ours);
    mem_free(r.theirs);
    trainer_free(r.trainer);
    if (backend)
        backend->ops->free(backend);
    safetensors_free(file);
    return status;
}
