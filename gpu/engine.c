/* Carries out a run: opens the device and hands over to the kind's own module. See engine.h. */
#include "gpu/engine.h"

#include "base/file.h"
#include "base/mem.h"
#include "gpu/engine_benchmark.h"
#include "gpu/engine_device.h"
#include "gpu/eval/evaluate.h"
#include "gpu/eval/extract.h"
#include "gpu/eval/finetune.h"
#include "gpu/eval/low_shot.h"
#include "gpu/eval/scan.h"
#include "gpu/eval/visualize.h"
#include "gpu/ops/cuda_plan.h"
#include "gpu/train/train.h"

#define DIRECTORY_MODE 0750

static enum ij_status run_kind(struct backend *backend, const struct engine_spec *spec,
                               const struct engine_sink *sink, struct ij_err *reterr_err)
{
    switch (spec->kind) {
    case ENGINE_PRETRAIN:
        return train_run(backend, spec, sink, reterr_err);
    case ENGINE_FEATURES:
        return extract_run(backend, spec, sink, reterr_err);
    case ENGINE_LOW_SHOT:
        return spec->low_shot.method == ENGINE_LOW_SHOT_FINETUNE
                   ? finetune_run(backend, spec, sink, reterr_err)
                   : low_shot_run(backend, spec, sink, reterr_err);
    case ENGINE_FINETUNE:
        return finetune_run(backend, spec, sink, reterr_err);
    case ENGINE_VISUALIZE:
        return visualize_run(backend, spec, sink, reterr_err);
    default:
        return evaluate_run(backend, spec, sink, reterr_err);
    }
}

/* A run that does not fit its GPU is refused before it starts, with what would. What the backend
 * has already is part of the plan. IJ_INVALID: it never will; IJ_NO_MEMORY: others use the memory
 * now. A checkpoint that cannot be read is the kind's own to refuse. */
static enum ij_status check_memory(struct backend *backend, const struct engine_spec *spec,
                                   struct ij_err *reterr_err)
{
    const double gib = 1 << 30;
    uint64_t left, all;
    struct engine_fit fit;
    char text[160];
    IJ_TRY(backend->ops->memory(backend, &left, &all, reterr_err));
    if (all == 0)
        return IJ_OK;
    mem_auto struct engine_spec *planned = mem_new(struct engine_spec);
    if (!planned)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a plan");
    *planned = *spec;
    if (spec->eval.checkpoint[0] &&
        engine_subject_read(spec->eval.checkpoint, planned, NULL) != IJ_OK)
        return IJ_OK;
    IJ_TRY(engine_fit(planned, left + CUDA_PLAN_FIXED, &fit, reterr_err));
    if (fit.fits)
        return IJ_OK;
    engine_fit_text(&fit, text, sizeof text);
    bool never = fit.bytes + ENGINE_CONTEXT_BYTES > all;
    return IJ_ERR_FIELD(
        reterr_err, never ? IJ_INVALID : IJ_NO_MEMORY, fit.field,
        "the run needs %.2f GiB of device memory and %.2f of the GPU's %.2f GiB are "
        "left: %s",
        (double)fit.bytes / gib, (double)left / gib, (double)all / gib, text);
}

enum ij_status engine_run(const struct engine_spec *spec, const struct engine_sink *sink,
                          struct ij_err *reterr_err)
{
    struct backend *backend = NULL;
    IJ_TRY(engine_check(spec, reterr_err));
    if (spec->directory[0] == '\0')
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "directory", "a run needs a directory");
    IJ_TRY(file_make_dirs(spec->directory, DIRECTORY_MODE, reterr_err));
    if (spec->kind == ENGINE_SCAN) /* nothing to compute */
        return scan_run(spec, sink, reterr_err);
    if (spec->kind == ENGINE_BENCHMARK) /* opens the device itself, where it needs one */
        return engine_benchmark_run(spec, sink, reterr_err);
    IJ_TRY(engine_device_trust(spec, reterr_err));
    IJ_TRY(engine_device_open(spec, &backend, reterr_err));
    enum ij_status status = check_memory(backend, spec, reterr_err);
    if (status == IJ_OK)
        status = run_kind(backend, spec, sink, reterr_err);
    backend->ops->free(backend);
    return status;
}
