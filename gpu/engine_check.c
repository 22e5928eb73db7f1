/* What can be known to be wrong before a run starts. Part of the engine's questions: no backend. */
#include <math.h>

#include "gpu/engine.h"
#include "gpu/model/mask_sizes.h"

#define HEAD_DIM_MAX 256

static enum ij_status range(double value, double low, double high, const char *field,
                            struct ij_err *reterr_err)
{
    if (value >= low && value <= high) /* NaN fails */
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field, "%s must be %g to %g, got %g", field, low,
                        high, value);
}

/* A range given by a user: both ends inside [low, high], in order. */
static enum ij_status pair(const double value[2], double low, double high, const char *field,
                           struct ij_err *reterr_err)
{
    IJ_TRY(range(value[0], low, high, field, reterr_err));
    IJ_TRY(range(value[1], low, high, field, reterr_err));
    if (value[0] <= value[1])
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field,
                        "%s must begin with the smaller value, got %g, %g", field, value[0],
                        value[1]);
}

static enum ij_status check_stack(uint32_t width, uint32_t depth, uint32_t heads,
                                  const char *width_field, const char *depth_field,
                                  const char *heads_field, struct ij_err *reterr_err)
{
    IJ_TRY(range(width, 4, 8192, width_field, reterr_err));
    IJ_TRY(range(depth, 1, 128, depth_field, reterr_err));
    IJ_TRY(range(heads, 1, 128, heads_field, reterr_err));
    if (width % 4 != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, width_field,
                            "%s must be a multiple of 4 (position tables), got %u", width_field,
                            width);
    if (width % heads != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, heads_field, "%s = %u does not divide %s = %u",
                            heads_field, heads, width_field, width);
    if (width / heads > HEAD_DIM_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, heads_field,
                            "%s = %u makes heads of %u values, more than %d", heads_field, heads,
                            width / heads, HEAD_DIM_MAX);
    return IJ_OK;
}

/* Rows of float8 products are multiples of 16 bytes. */
static enum ij_status check_float8(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    uint32_t hidden = (uint32_t)((double)spec->model.width * spec->model.mlp_ratio);
    if (spec->kind != ENGINE_PRETRAIN || spec->target_precision != ENGINE_TARGET_FLOAT8)
        return IJ_OK;
    if (spec->model.width % 16 == 0 && hidden % 16 == 0)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "target_precision",
                        "float8 needs a width and an MLP width that are multiples of 16, got %u "
                        "and %u",
                        spec->model.width, hidden);
}

static enum ij_status check_model(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    const struct engine_model *m = &spec->model;
    uint32_t pred_heads = m->pred_heads ? m->pred_heads : m->heads;
    IJ_TRY(range(spec->data.crop, 8, 1024, "data.crop", reterr_err));
    IJ_TRY(range(m->patch, 1, 128, "model.patch", reterr_err));
    IJ_TRY(check_stack(m->width, m->depth, m->heads, "model.width", "model.depth", "model.heads",
                       reterr_err));
    IJ_TRY(check_stack(m->pred_width, m->pred_depth, pred_heads, "model.pred_width",
                       "model.pred_depth", "model.pred_heads", reterr_err));
    IJ_TRY(range(m->mlp_ratio, 0.25, 16, "model.mlp_ratio", reterr_err));
    IJ_TRY(range(m->init_std, 1e-6, 1, "model.init_std", reterr_err));
    return range(m->patch_init_std, 0, 1, "model.patch_init_std", reterr_err);
}

/* Evaluations take shape and crop from their checkpoint, if they have one. */
static bool shape_is_named(const struct engine_spec *spec)
{
    return spec->kind == ENGINE_PRETRAIN || spec->eval.checkpoint[0] == '\0';
}

static enum ij_status check_grid(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    const struct engine_model *m = &spec->model;
    uint32_t grid = spec->data.crop / m->patch;
    if (grid < 2)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "model.patch",
                            "patches of %u pixels cut a crop of %u into fewer than 2 x 2", m->patch,
                            spec->data.crop);
    if (grid > MASK_SIZES_GRID_MAX)
        return IJ_ERR_FIELD(
            reterr_err, IJ_INVALID, "model.patch",
            "patches of %u pixels cut a crop of %u into %u x %u, more than %d a side", m->patch,
            spec->data.crop, grid, grid, MASK_SIZES_GRID_MAX);
    return IJ_OK;
}

static enum ij_status check_data(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    const struct engine_data *d = &spec->data;
    bool synthetic =
        spec->kind == ENGINE_BENCHMARK && spec->benchmark.what != ENGINE_BENCHMARK_LOADER;
    if (d->path[0] == '\0' && !synthetic)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "data.path", "a dataset must be named");
    for (int i = 0; i < 3; i++) {
        IJ_TRY(range(d->mean[i], 0, 1, "data.mean", reterr_err));
        IJ_TRY(range(d->std[i], 0.001, 10, "data.std", reterr_err));
    }
    IJ_TRY(range(d->loader_threads, 0, 256, "data.loader_threads", reterr_err));
    return range(d->bad_image_limit, 0, 1, "data.bad_image_limit", reterr_err);
}

static enum ij_status check_masks(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    const struct engine_masks *m = &spec->masks;
    IJ_TRY(range(m->targets, 1, ENGINE_TARGETS_MAX, "masks.targets", reterr_err));
    if (m->masking == ENGINE_MASKING_BLOCK || m->masking == ENGINE_MASKING_RANDOM)
        IJ_TRY(range(m->masked_share, 0.01, 0.99, "masks.masked_share", reterr_err));
    IJ_TRY(pair(m->target_scale, 0.001, 1, "masks.target_scale", reterr_err));
    IJ_TRY(pair(m->target_aspect, 0.1, 10, "masks.target_aspect", reterr_err));
    IJ_TRY(pair(m->context_scale, 0.001, 1, "masks.context_scale", reterr_err));
    struct mask_sizes_rules rules = mask_sizes_from_spec(spec);
    return mask_sizes_check(&rules, reterr_err);
}

static enum ij_status check_rates(const struct engine_optimizer *o, struct ij_err *reterr_err)
{
    IJ_TRY(range(o->start_lr, 0, 1, "optimizer.start_lr", reterr_err));
    IJ_TRY(range(o->lr, 0, 1, "optimizer.lr", reterr_err));
    IJ_TRY(range(o->final_lr, 0, 1, "optimizer.final_lr", reterr_err));
    IJ_TRY(range(o->weight_decay, 0, 10, "optimizer.weight_decay", reterr_err));
    IJ_TRY(range(o->final_weight_decay, 0, 10, "optimizer.final_weight_decay", reterr_err));
    IJ_TRY(range(o->ema_start, 0, 1, "optimizer.ema_start", reterr_err));
    IJ_TRY(range(o->ema_end, 0, 1, "optimizer.ema_end", reterr_err));
    IJ_TRY(range(o->beta1, 0, 0.999999, "optimizer.beta1", reterr_err));
    IJ_TRY(range(o->beta2, 0, 0.99999999, "optimizer.beta2", reterr_err));
    IJ_TRY(range(o->adam_eps, 1e-16, 1, "optimizer.adam_eps", reterr_err));
    return range(o->clip_grad, 0, 1e6, "optimizer.clip_grad", reterr_err);
}

static enum ij_status check_optimizer(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    const struct engine_optimizer *o = &spec->optimizer;
    IJ_TRY(range(o->batch, 1, 65536, "optimizer.batch", reterr_err));
    IJ_TRY(range(o->accumulate, 1, 65536, "optimizer.accumulate", reterr_err));
    IJ_TRY(range(o->epochs, 1e-6, 1e6, "optimizer.epochs", reterr_err));
    IJ_TRY(range(o->warmup_epochs, 0, 1e6, "optimizer.warmup_epochs", reterr_err));
    IJ_TRY(range(o->ipe_scale, 0.1, 100, "optimizer.ipe_scale", reterr_err));
    if (o->warmup_epochs > o->epochs * o->ipe_scale)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "optimizer.warmup_epochs",
                            "a warm-up of %g epochs does not fit into schedules of %g epochs",
                            o->warmup_epochs, o->epochs * o->ipe_scale);
    return check_rates(o, reterr_err);
}

static enum ij_status check_pretrain(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    const struct engine_monitor *m = &spec->monitor;
    IJ_TRY(pair(spec->data.crop_scale, 0.001, 1, "data.crop_scale", reterr_err));
    IJ_TRY(pair(spec->data.crop_ratio, 0.05, 20, "data.crop_ratio", reterr_err));
    IJ_TRY(check_masks(spec, reterr_err));
    IJ_TRY(check_optimizer(spec, reterr_err));
    IJ_TRY(range(m->checkpoint_every_s, 0, 1e9, "monitor.checkpoint_every_s", reterr_err));
    IJ_TRY(
        range(m->checkpoint_every_epochs, 0, 1e9, "monitor.checkpoint_every_epochs", reterr_err));
    IJ_TRY(range(m->eval_every_epochs, 0, 1e9, "monitor.eval_every_epochs", reterr_err));
    return range(spec->guard.spike_factor, 0, 1e6, "guard.spike_factor", reterr_err);
}

/* Only what a benchmark uses: no schedules. */
static enum ij_status check_benchmark(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    const struct engine_benchmark *b = &spec->benchmark;
    IJ_TRY(pair(spec->data.crop_scale, 0.001, 1, "data.crop_scale", reterr_err));
    IJ_TRY(pair(spec->data.crop_ratio, 0.05, 20, "data.crop_ratio", reterr_err));
    IJ_TRY(check_masks(spec, reterr_err));
    IJ_TRY(range(spec->optimizer.batch, 1, 65536, "optimizer.batch", reterr_err));
    IJ_TRY(range(b->warmup, 0, 1000, "benchmark.warmup", reterr_err));
    IJ_TRY(range(b->steps, 1, 10000, "benchmark.steps", reterr_err));
    return range(b->seconds, 0.001, 120, "benchmark.seconds", reterr_err);
}

static enum ij_status check_visualize(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    if (spec->eval.checkpoint[0] == '\0')
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "eval.checkpoint",
                            "a checkpoint must be named: there is nothing else to look at");
    IJ_TRY(range(spec->eval.images, 1, 64, "eval.images", reterr_err));
    IJ_TRY(range(spec->eval.history, 1, 100, "eval.history", reterr_err));
    return range(spec->eval.bank, 1, 4096, "eval.bank", reterr_err);
}

static enum ij_status check_list(const struct engine_list *list, double low, double high,
                                 const char *field, struct ij_err *reterr_err)
{
    if (list->count < 1 || list->count > ENGINE_LIST_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field, "%s must hold 1 to %d values, got %u",
                            field, ENGINE_LIST_MAX, list->count);
    for (uint32_t i = 0; i < list->count; i++)
        IJ_TRY(range(list->values[i], low, high, field, reterr_err));
    return IJ_OK;
}

static enum ij_status check_probe(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    const struct engine_probe *p = &spec->probe;
    IJ_TRY(range(p->epochs, 1, 1e6, "probe.epochs", reterr_err));
    if (spec->kind == ENGINE_CLEVR)
        IJ_TRY(range(p->distance_epochs, 1, 1e6, "probe.distance_epochs", reterr_err));
    IJ_TRY(check_list(&p->rates, 1e-12, 1e6, "probe.rates", reterr_err));
    IJ_TRY(check_list(&p->weight_decays, 0, 10, "probe.weight_decays", reterr_err));
    if (p->schedule == ENGINE_PROBE_STEP)
        IJ_TRY(check_list(&p->milestones, 0, 1e6, "probe.milestones", reterr_err));
    IJ_TRY(range(p->final_share, 0, 1, "probe.final_share", reterr_err));
    IJ_TRY(range(p->warmup_epochs, 0, 1e6, "probe.warmup_epochs", reterr_err));
    return p->mode == ENGINE_PROBE_AUGMENTED
               ? pair(spec->eval.augment_scale, 0.001, 1, "eval.augment_scale", reterr_err)
               : IJ_OK;
}

static enum ij_status check_finetune(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    const struct engine_finetune *f = &spec->finetune;
    const struct engine_monitor *m = &spec->monitor;
    IJ_TRY(range(f->batch, 2, 65536, "finetune.batch", reterr_err));
    IJ_TRY(range(f->accumulate, 1, 65536, "finetune.accumulate", reterr_err));
    IJ_TRY(range(f->epochs, 1e-6, 1e6, "finetune.epochs", reterr_err));
    IJ_TRY(range(f->warmup_epochs, 0, f->epochs, "finetune.warmup_epochs", reterr_err));
    IJ_TRY(range(f->lr, 0, 1, "finetune.lr", reterr_err));
    IJ_TRY(range(f->final_lr, 0, 1, "finetune.final_lr", reterr_err));
    IJ_TRY(range(f->weight_decay, 0, 10, "finetune.weight_decay", reterr_err));
    IJ_TRY(range(f->layer_decay, 0.01, 1, "finetune.layer_decay", reterr_err));
    IJ_TRY(range(f->drop_path, 0, 0.99, "finetune.drop_path", reterr_err));
    IJ_TRY(range(f->mixup, 0, 100, "finetune.mixup", reterr_err));
    IJ_TRY(range(f->cutmix, 0, 100, "finetune.cutmix", reterr_err));
    IJ_TRY(range(f->label_smoothing, 0, 0.99, "finetune.label_smoothing", reterr_err));
    IJ_TRY(range(f->rand_augment, 0, 10, "finetune.rand_augment", reterr_err));
    IJ_TRY(range(f->random_erase, 0, 1, "finetune.random_erase", reterr_err));
    IJ_TRY(range(f->clip_grad, 0, 1e6, "finetune.clip_grad", reterr_err));
    IJ_TRY(range(f->eval_every_epochs, 0, 1e6, "finetune.eval_every_epochs", reterr_err));
    IJ_TRY(range(m->checkpoint_every_s, 0, 1e9, "monitor.checkpoint_every_s", reterr_err));
    return pair(spec->eval.augment_scale, 0.001, 1, "eval.augment_scale", reterr_err);
}

static enum ij_status check_low_shot(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    const struct engine_low_shot *l = &spec->low_shot;
    if (l->list[0] && spec->eval.seeds > 1)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "eval.seeds",
                            "a list fixes the images: repeating it %u times changes nothing",
                            spec->eval.seeds);
    if (l->method == ENGINE_LOW_SHOT_FINETUNE && spec->eval.seeds > 1)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "eval.seeds",
                            "fine-tuning is repeated as runs with other seeds, not %u times in one",
                            spec->eval.seeds);
    if (spec->eval.features == ENGINE_FEATURES_PATCHES)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "eval.features",
                            "low_shot takes pooled or concat4 features");
    IJ_TRY(range(l->shots, 0, 1e6, "low_shot.shots", reterr_err));
    IJ_TRY(range(l->fraction, 1e-6, 1, "low_shot.fraction", reterr_err));
    IJ_TRY(range(l->l2, 1e-9, 1e6, "low_shot.l2", reterr_err));
    IJ_TRY(range(l->iterations, 1, 1e6, "low_shot.iterations", reterr_err));
    return l->method == ENGINE_LOW_SHOT_FINETUNE ? check_finetune(spec, reterr_err) : IJ_OK;
}

static enum ij_status check_eval(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    const struct engine_eval *e = &spec->eval;
    if (spec->kind == ENGINE_VISUALIZE)
        return check_visualize(spec, reterr_err);
    if (spec->kind == ENGINE_FINETUNE)
        return check_finetune(spec, reterr_err);
    IJ_TRY(range(e->batch, 1, 65536, "eval.batch", reterr_err));
    if (spec->kind == ENGINE_FEATURES)
        return IJ_OK;
    IJ_TRY(range(e->seeds, 1, 100, "eval.seeds", reterr_err));
    if (spec->kind == ENGINE_KNN) {
        IJ_TRY(range(e->neighbors, 1, 1e6, "eval.neighbors", reterr_err));
        return range(e->temperature, 1e-6, 1e6, "eval.temperature", reterr_err);
    }
    return spec->kind == ENGINE_LOW_SHOT ? check_low_shot(spec, reterr_err)
                                         : check_probe(spec, reterr_err);
}

enum ij_status engine_check(const struct engine_spec *spec, struct ij_err *reterr_err)
{
    if ((unsigned)spec->kind >= ENGINE_KIND_COUNT)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "kind", "unknown kind of run %d",
                            (int)spec->kind);
    IJ_TRY(range(spec->threads, 0, 1024, "threads", reterr_err));
    IJ_TRY(check_data(spec, reterr_err));
    if (spec->kind == ENGINE_SCAN)
        return IJ_OK;
    IJ_TRY(check_model(spec, reterr_err));
    IJ_TRY(check_float8(spec, reterr_err));
    if (shape_is_named(spec))
        IJ_TRY(check_grid(spec, reterr_err));
    if (spec->kind == ENGINE_BENCHMARK)
        return check_benchmark(spec, reterr_err);
    return spec->kind == ENGINE_PRETRAIN ? check_pretrain(spec, reterr_err)
                                         : check_eval(spec, reterr_err);
}
