/* The pretraining run. See train.h. */
#include "gpu/train/train.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/build.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/seed_bug.h"
#include "gpu/data/loader.h"
#include "gpu/eval/monitor.h"
#include "gpu/model/schedule.h"
#include "gpu/model/spec_json.h"
#include "gpu/train/train_back.h"
#include "gpu/train/train_bad.h"
#include "gpu/train/train_guard.h"
#include "gpu/train/train_init.h"
#include "gpu/train/train_ranks.h"
#include "gpu/train/train_replay.h"
#include "gpu/train/train_resume.h"
#include "gpu/train/train_rewind.h"
#include "gpu/train/train_save.h"
#include "gpu/train/train_sink.h"

struct run {
    const struct engine_spec *spec;
    struct backend *backend;
    struct comm *comm;
    bool leader; /* rank 0 */
    struct train_sink sink;
    struct vit_config config;
    struct schedule schedule;
    uint64_t steps_per_epoch, step; /* step: optimiser steps done */
    struct dataset *dataset;
    struct loader *loader;
    struct masks masks;
    bool fetched; /* the next micro-batch is on its way to the device, with these masks: */
    int64_t context_count, target_count;
    struct trainer *trainer;
    struct train_save save;
    struct checkpoint_writer *writer;
    struct monitor *monitor;     /* NULL: off */
    struct train_replay *replay; /* NULL: off */
    struct train_guard guard;
    struct train_rewind left_out;
    uint64_t began;      /* the step that this process went on from */
    const char *fault;   /* of a loss that ended the run; static */
    char *parameters;    /* JSON of the spec */
    int64_t saved_ns;    /* when the last checkpoint was handed over */
    uint64_t saved_step; /* UINT64_MAX: none */
    uint64_t bad_images; /* reported so far */
};

/* ---- Preparation ----------------------------------------------------------------------------- */

static enum ij_status open_data(struct run *r, struct ij_err *reterr_err)
{
    const struct engine_optimizer *o = &r->spec->optimizer;
    IJ_TRY(dataset_open_any(&r->spec->data, DATASET_TRAIN, &r->dataset, reterr_err));
    uint64_t images = dataset_count(r->dataset);
    uint32_t ranks = train_ranks_count(r->spec);
    r->steps_per_epoch = schedule_steps_per_epoch(o, images / ranks);
    if (r->steps_per_epoch == 0)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, "data.path",
                            "%llu images are fewer than one step takes: %u x %u on %u ranks",
                            (unsigned long long)images, o->batch, o->accumulate, ranks);
    r->schedule = schedule_new(o, r->steps_per_epoch);
    r->sink.steps = r->schedule.steps;
    r->sink.steps_per_epoch = r->steps_per_epoch;
    r->sink.images_per_step = (uint64_t)o->batch * o->accumulate * ranks;
    return IJ_OK;
}

/* Where the next step begins to read. */
static uint64_t epoch_of(const struct run *r)
{
    return train_rewind_place(&r->left_out, r->step) / r->steps_per_epoch;
}
static uint64_t batch_of(const struct run *r)
{
    uint64_t place = train_rewind_place(&r->left_out, r->step);
    return place % r->steps_per_epoch * r->spec->optimizer.accumulate;
}

static enum ij_status open_loader(struct run *r, struct ij_err *reterr_err)
{
    struct loader_options options = loader_options_train(&r->spec->data);
    options.batch = r->spec->optimizer.batch;
    options.seed = r->spec->seed;
    options.epoch = epoch_of(r);
    options.batch_first = batch_of(r);
    options.rank = r->spec->ranks.rank;
    options.ranks = train_ranks_count(r->spec);
    return loader_new(r->dataset, &options, &r->loader, reterr_err);
}

static enum ij_status build_model(struct run *r, struct ij_err *reterr_err)
{
    struct mask_sizes_rules rules = mask_sizes_from_spec(r->spec);
    struct predictor_limits limits;
    r->config = vit_config_from_spec(r->spec);
    IJ_TRY(
        masks_init(&r->masks, &rules, r->spec->seed, train_ranks_mask_images(r->spec), reterr_err));
    IJ_TRY(ijepa_limits(&rules, r->spec->optimizer.batch, &limits, reterr_err));
    IJ_TRY(trainer_new(r->backend, &r->config, &limits, TENSOR_U8, &r->trainer, reterr_err));
    trainer_join(r->trainer, r->comm);
    IJ_TRY(train_replay_new(r->trainer, r->spec, &r->replay, reterr_err));
    return train_save_init(&r->save, r->trainer, reterr_err);
}

/* Initial weights, and over them those of the checkpoint that the run is to begin with. */
static enum ij_status start(struct run *r, struct ij_err *reterr_err)
{
    struct checkpoint *checkpoint = NULL;
    bool predictor = false;
    IJ_TRY(trainer_set_random(r->trainer, r->spec->seed, reterr_err));
    if (r->spec->init_from[0] == '\0')
        return IJ_OK;
    IJ_TRY(checkpoint_open_newest(r->spec->init_from, &checkpoint, reterr_err));
    enum ij_status status =
        train_init_weights(r->trainer, checkpoint, TRAIN_INIT_NEW_RUN, &predictor, reterr_err);
    checkpoint_free(checkpoint);
    if (status != IJ_OK || predictor)
        return status;
    return train_sink_warning(&r->sink, "no_predictor",
                              "the checkpoint to begin with has no predictor; it starts at random",
                              reterr_err);
}

/* Weights of the checkpoint to continue from, or initial ones. */
static enum ij_status restore(struct run *r, struct ij_err *reterr_err)
{
    struct checkpoint *checkpoint = NULL;
    enum ij_status status;
    IJ_TRY(train_resume_find(r->spec, &r->sink, &checkpoint, reterr_err));
    if (!checkpoint)
        return start(r, reterr_err);
    const struct checkpoint_state *state = checkpoint_get_state(checkpoint);
    IJ_TRY_GOTO(status,
                train_resume_check(r->spec, state, r->steps_per_epoch,
                                   dataset_fingerprint(r->dataset), &r->sink, reterr_err),
                out);
    IJ_TRY_GOTO(status, train_save_load(r->trainer, checkpoint, reterr_err), out);
    r->step = state->step + SEED_BUG(RESUME_OFF_BY_ONE);
    train_guard_read(state->trainer, &r->guard);
    if (train_resume_is_own(r->spec, checkpoint))
        r->saved_step = r->step;
out:
    checkpoint_free(checkpoint);
    return status;
}

static enum ij_status prepare(struct run *r, struct ij_err *reterr_err)
{
    IJ_TRY(open_data(r, reterr_err));
    IJ_TRY(train_sink_progress(&r->sink, 0, "loading", true, NULL, reterr_err));
    if (r->leader)
        IJ_TRY(checkpoint_remove_stale(r->spec->directory, reterr_err));
    IJ_TRY(build_model(r, reterr_err));
    IJ_TRY(restore(r, reterr_err));
    IJ_TRY(train_rewind_load(r->spec->directory, &r->left_out, reterr_err));
    r->began = r->step;
    IJ_TRY(open_loader(r, reterr_err));
    r->saved_ns = clock_monotonic_ns();
    if (!r->leader)
        return IJ_OK;
    IJ_TRY(checkpoint_writer_new(r->spec->directory, r->sink.sink,
                                 r->spec->monitor.keep_checkpoints, &r->writer, reterr_err));
    if (r->spec->monitor.eval_every_epochs > 0)
        IJ_TRY(monitor_new(r->trainer, r->spec, &r->monitor, reterr_err));
    r->parameters = spec_json_write(r->spec);
    if (!r->parameters)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the run's parameters");
    return IJ_OK;
}

static void finish(struct run *r)
{
    checkpoint_writer_free(r->writer);
    monitor_free(r->monitor);
    loader_free(r->loader);
    train_save_done(&r->save);
    train_replay_free(r->replay);
    trainer_free(r->trainer);
    masks_done(&r->masks);
    dataset_free(r->dataset);
    comm_free(r->comm);
    mem_free(r->parameters);
}

/* ---- Checkpoints and checks ------------------------------------------------------------------ */

static enum ij_status save(struct run *r, struct ij_err *reterr_err)
{
    if (r->saved_step == r->step || !r->leader)
        return IJ_OK;
    comm_set_away(r->comm, true); /* it may wait for the one before to be written */
    IJ_TRY(train_sink_progress(&r->sink, r->step, "saving", false, NULL, reterr_err));
    mem_auto char *guard = train_guard_write(&r->guard, &r->spec->guard);
    struct checkpoint_state state = {
        .step = r->step,
        .epoch = epoch_of(r),
        .batch = batch_of(r),
        .steps_total = r->schedule.steps,
        .steps_per_epoch = r->steps_per_epoch,
        .images = r->step * r->sink.images_per_step,
        .seed = r->spec->seed,
        .epochs_done = (double)r->step / (double)r->steps_per_epoch,
        .parameters = r->parameters,
        .trainer = guard,
        .build = build_id(),
        .data = dataset_fingerprint(r->dataset),
    };
    IJ_TRY(train_save_submit(&r->save, r->writer, &state, reterr_err));
    comm_set_away(r->comm, false);
    r->saved_step = r->step;
    r->saved_ns = clock_monotonic_ns();
    return IJ_OK;
}

/* Whether a multiple of `epochs` lies in the step just done. */
static bool epochs_passed(const struct run *r, double epochs)
{
    double every = epochs * (double)r->steps_per_epoch;
    if (!(epochs > 0))
        return false;
    return floor((double)r->step / every + 1e-9) > floor((double)(r->step - 1) / every + 1e-9);
}

static bool save_is_due(const struct run *r)
{
    const struct engine_monitor *m = &r->spec->monitor;
    double since_s = (double)(clock_monotonic_ns() - r->saved_ns) / 1e9;
    if (!r->leader)
        return false;
    if (r->step == r->schedule.steps || epochs_passed(r, m->checkpoint_every_epochs))
        return true;
    if (m->checkpoint_every_steps > 0 && r->step % m->checkpoint_every_steps == 0)
        return true;
    return m->checkpoint_every_s > 0 && since_s >= m->checkpoint_every_s &&
           !checkpoint_writer_is_busy(r->writer);
}

/* The check of representation quality at the current step. */
static enum ij_status evaluate(struct run *r, struct ij_err *reterr_err)
{
    comm_set_away(r->comm, true);
    IJ_TRY(train_sink_progress(&r->sink, r->step, "evaluating", true, NULL, reterr_err));
    IJ_TRY(monitor_check(r->monitor, r->step, r->sink.sink, NULL, reterr_err));
    comm_set_away(r->comm, false);
    return IJ_OK;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

/* Takes micro-batch `place` of the epoch from the loader, draws its masks and sends both to the
 * device. */
static enum ij_status fetch(struct run *r, uint64_t epoch, uint64_t place,
                            struct ij_err *reterr_err)
{
    const struct loader_batch *images;
    IJ_TRY(loader_next(r->loader, &images, reterr_err));
    IJ_ASSERT(images->epoch == epoch && images->batch == place);
    IJ_ASSERT(images->count == r->spec->optimizer.batch);
    train_ranks_draw(r->spec, &r->masks, epoch, place);
    struct ijepa_batch batch = {.pixels = images->pixels,
                                .images = images->count,
                                .context_count = r->masks.context_count,
                                .target_count = r->masks.target_count,
                                .context = r->masks.context,
                                .targets = r->masks.targets};
    enum ij_status status = IJ_OK;
    if (train_replay_is_due(r->replay, r->step + 1))
        status = train_replay_keep(r->replay, &batch, (uint32_t)(place - batch_of(r)), reterr_err);
    if (status == IJ_OK)
        status = trainer_prefetch(r->trainer, &batch, reterr_err);
    loader_release(r->loader);
    r->fetched = status == IJ_OK;
    r->context_count = batch.context_count;
    r->target_count = batch.target_count;
    return status;
}

/* Does the step after `step` not read on where that one stops, as a rewind says? */
static bool is_left_out_after(const struct run *r, uint64_t step)
{
    return train_rewind_place(&r->left_out, step + 1) != train_rewind_place(&r->left_out, step) + 1;
}

/* The micro-batch after number `index` of this step, if the loader has it and it is of the same
 * epoch: it travels while the device works. Not round a step that is made twice, whose batches are
 * kept and come again. */
static enum ij_status fetch_ahead(struct run *r, uint32_t index, struct ij_err *reterr_err)
{
    uint32_t accumulate = r->spec->optimizer.accumulate;
    uint64_t place = batch_of(r) + index + 1;
    bool last = index + 1 == accumulate; /* of this step */
    bool twice =
        train_replay_is_due(r->replay, r->step + 1) || train_replay_is_due(r->replay, r->step + 2);
    if (twice || place == r->steps_per_epoch * accumulate || !loader_is_ready(r->loader))
        return IJ_OK;
    if (last && (r->step + 1 == r->schedule.steps || is_left_out_after(r, r->step)))
        return IJ_OK;
    return fetch(r, epoch_of(r), place, reterr_err);
}

/* Runs micro-batch `index` of the current step; adds to *metrics. */
static enum ij_status micro_batch(struct run *r, uint32_t index, struct train_sink_step *metrics,
                                  double *nonfinite_share, struct ij_err *reterr_err)
{
    struct ijepa_loss loss;
    uint32_t count = r->spec->optimizer.accumulate;
    int64_t begin_ns = clock_monotonic_ns();
    if (!r->fetched)
        IJ_TRY(fetch(r, epoch_of(r), batch_of(r) + index, reterr_err));
    metrics->data_wait_s += (double)(clock_monotonic_ns() - begin_ns) / 1e9;
    metrics->context_patches += (double)r->context_count / count;
    metrics->target_patches += (double)r->target_count / count;
    r->fetched = false;
    IJ_TRY(trainer_start(r->trainer, NULL, index, count, reterr_err));
    IJ_TRY(fetch_ahead(r, index, reterr_err));
    IJ_TRY(trainer_loss(r->trainer, &loss, reterr_err));
    *nonfinite_share += (double)loss.nonfinite_share / count;
    metrics->loss += (double)loss.loss / count;
    metrics->cosine += (double)loss.cosine / count;
    return IJ_OK;
}

/* Whether the next step does not read on where the one before stopped: images that do not fill a
 * step at the end of an epoch are left out, and so is what a rewind says. */
static bool jumps(const struct run *r)
{
    bool ragged = r->steps_per_epoch * r->spec->optimizer.accumulate != loader_batches(r->loader);
    if (batch_of(r) == 0 && ragged)
        return true;
    return r->step > 0 && is_left_out_after(r, r->step - 1);
}

/* IJ_NONFINITE: the loss cannot be used; nothing was changed yet. */
static enum ij_status check_loss(struct run *r, double loss, double nonfinite_share,
                                 struct ij_err *reterr_err)
{
    const char *fault = train_guard_fault(&r->guard, &r->spec->guard, loss);
    unsigned long long step = r->step + 1;
    if (!fault)
        return IJ_OK;
    r->fault = fault;
    if (isfinite(loss))
        return IJ_ERR(reterr_err, IJ_NONFINITE,
                      "the loss jumped to %.4g at step %llu, %.3g times its mean of the last steps",
                      loss, step, loss / r->guard.mean);
    return IJ_ERR(reterr_err, IJ_NONFINITE,
                  "the loss is not finite at step %llu (%.3g of the predicted values are not)",
                  step, nonfinite_share);
}

/* One optimiser step with its metrics. */
static enum ij_status step(struct run *r, struct ij_err *reterr_err)
{
    const struct engine_optimizer *o = &r->spec->optimizer;
    struct train_sink_step m = {.step = r->step + 1};
    double nonfinite_share = 0;
    struct trainer_norms norms;
    int64_t begin_ns = clock_monotonic_ns();
    bool twice = train_replay_is_due(r->replay, r->step + 1);
    if (jumps(r))
        loader_seek(r->loader, epoch_of(r), batch_of(r));
    if (twice)
        IJ_TRY(train_replay_begin(r->replay, reterr_err));
    for (uint32_t i = 0; i < o->accumulate; i++)
        IJ_TRY(micro_batch(r, i, &m, &nonfinite_share, reterr_err));
    IJ_TRY(train_ranks_mean(r->comm, &m, &nonfinite_share, reterr_err));
    IJ_TRY(check_loss(r, m.loss, nonfinite_share, reterr_err));
    m.lr = schedule_lr(&r->schedule, r->step + 1);
    m.weight_decay = schedule_weight_decay(&r->schedule, r->step + 1);
    m.ema_momentum = schedule_ema(&r->schedule, r->step);
    struct trainer_update update = {.step = r->step + 1,
                                    .lr = m.lr,
                                    .weight_decay = m.weight_decay,
                                    .ema_momentum = m.ema_momentum,
                                    .beta1 = o->beta1,
                                    .beta2 = o->beta2,
                                    .eps = o->adam_eps,
                                    .clip = o->clip_grad};
    if (twice)
        IJ_TRY(train_replay_confirm(r->replay, update.step, reterr_err));
    IJ_TRY(trainer_update(r->trainer, &update, &norms, reterr_err));
    if (twice)
        IJ_TRY(train_replay_check(r->replay, &update, reterr_err));
    r->step++;
    train_guard_note(&r->guard, m.loss);
    m.grad_norm = norms.all;
    m.grad_norm_first = norms.first;
    m.grad_norm_last = norms.last;
    m.seconds = (double)(clock_monotonic_ns() - begin_ns) / 1e9;
    return train_sink_step(&r->sink, &m, reterr_err);
}

/* What follows a step: progress, check, checkpoint, in this order, so that a checkpoint stands for
 * everything reported up to it. */
static enum ij_status after_step(struct run *r, struct ij_err *reterr_err)
{
    bool reported, last = r->step == r->schedule.steps;
    IJ_TRY(train_sink_progress(&r->sink, r->step, "training", last, &reported, reterr_err));
    if (reported)
        IJ_TRY(train_bad_report(r->spec, r->loader, &r->sink, &r->bad_images, reterr_err));
    if (r->monitor && (last || epochs_passed(r, r->spec->monitor.eval_every_epochs)))
        IJ_TRY(evaluate(r, reterr_err));
    return save_is_due(r) ? save(r, reterr_err) : IJ_OK;
}

static enum ij_status save_and_wait(struct run *r, struct ij_err *reterr_err)
{
    IJ_TRY(save(r, reterr_err));
    return r->leader ? checkpoint_writer_wait(r->writer, reterr_err) : IJ_OK;
}

/* IJ_STOPPED where the host asks for it. */
static enum ij_status obey(struct run *r, struct ij_err *reterr_err)
{
    enum engine_command command = r->leader ? train_sink_poll(&r->sink) : ENGINE_CONTINUE;
    IJ_TRY(train_ranks_agree(r->comm, &command, reterr_err));
    switch (command) {
    case ENGINE_CHECKPOINT_NOW:
        return save(r, reterr_err);
    case ENGINE_STOP:
        IJ_TRY(save_and_wait(r, reterr_err));
        return IJ_ERR(reterr_err, IJ_STOPPED, "stopped at step %llu", (unsigned long long)r->step);
    case ENGINE_ABORT:
        return IJ_ERR(reterr_err, IJ_STOPPED, "aborted at step %llu", (unsigned long long)r->step);
    default:
        return IJ_OK;
    }
}

/* What a device refuses is told with the step it was at. */
static enum ij_status name_step(const struct run *r, enum ij_status status,
                                struct ij_err *reterr_err)
{
    if ((status == IJ_DEVICE || status == IJ_NO_MEMORY) && reterr_err) {
        size_t used = strlen(reterr_err->text);
        snprintf(reterr_err->text + used, sizeof reterr_err->text - used, "; at step %llu",
                 (unsigned long long)r->step + 1);
    }
    return status;
}

static enum ij_status loop(struct run *r, struct ij_err *reterr_err)
{
    IJ_TRY(train_ranks_begin(r->comm, r->step, reterr_err));
    if (r->step == 0 && r->monitor)
        IJ_TRY(evaluate(r, reterr_err));
    while (r->step < r->schedule.steps) {
        IJ_TRY(obey(r, reterr_err));
        IJ_TRY(name_step(r, step(r, reterr_err), reterr_err));
        IJ_TRY(after_step(r, reterr_err));
    }
    IJ_TRY(train_sink_progress(&r->sink, r->step, "saving", true, NULL, reterr_err));
    return save_and_wait(r, reterr_err);
}

enum ij_status train_run(struct backend *backend, const struct engine_spec *spec,
                         const struct engine_sink *sink, struct ij_err *reterr_err)
{
    struct run r;
    struct ij_err err = IJ_ERR_INIT;
    memset(&r, 0, sizeof r);
    r.spec = spec;
    r.backend = backend;
    r.sink.sink = sink;
    r.saved_step = UINT64_MAX;
    r.leader = train_ranks_is_leader(spec);
    IJ_TRY(comm_new(&spec->ranks, COMM_AUTO, backend, &r.comm, reterr_err));
    comm_set_away(r.comm, true); /* to read a dataset takes its time */
    enum ij_status status = prepare(&r, &err);
    if (status == IJ_OK)
        status = loop(&r, &err);
    if (status == IJ_NONFINITE && r.leader && spec->guard.on_nan == ENGINE_ON_NAN_REWIND)
        train_back_note(&(struct train_back){.spec = spec,
                                             .sink = &r.sink,
                                             .writer = r.writer,
                                             .left_out = &r.left_out,
                                             .step = r.step,
                                             .began = r.began,
                                             .why = r.fault},
                        &err);
    if (status != IJ_OK && status != IJ_STOPPED) /* all stop together */
        comm_fail(r.comm, &err);
    finish(&r);
    if (status != IJ_OK && reterr_err)
        *reterr_err = err;
    return status;
}
