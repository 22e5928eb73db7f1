/* See finetune.h. */
#include "gpu/eval/finetune.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/build.h"
#include "base/clock.h"
#include "base/mem.h"
#include "gpu/data/loader.h"
#include "gpu/eval/finetune_report.h"
#include "gpu/eval/low_shot_select.h"
#include "gpu/model/spec_json.h"
#include "gpu/train/erase.h"
#include "gpu/train/mix.h"
#include "gpu/train/train_resume.h"
#include "gpu/train/train_sink.h"
#include "gpu/train/tuner_save.h"

#define BETA1 0.9
#define BETA2 0.999
#define EPS   1e-8

struct run {
    struct eval_model model; /* what training begins with; no encoder of its own */
    const struct engine_spec *spec;
    const struct engine_finetune *options; /* of spec */
    struct train_sink sink;
    struct dataset *train, *eval;
    struct loader *loader;
    struct tuner *tuner;
    struct tuner_save save;
    struct checkpoint_writer *writer;
    uint64_t steps_per_epoch, steps, step; /* step: optimiser steps done */
    char *parameters;                      /* JSON of the spec */
    uint8_t *pixels;                       /* (batch, crop, crop, 3) mixed */
    float *targets, *drop;                 /* (batch, classes), (depth, 2, batch) */
    double start_top1, start_loss;         /* NaN: not scored yet */
    int64_t saved_ns;
    uint64_t saved_step; /* UINT64_MAX: none */
};

/* ---- Schedules ------------------------------------------------------------------------------- */

uint64_t finetune_steps_per_epoch(const struct engine_finetune *options, uint64_t images)
{
    return images / options->batch / options->accumulate;
}

double finetune_rate(const struct engine_finetune *o, uint64_t steps_per_epoch, uint64_t step)
{
    double peak = o->lr * (double)o->batch * o->accumulate / 256;
    double epoch = (double)step / (double)steps_per_epoch;
    if (epoch < o->warmup_epochs)
        return peak * epoch / o->warmup_epochs;
    double share = fmin(1, (epoch - o->warmup_epochs) / fmax(1e-9, o->epochs - o->warmup_epochs));
    return o->final_lr + (peak - o->final_lr) * 0.5 * (1 + cos(M_PI * share));
}

/* The factors of every block's branches: a branch of block i is dropped with the probability
 * drop_path * i / (depth - 1); what stays is divided by the probability of staying. */
static void draw_drops(struct run *r, uint64_t epoch, uint64_t place, int64_t images)
{
    int64_t depth = r->tuner->config.encoder.depth;
    struct rng rng;
    rng_init(&rng, r->spec->seed, RNG_DROP_PATH, epoch, place);
    for (int64_t i = 0; i < depth; i++) {
        double chance = depth > 1 ? r->options->drop_path * (double)i / (double)(depth - 1) : 0;
        for (int64_t b = 0; b < 2 * images; b++)
            r->drop[i * 2 * images + b] =
                rng_uniform(&rng) < chance ? 0 : (float)(1 / (1 - chance));
    }
}

/* ---- Preparation ----------------------------------------------------------------------------- */

static enum ij_status select_images(struct run *r, struct ij_err *reterr_err)
{
    mem_auto uint32_t *rows = NULL;
    size_t count;
    if (r->spec->kind != ENGINE_LOW_SHOT)
        return IJ_OK;
    IJ_TRY(low_shot_select(r->train, &r->spec->low_shot, r->spec->seed, &rows, &count, reterr_err));
    return dataset_keep(r->train, rows, count, reterr_err);
}

/* Every image needs a label: there is nothing else to learn from. */
static enum ij_status check_labels(const struct dataset *dataset, struct ij_err *reterr_err)
{
    for (size_t i = 0; i < dataset_count(dataset); i++)
        if (dataset_label(dataset, i) < 0)
            return IJ_ERR_FIELD(reterr_err, IJ_DATA, "data.labels", "%s has no label",
                                dataset_name(dataset, i));
    return IJ_OK;
}

static enum ij_status open_data(struct run *r, struct ij_err *reterr_err)
{
    const struct engine_finetune *o = r->options;
    struct dataset *datasets[2] = {NULL, NULL};
    enum ij_status status = eval_model_open_data(&r->spec->data, datasets, reterr_err);
    r->train = datasets[DATASET_TRAIN];
    r->eval = datasets[DATASET_EVAL];
    IJ_TRY(status);
    IJ_TRY(select_images(r, reterr_err));
    IJ_TRY(check_labels(r->train, reterr_err));
    r->steps_per_epoch = finetune_steps_per_epoch(o, dataset_count(r->train));
    if (r->steps_per_epoch == 0)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, "finetune.batch",
                            "%zu images are fewer than one step takes: %u x %u",
                            dataset_count(r->train), o->batch, o->accumulate);
    r->steps = (uint64_t)fmax(1, floor(o->epochs * (double)r->steps_per_epoch + 1e-9));
    r->sink.steps = r->steps;
    r->sink.steps_per_epoch = r->steps_per_epoch;
    r->sink.images_per_step = (uint64_t)o->batch * o->accumulate;
    return IJ_OK;
}

static enum ij_status open_loader(struct run *r, struct ij_err *reterr_err)
{
    struct loader_options options = loader_options_train(&r->spec->data);
    options.view = dataset_is_scene(r->train) ? LOADER_STRETCH : LOADER_RANDOM_CROP;
    options.scale[0] = r->spec->eval.augment_scale[0];
    options.scale[1] = r->spec->eval.augment_scale[1];
    options.ratio[0] = 3.0 / 4;
    options.ratio[1] = 4.0 / 3;
    options.bicubic = true;
    options.rand_augment = r->options->rand_augment;
    for (int c = 0; c < 3; c++)
        options.fill[c] = (uint8_t)lround(255 * r->spec->data.mean[c]);
    options.flip = true;
    options.batch = r->options->batch;
    options.seed = r->spec->seed;
    options.epoch = r->step / r->steps_per_epoch;
    options.batch_first = r->step % r->steps_per_epoch * r->options->accumulate;
    return loader_new(r->train, &options, &r->loader, reterr_err);
}

static enum ij_status build(struct run *r, struct backend *backend, struct ij_err *reterr_err)
{
    const struct vit_config config = vit_config_from_spec(r->spec);
    int64_t classes = (int64_t)dataset_class_count(r->train), batch = r->options->batch;
    IJ_TRY(tuner_new(backend, &config, classes, batch, &r->tuner, reterr_err));
    IJ_TRY(tuner_save_init(&r->save, r->tuner, reterr_err));
    r->pixels = mem_array(uint8_t, (size_t)(batch * config.crop * config.crop * 3));
    r->targets = mem_array(float, (size_t)(batch * classes));
    r->drop = mem_array(float, (size_t)(config.encoder.depth * 2 * batch));
    r->parameters = spec_json_write(r->spec);
    if (r->pixels && r->targets && r->drop && r->parameters)
        return IJ_OK;
    return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a batch of %lld images",
                  (long long)batch);
}

/* What a checkpoint remembers beside the weights. */
static void read_trainer(struct run *r, const char *text)
{
    json_t *object = json_loads(text ? text : "{}", 0, NULL);
    const json_t *top1 = json_object_get(object, "start_top1");
    const json_t *loss = json_object_get(object, "start_loss");
    r->start_top1 = json_is_number(top1) ? json_number_value(top1) : (double)NAN;
    r->start_loss = json_is_number(loss) ? json_number_value(loss) : (double)NAN;
    json_decref(object);
}

/* The weights to go on with: the run's own newest checkpoint, else the given one, else random. */
static enum ij_status restore(struct run *r, struct ij_err *reterr_err)
{
    struct checkpoint *checkpoint = NULL;
    enum ij_status status;
    IJ_TRY(train_resume_find(r->spec, &r->sink, &checkpoint, reterr_err));
    if (!checkpoint) {
        IJ_TRY(tuner_set_random(r->tuner, r->spec->seed, reterr_err));
        return r->model.checkpoint ? tuner_load_encoder(r->tuner, r->model.checkpoint,
                                                        r->spec->eval.encoder, reterr_err)
                                   : IJ_OK;
    }
    const struct checkpoint_state *state = checkpoint_get_state(checkpoint);
    IJ_TRY_GOTO(status,
                train_resume_check(r->spec, state, r->steps_per_epoch,
                                   dataset_fingerprint(r->train), &r->sink, reterr_err),
                out);
    IJ_TRY_GOTO(status, tuner_save_load(r->tuner, checkpoint, reterr_err), out);
    read_trainer(r, state->trainer);
    r->step = state->step;
    if (train_resume_is_own(r->spec, checkpoint))
        r->saved_step = r->step;
out:
    checkpoint_free(checkpoint);
    return status;
}

static enum ij_status prepare(struct run *r, struct backend *backend, struct ij_err *reterr_err)
{
    IJ_TRY(open_data(r, reterr_err));
    IJ_TRY(train_sink_progress(&r->sink, 0, "loading", true, NULL, reterr_err));
    IJ_TRY(checkpoint_remove_stale(r->spec->directory, reterr_err));
    IJ_TRY(build(r, backend, reterr_err));
    IJ_TRY(restore(r, reterr_err));
    IJ_TRY(open_loader(r, reterr_err));
    r->saved_ns = clock_monotonic_ns();
    return checkpoint_writer_new(r->spec->directory, r->sink.sink,
                                 r->spec->monitor.keep_checkpoints, &r->writer, reterr_err);
}

static void finish(struct run *r)
{
    checkpoint_writer_free(r->writer);
    loader_free(r->loader);
    tuner_save_done(&r->save);
    tuner_free(r->tuner);
    dataset_free(r->train);
    dataset_free(r->eval);
    eval_model_done(&r->model);
    mem_free(r->pixels);
    mem_free(r->targets);
    mem_free(r->drop);
    mem_free(r->parameters);
}

/* ---- Checkpoints ----------------------------------------------------------------------------- */

static enum ij_status save(struct run *r, struct ij_err *reterr_err)
{
    char trainer[160];
    const struct engine_finetune *o = r->options;
    if (r->saved_step == r->step)
        return IJ_OK;
    snprintf(trainer, sizeof trainer, "{\"kind\":\"finetune\",\"classes\":%lld",
             (long long)r->tuner->layout.classes);
    if (!isnan(r->start_top1))
        snprintf(trainer + strlen(trainer), sizeof trainer - strlen(trainer),
                 ",\"start_top1\":%.17g,\"start_loss\":%.17g", r->start_top1, r->start_loss);
    snprintf(trainer + strlen(trainer), sizeof trainer - strlen(trainer), "}");
    struct checkpoint_state state = {
        .step = r->step,
        .epoch = r->step / r->steps_per_epoch,
        .batch = r->step % r->steps_per_epoch * o->accumulate,
        .steps_total = r->steps,
        .steps_per_epoch = r->steps_per_epoch,
        .images = r->step * r->sink.images_per_step,
        .seed = r->spec->seed,
        .epochs_done = (double)r->step / (double)r->steps_per_epoch,
        .parameters = r->parameters,
        .trainer = trainer,
        .build = build_id(),
        .data = dataset_fingerprint(r->train),
    };
    IJ_TRY(train_sink_progress(&r->sink, r->step, "saving", false, NULL, reterr_err));
    IJ_TRY(tuner_save_submit(&r->save, r->writer, &state, reterr_err));
    r->saved_step = r->step;
    r->saved_ns = clock_monotonic_ns();
    return IJ_OK;
}

/* Whether a multiple of `epochs` lies in the step just done. */
static bool epochs_passed(const struct run *r, double epochs)
{
    double every = epochs * (double)r->steps_per_epoch;
    if (!(epochs > 0) || r->step == 0)
        return false;
    return floor((double)r->step / every + 1e-9) > floor((double)(r->step - 1) / every + 1e-9);
}

static bool save_is_due(const struct run *r)
{
    const struct engine_monitor *m = &r->spec->monitor;
    double since_s = (double)(clock_monotonic_ns() - r->saved_ns) / 1e9;
    if (r->step == r->steps || epochs_passed(r, m->checkpoint_every_epochs))
        return true;
    if (m->checkpoint_every_steps > 0 && r->step % m->checkpoint_every_steps == 0)
        return true;
    return m->checkpoint_every_s > 0 && since_s >= m->checkpoint_every_s &&
           !checkpoint_writer_is_busy(r->writer);
}

/* IJ_STOPPED where the host asks for it. */
static enum ij_status obey(void *user, struct ij_err *reterr_err)
{
    struct run *r = user;
    switch (train_sink_poll(&r->sink)) {
    case ENGINE_CHECKPOINT_NOW:
        return save(r, reterr_err);
    case ENGINE_STOP:
        IJ_TRY(save(r, reterr_err));
        IJ_TRY(checkpoint_writer_wait(r->writer, reterr_err));
        return IJ_ERR(reterr_err, IJ_STOPPED, "stopped at step %llu", (unsigned long long)r->step);
    case ENGINE_ABORT:
        return IJ_ERR(reterr_err, IJ_STOPPED, "aborted at step %llu", (unsigned long long)r->step);
    default:
        return IJ_OK;
    }
}

/* ---- Scores ---------------------------------------------------------------------------------- */

static enum ij_status send(struct run *r, const char *stream, const char *const *keys,
                           const float *values, size_t count, struct ij_err *reterr_err)
{
    const struct engine_sink *sink = r->sink.sink;
    if (!sink->metrics)
        return IJ_OK;
    enum ij_status status = sink->metrics(sink->user, stream, r->step, keys, values, count);
    return status == IJ_OK ? IJ_OK : IJ_ERR(reterr_err, status, "the host refused metrics");
}

/* The evaluation split at the current step; ret_score is the caller's. */
static enum ij_status score(struct run *r, struct finetune_score *ret_score,
                            struct ij_err *reterr_err)
{
    static const char *const keys[] = {"top1", "loss"};
    IJ_TRY(train_sink_progress(&r->sink, r->step, "evaluating", true, NULL, reterr_err));
    IJ_TRY(finetune_score_run(r->tuner, r->eval, &r->spec->data, r->options->batch, obey, r,
                              ret_score, reterr_err));
    const float values[] = {(float)ret_score->top1, (float)ret_score->loss};
    return send(r, "eval", keys, values, COUNT_OF(keys), reterr_err);
}

static enum ij_status score_start(struct run *r, struct ij_err *reterr_err)
{
    struct finetune_score before;
    if (r->step > 0 || !isnan(r->start_top1))
        return IJ_OK;
    IJ_TRY(score(r, &before, reterr_err));
    r->start_top1 = before.top1;
    r->start_loss = before.loss;
    finetune_score_done(&before);
    return IJ_OK;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

struct step_metrics {
    double loss, lr, norm, seconds, wait_s;
};

/* The loader's images, erased and mixed, with their targets and the branches that are dropped. */
static int64_t fill_batch(struct run *r, const struct loader_batch *images)
{
    const struct engine_finetune *o = r->options;
    const struct engine_data *data = &r->spec->data;
    uint32_t crop = data->crop;
    uint64_t epoch = images->epoch, place = images->batch;
    struct mix mix = mix_draw(o->mixup, o->cutmix, crop, r->spec->seed, epoch, place);
    struct erase erase = {
        .probability = o->random_erase, .size = crop, .seed = r->spec->seed, .epoch = epoch};
    memcpy(erase.mean, data->mean, sizeof erase.mean);
    memcpy(erase.std, data->std, sizeof erase.std);
    memcpy(r->pixels, images->pixels, (size_t)images->count * crop * crop * 3);
    erase_pixels(&erase, r->pixels, images->count, place * o->batch);
    mix_pixels(&mix, r->pixels, images->count, crop);
    mix_targets(&mix, images->labels, images->count, (size_t)r->tuner->layout.classes,
                o->label_smoothing, r->targets);
    draw_drops(r, epoch, place, images->count);
    return images->count;
}

static enum ij_status micro_batch(struct run *r, uint32_t index, struct step_metrics *m,
                                  struct ij_err *reterr_err)
{
    const struct loader_batch *images;
    const struct engine_finetune *o = r->options;
    double loss;
    int64_t begin_ns = clock_monotonic_ns();
    IJ_TRY(loader_next(r->loader, &images, reterr_err));
    m->wait_s += (double)(clock_monotonic_ns() - begin_ns) / 1e9;
    int64_t count = fill_batch(r, images);
    const struct tuner_batch batch = {r->pixels, count, r->targets,
                                      o->drop_path > 0 ? r->drop : NULL};
    loader_release(r->loader);
    IJ_TRY(tuner_micro_batch(r->tuner, &batch, index, o->accumulate, &loss, reterr_err));
    if (!isfinite(loss))
        return IJ_ERR(reterr_err, IJ_NONFINITE, "the loss is not finite at step %llu",
                      (unsigned long long)r->step + 1);
    m->loss += loss / o->accumulate;
    return IJ_OK;
}

static enum ij_status report_step(struct run *r, const struct step_metrics *m,
                                  struct ij_err *reterr_err)
{
    static const char *const keys[] = {"loss", "lr", "grad_norm", "images_per_s", "data_wait_s"};
    const float values[] = {(float)m->loss, (float)m->lr, (float)m->norm,
                            (float)((double)r->sink.images_per_step / fmax(m->seconds, 1e-9)),
                            (float)m->wait_s};
    return send(r, "train", keys, values, COUNT_OF(keys), reterr_err);
}

static enum ij_status step(struct run *r, struct ij_err *reterr_err)
{
    const struct engine_finetune *o = r->options;
    struct step_metrics m = {.lr = finetune_rate(o, r->steps_per_epoch, r->step)};
    int64_t begin_ns = clock_monotonic_ns();
    /* The images that do not fill a step at the end of an epoch are left out. */
    if (r->step % r->steps_per_epoch == 0 &&
        r->steps_per_epoch * o->accumulate != loader_batches(r->loader))
        loader_seek(r->loader, r->step / r->steps_per_epoch, 0);
    for (uint32_t i = 0; i < o->accumulate; i++)
        IJ_TRY(micro_batch(r, i, &m, reterr_err));
    const struct tuner_update update = {.step = r->step + 1,
                                        .lr = m.lr,
                                        .weight_decay = o->weight_decay,
                                        .layer_decay = o->layer_decay,
                                        .beta1 = BETA1,
                                        .beta2 = BETA2,
                                        .eps = EPS,
                                        .clip = o->clip_grad};
    IJ_TRY(tuner_update(r->tuner, &update, &m.norm, reterr_err));
    r->step++;
    m.seconds = (double)(clock_monotonic_ns() - begin_ns) / 1e9;
    return report_step(r, &m, reterr_err);
}

/* Progress, check, checkpoint, in this order, so that a checkpoint stands for all up to it. */
static enum ij_status after_step(struct run *r, struct ij_err *reterr_err)
{
    bool last = r->step == r->steps;
    IJ_TRY(train_sink_progress(&r->sink, r->step, "training", last, NULL, reterr_err));
    if (!last && epochs_passed(r, r->options->eval_every_epochs)) {
        struct finetune_score now;
        IJ_TRY(score(r, &now, reterr_err));
        finetune_score_done(&now);
    }
    return save_is_due(r) ? save(r, reterr_err) : IJ_OK;
}

/* Scores what came out and publishes it. */
static enum ij_status conclude(struct run *r, struct ij_err *reterr_err)
{
    struct finetune_score final;
    struct loader_bad bad;
    loader_bad(r->loader, &bad);
    IJ_TRY(score(r, &final, reterr_err));
    const struct finetune_report report = {.model = &r->model,
                                           .train = r->train,
                                           .eval = r->eval,
                                           .score = &final,
                                           .start_top1 = r->start_top1,
                                           .start_loss = r->start_loss,
                                           .steps = r->steps,
                                           .steps_per_epoch = r->steps_per_epoch,
                                           .bad_train = bad.count};
    enum ij_status status = finetune_report_publish(&report, r->sink.sink, reterr_err);
    finetune_score_done(&final);
    return status;
}

static enum ij_status loop(struct run *r, struct ij_err *reterr_err)
{
    IJ_TRY(score_start(r, reterr_err));
    while (r->step < r->steps) {
        IJ_TRY(obey(r, reterr_err));
        IJ_TRY(step(r, reterr_err));
        IJ_TRY(after_step(r, reterr_err));
    }
    IJ_TRY(save(r, reterr_err));
    IJ_TRY(conclude(r, reterr_err));
    IJ_TRY(train_sink_progress(&r->sink, r->step, "saving", true, NULL, reterr_err));
    return checkpoint_writer_wait(r->writer, reterr_err);
}

enum ij_status finetune_run(struct backend *backend, const struct engine_spec *spec,
                            const struct engine_sink *sink, struct ij_err *reterr_err)
{
    static const struct engine_sink silent;
    struct run *r = mem_new(struct run);
    if (!r)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a fine-tuning");
    r->sink.sink = sink ? sink : &silent;
    r->saved_step = UINT64_MAX;
    r->start_top1 = r->start_loss = (double)NAN;
    enum ij_status status = eval_model_open(&r->model, backend, spec, reterr_err);
    r->spec = &r->model.spec;
    r->options = &r->spec->finetune;
    if (status == IJ_OK)
        status = prepare(r, backend, reterr_err);
    if (status == IJ_OK)
        status = loop(r, reterr_err);
    finish(r);
    mem_free(r);
    return status;
}
