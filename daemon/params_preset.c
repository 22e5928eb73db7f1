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
};
const size_t params_preset_count = sizeof params_preset_rows / sizeof params_preset_rows[0];

const struct param_preset *params_preset_find(enum engine_kind kind, const char *name)
{
    for (size_t i = 0; i < params_preset_count; i++)
        if (params_preset_rows[i].kind == kind && strcmp(params_preset_rows[i].name, name) == 0)
            return &params_preset_rows[i];
    return NULL;
}
