/* See eval_memory.h. */
#include "gpu/eval/eval_memory.h"

#include "gpu/eval/eval_model.h"
#include "gpu/eval/knn.h"
#include "gpu/eval/logistic.h"
#include "gpu/eval/monitor.h"
#include "gpu/eval/panel.h"
#include "gpu/eval/probe_heads.h"

static uint64_t classifier_bytes(const struct engine_spec *spec, int64_t width)
{
    switch (spec->kind) {
    case ENGINE_KNN:
        return knn_device_bytes(width, SIZE_MAX, SIZE_MAX);
    case ENGINE_LOW_SHOT:
        return logistic_device_bytes(FROZEN_CONCAT_BLOCKS * width, EVAL_MEMORY_CLASSES);
    case ENGINE_LINEAR_PROBE:
        return probe_heads_device_bytes(&spec->probe, width, EVAL_MEMORY_CLASSES, spec->eval.batch);
    default: /* features; the few classes of clevr */
        return 0;
    }
}

struct eval_memory eval_memory_of(const struct engine_spec *spec, const struct vit_config *config)
{
    uint32_t batch = spec->eval.batch;
    struct eval_memory m = {.images = batch < EVAL_MODEL_BATCH_MAX ? batch : EVAL_MODEL_BATCH_MAX};
    m.input = (uint64_t)(m.images * config->crop * config->crop) * 3;
    m.activations = frozen_device_bytes(config, m.images) - m.input +
                    classifier_bytes(spec, config->encoder.width);
    return m;
}

uint64_t eval_memory_monitor(const struct engine_spec *spec, const struct vit_config *config)
{
    size_t half = (spec->monitor.eval_images + 1) / 2;
    if (spec->kind != ENGINE_PRETRAIN || !(spec->monitor.eval_every_epochs > 0))
        return 0;
    return frozen_device_bytes(config, MONITOR_BATCH) +
           knn_device_bytes(config->encoder.width, half, half);
}

uint64_t eval_memory_bank(const struct vit_config *config)
{
    return frozen_device_bytes(config, PANEL_BANK_BATCH);
}
