/* Carries out a run: opens the device and hands over to the kind's own module. See engine.h. */
#include "gpu/engine.h"

#include "base/file.h"
#include "gpu/engine_benchmark.h"
#include "gpu/engine_device.h"
#include "gpu/eval/evaluate.h"
#include "gpu/eval/extract.h"
#include "gpu/eval/finetune.h"
#include "gpu/eval/low_shot.h"
#include "gpu/eval/scan.h"
#include "gpu/eval/visualize.h"
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
    IJ_TRY(engine_device_open(spec, &backend, reterr_err));
    enum ij_status status = run_kind(backend, spec, sink, reterr_err);
    backend->ops->free(backend);
    return status;
}
