/* See probe_heads.h. Group g: bit 0 = batch norm off, bit 1 = concat4. Head h of a group: rate
 * h / decays, decay h % decays. */
#include "gpu/eval/probe_heads.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "gpu/eval/probe_group.h"
#include "gpu/model/frozen.h"

#define STEP_FACTOR 0.1

struct probe_heads {
    struct probe_heads_options options;
    struct probe_group *groups[PROBE_HEADS_GROUPS];
    double decays[PROBE_HEADS_PER_GROUP];
    uint64_t step; /* updates done */
};

/* ---- Names ----------------------------------------------------------------------------------- */

static size_t per_group(const struct engine_probe *recipe)
{
    return (size_t)recipe->rates.count * recipe->weight_decays.count;
}

size_t probe_heads_count(const struct engine_probe *recipe)
{
    return PROBE_HEADS_GROUPS * per_group(recipe);
}

bool probe_heads_is_concat(const struct engine_probe *recipe, size_t head)
{
    return (head / per_group(recipe) & 2) != 0;
}

bool probe_heads_has_norm(const struct engine_probe *recipe, size_t head)
{
    return (head / per_group(recipe) & 1) == 0;
}

double probe_heads_rate(const struct engine_probe *recipe, size_t head)
{
    return recipe->rates.values[head % per_group(recipe) / recipe->weight_decays.count];
}

double probe_heads_weight_decay(const struct engine_probe *recipe, size_t head)
{
    return recipe->weight_decays.values[head % per_group(recipe) % recipe->weight_decays.count];
}

void probe_heads_name(const struct engine_probe *recipe, size_t head,
                      char ret_name[PROBE_HEADS_NAME_SIZE])
{
    snprintf(ret_name, PROBE_HEADS_NAME_SIZE, "%s.%s.lr%g.wd%g",
             probe_heads_is_concat(recipe, head) ? "concat4" : "last",
             probe_heads_has_norm(recipe, head) ? "bn" : "plain", probe_heads_rate(recipe, head),
             probe_heads_weight_decay(recipe, head));
}

/* ---- Life ------------------------------------------------------------------------------------ */

static enum ij_status open_groups(struct probe_heads *heads, struct backend *backend,
                                  struct ij_err *reterr_err)
{
    const struct probe_heads_options *o = &heads->options;
    size_t each = per_group(o->recipe);
    for (size_t g = 0; g < PROBE_HEADS_GROUPS; g++) {
        bool concat = probe_heads_is_concat(o->recipe, g * each);
        const struct probe_group_options options = {
            .width = concat ? FROZEN_CONCAT_BLOCKS * o->width : o->width,
            .classes = (int64_t)o->classes,
            .heads = (int64_t)each,
            .rows_max = o->batch,
            .batch_norm = probe_heads_has_norm(o->recipe, g * each),
            .optimizer = o->recipe->optimizer,
            .weight_decays = heads->decays,
            .seed = o->seed,
            .stream = g};
        IJ_TRY(probe_group_new(backend, &options, &heads->groups[g], reterr_err));
    }
    return IJ_OK;
}

uint64_t probe_heads_device_bytes(const struct engine_probe *recipe, int64_t width, size_t classes,
                                  int64_t batch)
{
    size_t each = per_group(recipe);
    uint64_t bytes = 0;
    for (size_t g = 0; g < PROBE_HEADS_GROUPS; g++)
        bytes += probe_group_device_bytes(
            probe_heads_is_concat(recipe, g * each) ? FROZEN_CONCAT_BLOCKS * width : width,
            (int64_t)(each * classes), batch);
    return bytes;
}

enum ij_status probe_heads_new(struct backend *backend, const struct probe_heads_options *options,
                               struct probe_heads **ret_heads, struct ij_err *reterr_err)
{
    struct probe_heads *heads = mem_new(struct probe_heads);
    if (!heads)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the linear probe");
    heads->options = *options;
    for (size_t h = 0; h < per_group(options->recipe); h++)
        heads->decays[h] = probe_heads_weight_decay(options->recipe, h);
    enum ij_status status = open_groups(heads, backend, reterr_err);
    if (status != IJ_OK) {
        probe_heads_free(heads);
        return status;
    }
    *ret_heads = heads;
    return IJ_OK;
}

void probe_heads_free(struct probe_heads *heads)
{
    if (!heads)
        return;
    for (size_t g = 0; g < PROBE_HEADS_GROUPS; g++)
        probe_group_free(heads->groups[g]);
    mem_free(heads);
}

/* ---- Work ------------------------------------------------------------------------------------ */

double probe_heads_factor(const struct engine_probe *recipe, uint32_t epochs,
                          uint64_t steps_per_epoch, uint64_t step)
{
    double total = (double)epochs * (double)steps_per_epoch, at = (double)step, factor = 1;
    double warmup = fmin(recipe->warmup_epochs * (double)steps_per_epoch, total);
    if (at < warmup)
        return at / warmup;
    if (recipe->schedule == ENGINE_PROBE_COSINE) {
        double share = (at - warmup) / fmax(1, total - warmup);
        return recipe->final_share +
               (1 - recipe->final_share) * 0.5 * (1 + cos(M_PI * fmin(1, share)));
    }
    for (uint32_t i = 0; i < recipe->milestones.count; i++)
        if (at >= recipe->milestones.values[i] * (double)steps_per_epoch)
            factor *= STEP_FACTOR;
    return factor;
}

enum ij_status probe_heads_step(struct probe_heads *heads, const float *last, const float *concat,
                                const int32_t *labels, double *ret_losses,
                                struct ij_err *reterr_err)
{
    const struct probe_heads_options *o = &heads->options;
    double rates[PROBE_HEADS_PER_GROUP], factor = (double)o->batch / 256;
    size_t each = per_group(o->recipe);
    factor *= probe_heads_factor(o->recipe, o->epochs, o->steps_per_epoch, heads->step++);
    for (size_t h = 0; h < each; h++)
        rates[h] = factor * probe_heads_rate(o->recipe, h);
    for (size_t g = 0; g < PROBE_HEADS_GROUPS; g++) {
        bool long_feature = probe_heads_is_concat(o->recipe, g * each);
        IJ_TRY(probe_group_step(heads->groups[g], long_feature ? concat : last, labels, o->batch,
                                rates, ret_losses ? ret_losses + g * each : NULL, reterr_err));
    }
    return IJ_OK;
}

enum ij_status probe_heads_predict(struct probe_heads *heads, const float *last,
                                   const float *concat, int64_t rows, int32_t *ret_classes,
                                   struct ij_err *reterr_err)
{
    const struct probe_heads_options *o = &heads->options;
    size_t each = per_group(o->recipe);
    for (size_t g = 0; g < PROBE_HEADS_GROUPS; g++) {
        bool long_feature = probe_heads_is_concat(o->recipe, g * each);
        IJ_TRY(probe_group_predict(heads->groups[g], long_feature ? concat : last, rows,
                                   ret_classes + (int64_t)(g * each) * rows, reterr_err));
    }
    return IJ_OK;
}
