/* A valid pretraining spec for tests to start from: the published recipe on a 224-pixel crop. */
#ifndef TESTS_UNIT_SPEC_FIXTURE_H
#define TESTS_UNIT_SPEC_FIXTURE_H

#include <stdio.h>

#include "gpu/engine.h"

static inline struct engine_spec spec_fixture(const char *model, uint32_t crop, uint32_t patch)
{
    struct engine_spec s = {
        .kind = ENGINE_PRETRAIN,
        .seed = 1,
        .data = {.path = "images",
                 .labels = ENGINE_LABELS_NONE,
                 .crop = crop,
                 .crop_scale = {0.3, 1.0},
                 .crop_ratio = {0.75, 4.0 / 3.0},
                 .mean = {0.485, 0.456, 0.406},
                 .std = {0.229, 0.224, 0.225}},
        .model = {.patch = patch, .pred_width = 384, .init_std = 0.02},
        .masks = {.sampler = ENGINE_MASKS_PUBLISHED,
                  .targets = 4,
                  .target_scale = {0.15, 0.2},
                  .target_aspect = {0.75, 1.5},
                  .context_scale = {0.85, 1.0},
                  .min_keep = 10},
        .optimizer = {.batch = 128,
                      .accumulate = 1,
                      .epochs = 300,
                      .warmup_epochs = 40,
                      .start_lr = 2e-4,
                      .lr = 1e-3,
                      .final_lr = 1e-6,
                      .weight_decay = 0.04,
                      .final_weight_decay = 0.4,
                      .ema_start = 0.996,
                      .ema_end = 1.0,
                      .ipe_scale = 1.0,
                      .beta1 = 0.9,
                      .beta2 = 0.999,
                      .adam_eps = 1e-8},
    };
    if (!engine_model_by_name(model, &s.model))
        s.model.width = 0; /* engine_check refuses it */
    return s;
}

#endif
