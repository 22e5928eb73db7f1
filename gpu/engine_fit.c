/* What of a run fits into a device's memory. Part of the engine's questions: no backend. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/engine.h"

#define BATCH_MOST 65536

/* The images of a micro-batch, and how many of those make a step (NULL: none do). */
static uint32_t *batch_of(struct engine_spec *spec, uint32_t **ret_accumulate)
{
    *ret_accumulate = NULL;
    if (spec->kind == ENGINE_PRETRAIN) {
        *ret_accumulate = &spec->optimizer.accumulate;
        return &spec->optimizer.batch;
    }
    if (spec->kind == ENGINE_FINETUNE ||
        (spec->kind == ENGINE_LOW_SHOT && spec->low_shot.method == ENGINE_LOW_SHOT_FINETUNE)) {
        *ret_accumulate = &spec->finetune.accumulate;
        return &spec->finetune.batch;
    }
    return &spec->eval.batch;
}

static bool fits(const struct engine_spec *spec, uint64_t bytes)
{
    struct engine_plan plan;
    return engine_plan_memory(spec, &plan, NULL) == IJ_OK && plan.bytes_total <= bytes;
}

/* The largest batch up to `most` that fits; 0: none. More images never need less memory. */
static uint32_t largest(struct engine_spec *spec, uint32_t most, uint64_t bytes)
{
    uint32_t *accumulate, *batch = batch_of(spec, &accumulate), good = 0, bad = most + 1;
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
    uint32_t *accumulate;
    mem_auto struct engine_spec *copy = mem_new(struct engine_spec);
    if (!copy)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a plan");
    *copy = *spec;
    IJ_TRY(engine_plan_memory(spec, &plan, reterr_err));
    uint32_t *batch = batch_of(copy, &accumulate), given = *batch;
    fit.bytes = plan.bytes_total;
    fit.fits = plan.bytes_total <= bytes;
    fit.batch = largest(copy, fit.fits ? BATCH_MOST : given, bytes);
    if (accumulate && !fit.fits)
        for (uint32_t split = fit.batch; split > 0 && !fit.split; split--)
            if (given % split == 0) {
                fit.split = split;
                fit.accumulate = *accumulate * (given / split);
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
