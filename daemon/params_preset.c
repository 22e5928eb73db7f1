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

/* Linear evaluation as published: crops of 8 % of the area and more, the best head counts. */
#define PUBLISHED_PROBE "\"augment_scale\": [0.08, 1.0], \"probe_selection\": \"eval\""
/* The SGD recipe that most published configurations share. */
#define PROBE_SGD                                                                                  \
    "\"probe_mode\": \"augmented\", \"probe_optimizer\": \"sgd\", \"eval_batch\": 256,\n"          \
    " \"probe_lr\": [0.01], \"probe_weight_decay\": [0.0005], \"probe_schedule\": \"step\",\n"     \
    " " PUBLISHED_PROBE

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
    {"in1k_linear_lars", ENGINE_LINEAR_PROBE,
     "Assran et al., appendix A.2, and the published configuration of the H models; learning rates "
     "and decays are the union of both",
     "ImageNet-1k, ViT-H: 50 epochs of augmented images, LARS, batch 16384. Published: 79.3 for "
     "H/14, 81.1 for H/16 at 448 pixels.",
     "{\"probe_mode\": \"augmented\", \"probe_optimizer\": \"lars\", \"eval_batch\": 16384,\n"
     " \"probe_epochs\": 50, \"probe_lr\": [0.1, 0.05, 0.01, 0.001], "
     "\"probe_weight_decay\": [0.0005, 0],\n"
     " \"probe_schedule\": \"step\", \"probe_milestones\": [15, 30, 45],\n"
     " " PUBLISHED_PROBE "}"},
    {"in1k_linear_sgd", ENGINE_LINEAR_PROBE,
     "published configuration of the B/16, L/16 and g/16 models; Assran et al., table 1: 72.9 for "
     "B/16, 77.5 for L/16",
     "ImageNet-1k, ViT-B, L and g: 28 epochs of augmented images, SGD, batch 256.",
     "{" PROBE_SGD ",\n \"probe_epochs\": 28, \"probe_milestones\": [8, 16, 24]}"},
    {"cifar100_linear", ENGINE_LINEAR_PROBE,
     "published configuration; Assran et al., table 3: 87.5 for H/14",
     "CIFAR-100: images enlarged to the model's crop, 28 epochs, SGD.",
     "{" PROBE_SGD ",\n \"probe_epochs\": 28, \"probe_milestones\": [8, 16, 24]}"},
    {"cifar10_linear", ENGINE_LINEAR_PROBE,
     "the published CIFAR-100 recipe; no figure of I-JEPA is published for CIFAR-10",
     "CIFAR-10: images enlarged to the model's crop, 28 epochs, SGD.",
     "{" PROBE_SGD ",\n \"probe_epochs\": 28, \"probe_milestones\": [8, 16, 24]}"},
    {"places205_linear", ENGINE_LINEAR_PROBE,
     "published configuration; Assran et al., table 3: 58.4 for H/14",
     "Places205: 14 epochs of augmented images, SGD.",
     "{" PROBE_SGD ",\n \"probe_epochs\": 14, \"probe_milestones\": [4, 8, 12]}"},
    {"inat18_linear", ENGINE_LINEAR_PROBE,
     "published configuration; Assran et al., table 3: 47.6 for H/14",
     "iNaturalist 2018: 84 epochs of augmented images, SGD.",
     "{" PROBE_SGD ",\n \"probe_epochs\": 84, \"probe_milestones\": [24, 48, 72]}"},
    {"folder_linear", ENGINE_LINEAR_PROBE, "the published heads on cached features",
     "Any labelled folder, in minutes: every image once through the encoder, 100 epochs on the "
     "features, the head chosen on training images set aside, three seeds.",
     "{\"probe_mode\": \"cached\", \"probe_epochs\": 100, \"probe_lr\": [0.01, 0.03, 0.1, 0.3],\n"
     " \"probe_weight_decay\": [0.0005, 0], \"repeats\": 3}"},
    {"in1k_1percent", ENGINE_LOW_SHOT,
     "Assran et al., tables 6 to 12: 1 % of ImageNet, frozen features (54.2 for B/16, 300 epochs)",
     "13 images per class of ImageNet-1k, logistic regression; give `split_list` for the published "
     "images.",
     "{\"shots\": 13, \"features\": \"pooled\", \"scaling\": \"standardize\", \"l2\": 0.0025,\n"
     " \"intercept\": false}"},
    {"in1k_1percent_finetune", ENGINE_LOW_SHOT,
     "Assran et al., table 2 (69.4 for L/16, 73.3 for H/14, 77.3 for H/16 at 448 pixels), without "
     "mixup, CutMix, erasing and stochastic depth; values for L/16, H models take weight_decay 0.4",
     "1 % of ImageNet-1k: the whole encoder trained for 50 epochs, batch 512; give `split_list` "
     "for "
     "the published images.",
     "{\"method\": \"finetune\", \"shots\": 13, \"batch\": 128, \"accumulate\": 4, \"epochs\": "
     "50,\n"
     " \"warmup_epochs\": 5, \"lr\": 3e-5, \"weight_decay\": 0.05, \"layer_decay\": 0.75,\n"
     " \"label_smoothing\": 0.1, \"rand_augment\": 9, \"mixup\": 0, \"cutmix\": 0, \"drop_path\": "
     "0}"},
    {"in1k_finetune", ENGINE_FINETUNE,
     "Assran et al., table 15: 87.1 for H/16 at 448 pixels; random erasing is what the fine-tuning "
     "of masked autoencoders has, which the paper follows",
     "ImageNet-1k, all labels: 50 epochs, batch 528.",
     "{\"batch\": 66, \"accumulate\": 8, \"epochs\": 50, \"warmup_epochs\": 5, \"lr\": 1e-4,\n"
     " \"weight_decay\": 0.04, \"layer_decay\": 0.75, \"drop_path\": 0.25, \"mixup\": 0.8,\n"
     " \"cutmix\": 1.0, \"label_smoothing\": 0.1, \"rand_augment\": 9, \"random_erase\": 0.25}"},
    {"clevr_published", ENGINE_CLEVR,
     "published configuration; Assran et al., table 4: count 86.7, distance 72.4 for H/14",
     "CLEVR: stretched and mirrored images, SGD, cosine to a hundredth, 50 epochs for the count "
     "and "
     "100 for the distance.",
     "{\"probe_mode\": \"augmented\", \"probe_optimizer\": \"sgd\", \"eval_batch\": 256,\n"
     " \"probe_epochs\": 50, \"distance_epochs\": 100, \"probe_lr\": [0.01], "
     "\"probe_weight_decay\": [0.0005],\n"
     " \"probe_schedule\": \"cosine\", \"probe_final_share\": 0.01, \"probe_selection\": "
     "\"eval\"}"},
    {"scenes_64_eval", ENGINE_CLEVR, "measured: docs/results/scenes.md",
     "Count and distance of a scenes_64 run.", "{\"crop\": 64}"},
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
