/*
 * Named recipes. Each cites where its values come from; those of public checkpoints keep the
 * published micro-batch (masks are cut to its minimum) and reach the published batch by
 * accumulation.
 */
#include <string.h>

#include "daemon/params_table.h"

#define PUBLISHED_COMMON                                                                           \
    "\"sampler\": \"published\", \"loss\": \"smooth_l1\", \"crop_scale\": [0.3, 1.0],\n"           \
    " \"precision\": \"bfloat16\", \"pred_width\": 384"

/* What made small models learn within CPU minutes; docs/results/cifar10.md says what each gave. */
#define SMALL_RECIPE                                                                               \
    " \"sampler\": \"unbiased\", \"targets\": 4, \"target_scale\": [0.25, 0.3], \"min_keep\": "    \
    "1,\n"                                                                                         \
    " \"batch\": 64, \"start_lr\": 1.5e-4, \"lr\": 1.5e-3, \"final_lr\": 1e-5,\n"                  \
    " \"weight_decay\": 0.05, \"final_weight_decay\": 0.05, \"ema_start\": 0.996, \"ema_end\": "   \
    "1.0,\n"

const struct param_preset params_preset_rows[] = {
    {"in1k_vith14_ep300", ENGINE_PRETRAIN,
     "public configuration in1k_vith14_ep300; Assran et al., CVPR 2023, table 1: linear 79.3",
     "ViT-H/14 on ImageNet-1k, 300 epochs, batch 2048 as 16 micro-batches of 128.",
     "{\"model\": \"vit_huge\", \"patch\": 14, \"crop\": 224, \"pred_depth\": 12,\n"
     " \"batch\": 128, \"accumulate\": 16, \"epochs\": 300, \"warmup_epochs\": 40,\n"
     " " PUBLISHED_COMMON "}"},
    {"in1k_vith16_448_ep300", ENGINE_PRETRAIN,
     "public configuration in1k_vith16-448_ep300; Assran et al., table 1: linear 81.1",
     "ViT-H/16 at 448 pixels on ImageNet-1k, 300 epochs, batch 2048 as 128 micro-batches of 16.",
     "{\"model\": \"vit_huge\", \"patch\": 16, \"crop\": 448, \"pred_depth\": 12,\n"
     " \"batch\": 16, \"accumulate\": 128, \"epochs\": 300, \"warmup_epochs\": 40,\n"
     " " PUBLISHED_COMMON "}"},
    {"in22k_vith14_ep66", ENGINE_PRETRAIN, "public configuration in22k_vith14_ep66",
     "ViT-H/14 on ImageNet-22k, 66 epochs, batch 2048 as 64 micro-batches of 32.",
     "{\"model\": \"vit_huge\", \"patch\": 14, \"crop\": 224, \"pred_depth\": 12,\n"
     " \"batch\": 32, \"accumulate\": 64, \"epochs\": 66, \"warmup_epochs\": 3,\n"
     " " PUBLISHED_COMMON "}"},
    {"in22k_vitg16_ep44", ENGINE_PRETRAIN, "public configuration in22k_vitg16_ep44",
     "ViT-g/16 on ImageNet-22k, 44 epochs, batch 2048 as 128 micro-batches of 16.",
     "{\"model\": \"vit_giant\", \"patch\": 16, \"crop\": 224, \"pred_depth\": 16,\n"
     " \"batch\": 16, \"accumulate\": 128, \"epochs\": 44, \"warmup_epochs\": 3,\n"
     " " PUBLISHED_COMMON "}"},
    {"in1k_vitl16_ep600", ENGINE_PRETRAIN,
     "Assran et al., table 1 (linear 77.5) and appendix A.1 (predictor depth 12); optimiser as in "
     "the public configurations, because no L/16 configuration was released",
     "ViT-L/16 on ImageNet-1k, 600 epochs.",
     "{\"model\": \"vit_large\", \"patch\": 16, \"crop\": 224, \"pred_depth\": 12,\n"
     " \"batch\": 128, \"accumulate\": 16, \"epochs\": 600, \"warmup_epochs\": 40,\n"
     " " PUBLISHED_COMMON "}"},
    {"in1k_vitb16_ep600", ENGINE_PRETRAIN,
     "Assran et al., table 1 (linear 72.9) and appendix A.1 (predictor depth 6); optimiser as in "
     "the public configurations, because no B/16 configuration was released",
     "ViT-B/16 on ImageNet-1k, 600 epochs.",
     "{\"model\": \"vit_base\", \"patch\": 16, \"crop\": 224, \"pred_depth\": 6,\n"
     " \"batch\": 128, \"accumulate\": 16, \"epochs\": 600, \"warmup_epochs\": 40,\n"
     " " PUBLISHED_COMMON "}"},
    {"small_32", ENGINE_PRETRAIN, "measured: docs/results/cifar10.md",
     "32-pixel images on a CPU: 16 patches of 8 pixels, a ViT of 0.8 M parameters. About 480,000 "
     "image passes are needed (32 epochs of 15,000 images); the probe falls first, then rises.",
     "{\"model\": \"custom\", \"width\": 128, \"depth\": 4, \"heads\": 4, \"mlp_ratio\": 4,\n"
     " \"crop\": 32, \"patch\": 8, \"patch_init_std\": 0.075,\n"
     " \"pred_width\": 64, \"pred_depth\": 2, \"pred_heads\": 4,\n"
     " \"crop_scale\": [0.6, 1.0], \"flip\": true,\n" SMALL_RECIPE
     " \"epochs\": 32, \"warmup_epochs\": 1.6}"},
    {"scenes_64", ENGINE_PRETRAIN, "measured: docs/results/scenes.md",
     "Rendered scenes of 64 pixels, what `make demo` trains in a few CPU minutes.",
     "{\"model\": \"custom\", \"width\": 128, \"depth\": 4, \"heads\": 4, \"mlp_ratio\": 4,\n"
     " \"crop\": 64, \"patch\": 16, \"patch_init_std\": 0.036,\n"
     " \"pred_width\": 64, \"pred_depth\": 2, \"pred_heads\": 4,\n"
     " \"crop_scale\": [0.6, 1.0], \"flip\": true, \"labels\": \"shape\",\n" SMALL_RECIPE
     " \"epochs\": 30, \"warmup_epochs\": 1.5, \"checkpoint_every_s\": 10}"},
    {"scenes_64_eval", ENGINE_LINEAR_PROBE, "measured: docs/results/scenes.md",
     "Linear probe of a scenes_64 run.", "{\"crop\": 64, \"labels\": \"shape\"}"},
    {"scenes_64_eval", ENGINE_KNN, "measured: docs/results/scenes.md", "k-NN of a scenes_64 run.",
     "{\"crop\": 64, \"labels\": \"shape\"}"},
};
const size_t params_preset_count = sizeof params_preset_rows / sizeof params_preset_rows[0];

const struct param_preset *params_preset_find(enum engine_kind kind, const char *name)
{
    for (size_t i = 0; i < params_preset_count; i++)
        if (params_preset_rows[i].kind == kind && strcmp(params_preset_rows[i].name, name) == 0)
            return &params_preset_rows[i];
    return NULL;
}
