/* What of a run fits into a device's memory. Part of the engine's questions: no backend. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/engine.h"

#define BATCH_MOST 65536
#define SHEET_MOST 64

/* What a run's memory can be fitted by. */
struct knob {
    uint32_t *batch;      /* images at once */
    uint32_t *accumulate; /* how many of those make a step; NULL: none do */
    const char *field;    /* the member's name */
    uint32_t most;
};

static struct knob knob_of(struct engine_spec *spec)
{
    bool tunes =
        spec->kind == ENGINE_FINETUNE ||
        (spec->kind == ENGINE_LOW_SHOT && spec->low_shot.method == ENGINE_LOW_SHOT_FINETUNE);
    if (spec->kind == ENGINE_PRETRAIN)
        return (struct knob){&spec->optimizer.batch, &spec->optimizer.accumulate, "optimizer.batch",
                             BATCH_MOST};
    if (spec->kind == ENGINE_BENCHMARK)
        return (struct knob){&spec->optimizer.batch, NULL, "optimizer.batch", BATCH_MOST};
    if (tunes)
        return (struct knob){&spec->finetune.batch, &spec->finetune.accumulate, "finetune.batch",
                             BATCH_MOST};
    if (spec->kind == ENGINE_VISUALIZE)
        return (struct knob){&spec->eval.images, NULL, "eval.images", SHEET_MOST};
    return (struct knob){&spec->eval.batch, NULL, "eval.batch", BATCH_MOST};
}

static bool fits(const struct engine_spec *spec, uint64_t bytes)
{
    struct engine_plan plan;
    return engine_plan_memory(spec, &plan, NULL) == IJ_OK && plan.bytes_total <= bytes;
}

/* The largest batch up to `most` that fits; 0: none. More images never need less memory. */
static uint32_t largest(struct engine_spec *spec, uint32_t most, uint64_t bytes)
{
    uint32_t *batch = knob_of(spec).batch, good = 0, bad = most + 1;
    while (bad - good > 1) {
        *batch = good + (bad - good) / 2;
        if (fits(spec, bytes))
            good = *batch;
        else
            bad = *batch;
    }
    return good;
}

enum ij_status engine_fit(const struct engine_spec *spec, uint64_t bytes,
                          struct engine_fit *ret_fit, struct ij_err *reterr_err)
{
    struct engine_plan plan;
    struct engine_fit fit = {.bytes = 0};
    mem_auto struct engine_spec *copy = mem_new(struct engine_spec);
    if (!copy)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a plan");
    *copy = *spec;
    IJ_TRY(engine_plan_memory(spec, &plan, reterr_err));
    struct knob knob = knob_of(copy);
    uint32_t given = *knob.batch;
    fit.field = knob.field;
    fit.bytes = plan.bytes_total;
    fit.fits = plan.bytes_total <= bytes;
    fit.batch = largest(copy, fit.fits ? knob.most : given, bytes);
    if (knob.accumulate && !fit.fits)
        for (uint32_t split = fit.batch; split > 0 && !fit.split; split--)
            if (given % split == 0) {
                fit.split = split;
                fit.accumulate = *knob.accumulate * (given / split);
            }
    *ret_fit = fit;
    return IJ_OK;
}

void engine_fit_text(const struct engine_fit *fit, char *ret_text, size_t size)
{
    int used = 0;
    if (fit->batch == 0)
        used = snprintf(ret_text, size, "not even a batch of 1 would fit");
    else
        used = snprintf(ret_text, size, "a batch of %u would fit", fit->batch);
    if (fit->split && used > 0 && (size_t)used < size)
        snprintf(ret_text + used, size - (size_t)used,
                 ", and batch %u with accumulate %u keeps the images of a step", fit->split,
                 fit->accumulate);
}
