/*
 * Times training steps on synthetic images: everything but the loader. See engine.h.
 *
 * Work per image is counted by the convention of gpu/model/flops.h over the masks that were drawn.
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/build.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "gpu/bench_ceiling.h"
#include "gpu/bench_memory.h"
#include "gpu/engine.h"
#include "gpu/engine_device.h"
#include "gpu/model/flops.h"
#include "gpu/model/masks.h"
#include "gpu/ops/cuda_plan.h"
#include "gpu/train/trainer.h"

#define STEPS_MAX 100000

struct bench {
    struct engine_spec spec;
    struct vit_config config;
    struct backend *backend;
    struct masks masks;
    struct trainer *trainer;
    uint8_t *pixels;
    double *seconds;                /* per step */
    double peak_gflops;             /* the better of before and after: other load comes and goes */
    double vector_peak_gflops;      /* the same without AMX tiles */
    double vector_now_gflops;       /* of float32, after each step: the sum; NaN: not a host */
    double loss;                    /* of the last step */
    double flops, context, targets; /* sums over the measured steps, per image */
    int64_t sent_context, sent_targets; /* of the batch that was sent last */
    bool sent;                          /* it is not worked on yet */
    double input_first_s; /* a step whose input does not travel ahead; NaN: as above */
    uint64_t used_at_start, bytes_taken; /* of memory */
    double plan_off;                     /* that taken against that planned, less 1; or NaN */
};

static enum ij_status bench_prepare(struct bench *b, uint32_t steps, struct ij_err *reterr_err)
{
    struct mask_sizes_rules rules = mask_sizes_from_spec(&b->spec);
    struct predictor_limits limits;
    size_t bytes = (size_t)b->spec.optimizer.batch * b->spec.data.crop * b->spec.data.crop * 3;
    b->config = vit_config_from_spec(&b->spec);
    IJ_TRY(engine_device_open(&b->spec, &b->backend, reterr_err));
    IJ_TRY(bench_memory_used(b->backend, &b->used_at_start, reterr_err));
    IJ_TRY(masks_init(&b->masks, &rules, b->spec.seed, b->spec.optimizer.batch, reterr_err));
    IJ_TRY(ijepa_limits(&rules, b->spec.optimizer.batch, &limits, reterr_err));
    IJ_TRY(trainer_new(b->backend, &b->config, &limits, TENSOR_U8, &b->trainer, reterr_err));
    IJ_TRY(trainer_set_random(b->trainer, b->spec.seed, reterr_err));
    b->pixels = mem_array(uint8_t, bytes);
    b->seconds = mem_array(double, steps);
    if (!b->pixels || !b->seconds)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the synthetic images");
    struct rng rng;
    rng_init(&rng, b->spec.seed, RNG_TEST, 0, 0);
    for (size_t i = 0; i < bytes; i++)
        b->pixels[i] = (uint8_t)rng_u32(&rng);
    return IJ_OK;
}

/* Draws the masks of step `index` and sends its batch to the device. */
static enum ij_status bench_send(struct bench *b, uint64_t index, struct ij_err *reterr_err)
{
    masks_draw(&b->masks, 0, index, b->spec.optimizer.batch);
    struct ijepa_batch batch = {.pixels = b->pixels,
                                .images = b->spec.optimizer.batch,
                                .context_count = b->masks.context_count,
                                .target_count = b->masks.target_count,
                                .context = b->masks.context,
                                .targets = b->masks.targets};
    b->sent = true;
    b->sent_context = batch.context_count;
    b->sent_targets = batch.target_count;
    return trainer_prefetch(b->trainer, &batch, reterr_err);
}

/* A benchmark of the daemon's has no such parameter. */
static uint32_t micro_batches(const struct bench *b)
{
    return b->spec.optimizer.accumulate > 1 ? b->spec.optimizer.accumulate : 1;
}

/* Micro-batch `part` of step `index`; `ahead`: the next input travels beside it. */
static enum ij_status bench_micro_batch(struct bench *b, uint64_t index, uint32_t part, bool ahead,
                                        struct ij_err *reterr_err)
{
    struct ijepa_loss loss;
    uint32_t count = micro_batches(b);
    if (!b->sent)
        IJ_TRY(bench_send(b, index * count + part, reterr_err));
    double context = (double)b->sent_context, targets = (double)b->sent_targets;
    IJ_TRY(trainer_start(b->trainer, NULL, part, count, reterr_err));
    b->sent = false;
    if (ahead)
        IJ_TRY(bench_send(b, index * count + part + 1, reterr_err));
    IJ_TRY(trainer_loss(b->trainer, &loss, reterr_err));
    b->loss += (double)loss.loss / count;
    b->context += context / count;
    b->targets += targets / count;
    b->flops += flops_per_image(&b->config, b->masks.rules.targets, context, targets) / count;
    return IJ_OK;
}

/* One optimiser step, as in training. */
static enum ij_status bench_step(struct bench *b, uint64_t index, bool ahead, double *ret_seconds,
                                 struct ij_err *reterr_err)
{
    const struct engine_optimizer *o = &b->spec.optimizer;
    struct trainer_norms norms;
    int64_t begin_ns = clock_monotonic_ns();
    struct trainer_update update = {.step = index + 1,
                                    .lr = o->start_lr,
                                    .weight_decay = o->weight_decay,
                                    .ema_momentum = o->ema_start,
                                    .beta1 = o->beta1,
                                    .beta2 = o->beta2,
                                    .eps = o->adam_eps,
                                    .clip = o->clip_grad};
    b->loss = 0;
    for (uint32_t part = 0; part < micro_batches(b); part++)
        IJ_TRY(bench_micro_batch(b, index, part, ahead, reterr_err));
    IJ_TRY(trainer_update(b->trainer, &update, &norms, reterr_err));
    IJ_TRY(b->backend->ops->synchronize(b->backend, reterr_err));
    *ret_seconds = (double)(clock_monotonic_ns() - begin_ns) / 1e9;
    return IJ_OK;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The name of the shape, or "custom". */
static const char *shape_name(const struct engine_model *model)
{
    static const char *const names[] = {"vit_tiny",  "vit_small", "vit_base",
                                        "vit_large", "vit_huge",  "vit_giant"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct engine_model named = *model;
        if (engine_model_by_name(names[i], &named) && named.width == model->width &&
            named.depth == model->depth && named.heads == model->heads)
            return names[i];
    }
    return "custom";
}

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *bench_json(const struct bench *b, uint32_t steps)
{
    const struct engine_spec *s = &b->spec;
    double median = b->seconds[steps / 2], images = s->optimizer.batch * micro_batches(b);
    double rate = images / median;
    double gflop = b->flops / steps / 1e9, now = b->vector_now_gflops / steps;
    return json_pack(
        "{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:s, s:i, s:i, s:f, s:f, s:f, s:f, s:f, "
        "s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:s, s:{s:f, s:f, s:f}, s:s, s:s, s:o, s:I, s:o, s:s}",
        "model", shape_name(&s->model), "width", (int)s->model.width, "depth", (int)s->model.depth,
        "pred_depth", (int)s->model.pred_depth, "crop", (int)s->data.crop, "patch",
        (int)s->model.patch, "batch", (int)s->optimizer.batch, "accumulate", (int)micro_batches(b),
        "precision", s->precision == ENGINE_BFLOAT16 ? "bfloat16" : "float32", "device",
        b->backend->name, "threads", b->backend->threads, "steps", (int)steps, "images_per_s", rate,
        "mean_context_patches", b->context / steps, "mean_target_patches", b->targets / steps,
        "loss", b->loss, "gflop_per_image", gflop, "gflops", gflop * rate, "peak_gflops",
        b->peak_gflops, "share_of_peak", gflop * rate / b->peak_gflops, "vector_peak_gflops",
        b->vector_peak_gflops, "share_of_vector_peak", gflop * rate / b->vector_peak_gflops,
        "vector_now_gflops", number_or_null(now), "share_of_vector_now",
        number_or_null(gflop * rate / now), "level", b->backend->level ? b->backend->level : "",
        "step_s", "median", median, "min", b->seconds[0], "max", b->seconds[steps - 1], "gelu",
        s->model.gelu_tanh ? "tanh" : "erf", "target_precision",
        s->target_precision == ENGINE_TARGET_FLOAT8 ? "float8" : "same", "input_first_s",
        number_or_null(b->input_first_s), "bytes_taken", (json_int_t)b->bytes_taken, "plan_off",
        number_or_null(b->plan_off), "build", build_id());
}

/* Some steps whose input travels before them, as the median. */
static enum ij_status bench_input_first(struct bench *b, uint32_t from, uint32_t steps,
                                        struct ij_err *reterr_err)
{
    struct bench saved = *b;
    mem_auto double *seconds = mem_array(double, steps);
    if (!seconds)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the timings");
    for (uint32_t i = 0; i < steps; i++)
        IJ_TRY(bench_step(b, from + i, false, &seconds[i], reterr_err));
    qsort(seconds, steps, sizeof *seconds, by_value);
    saved.sent = b->sent;
    *b = saved; /* the sums are those of the steps before */
    b->input_first_s = seconds[steps / 2];
    return IJ_OK;
}

/* Memory that training has taken, beside that of a plan for as many micro-batches. */
static enum ij_status bench_memory(struct bench *b, uint32_t steps, struct ij_err *reterr_err)
{
    uint64_t used, batches = (uint64_t)steps * micro_batches(b);
    IJ_TRY(bench_memory_used(b->backend, &used, reterr_err));
    b->bytes_taken = used > b->used_at_start ? used - b->used_at_start : 0;
    if (!bench_on_host(b->backend))
        b->bytes_taken += CUDA_PLAN_FIXED;
    if (batches > ENGINE_PLAN_BATCHES_MAX)
        batches = ENGINE_PLAN_BATCHES_MAX;
    b->plan_off = bench_memory_off(b->backend, &b->spec, (uint32_t)batches, b->bytes_taken);
    return IJ_OK;
}

static enum ij_status bench_steps(struct bench *b, uint32_t warmup, uint32_t steps,
                                  const struct engine_bench_watch *watch, struct ij_err *reterr_err)
{
    for (uint32_t i = 0; i < warmup + steps; i++) {
        if (i == warmup)
            b->context = b->targets = b->flops = b->vector_now_gflops = 0;
        IJ_TRY(bench_step(b, i, true, &b->seconds[i < warmup ? 0 : i - warmup], reterr_err));
        b->vector_now_gflops += bench_ceiling_now(b->backend);
        if (watch)
            IJ_TRY(watch->step(watch->user, i + 1, warmup + steps, reterr_err));
    }
    IJ_TRY(bench_memory(b, warmup + steps, reterr_err));
    b->input_first_s = (double)NAN;
    if (!bench_on_host(b->backend)) /* on the host there is nowhere to go */
        IJ_TRY(bench_input_first(b, warmup + steps, steps / 2 + 1, reterr_err));
    return IJ_OK;
}

static enum ij_status bench_run(struct bench *b, uint32_t warmup, uint32_t steps,
                                const struct engine_bench_watch *watch, char **ret_json,
                                struct ij_err *reterr_err)
{
    struct bench_ceiling before, after;
    IJ_TRY(bench_prepare(b, steps, reterr_err));
    IJ_TRY(bench_ceiling_measure(b->backend, b->config.type, &before, reterr_err));
    IJ_TRY(bench_steps(b, warmup, steps, watch, reterr_err));
    qsort(b->seconds, steps, sizeof *b->seconds, by_value);
    IJ_TRY(bench_ceiling_measure(b->backend, b->config.type, &after, reterr_err));
    b->peak_gflops = fmax(before.gflops, after.gflops);
    b->vector_peak_gflops = fmax(before.vector_gflops, after.vector_gflops);
    json_t *object = bench_json(b, steps);
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    *ret_json = text ? mem_strdup(text) : NULL;
    free(text);
    json_decref(object);
    return *ret_json ? IJ_OK : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the result");
}

enum ij_status engine_bench_step(const struct engine_spec *spec, uint32_t warmup, uint32_t steps,
                                 const struct engine_bench_watch *watch, char **ret_json,
                                 struct ij_err *reterr_err)
{
    struct bench b;
    memset(&b, 0, sizeof b);
    b.spec = *spec;
    if (b.spec.kind != ENGINE_BENCHMARK)
        b.spec.kind = ENGINE_PRETRAIN;
    b.spec.monitor.eval_every_epochs = 0; /* nothing is watched, nor planned for */
    if (b.spec.data.path[0] == '\0')
        snprintf(b.spec.data.path, sizeof b.spec.data.path, "synthetic");
    if (steps < 1 || steps > STEPS_MAX || warmup > STEPS_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "steps", "steps must be 1 to %d", STEPS_MAX);
    IJ_TRY(engine_check(&b.spec, reterr_err));
    enum ij_status status = bench_run(&b, warmup, steps, watch, ret_json, reterr_err);
    mem_free(b.pixels);
    mem_free(b.seconds);
    trainer_free(b.trainer);
    masks_done(&b.masks);
    if (b.backend)
        b.backend->ops->free(b.backend);
    return status;
}
