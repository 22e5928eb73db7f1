/*
 * Every run parameter: name, place in the spec, range, default, unit and help. See params_table.h.
 * A row's name is what users type; `member` is what engine_check calls it.
 */
#include "daemon/params_table.h"

#include <math.h>
#include <string.h>

#define PRE  PARAM_KIND(ENGINE_PRETRAIN)
#define LIN  PARAM_KIND(ENGINE_LINEAR_PROBE)
#define KNN  PARAM_KIND(ENGINE_KNN)
#define FEA  PARAM_KIND(ENGINE_FEATURES)
#define VIS  PARAM_KIND(ENGINE_VISUALIZE)
#define CLE  PARAM_KIND(ENGINE_CLEVR)
#define LOW  PARAM_KIND(ENGINE_LOW_SHOT)
#define FIN  PARAM_KIND(ENGINE_FINETUNE)
#define SCA  PARAM_KIND(ENGINE_SCAN)
#define BEN  PARAM_KIND(ENGINE_BENCHMARK)
#define STEP (PRE | BEN)              /* a training step */
#define HEAD (LIN | CLE)              /* linear heads */
#define EVAL (HEAD | KNN | LOW)       /* frozen features, judged */
#define TUNE (FIN | LOW)              /* the whole encoder, trained with labels */
#define USE  (EVAL | FEA | VIS | FIN) /* of a checkpoint */
#define ALL  (PRE | USE | BEN)
#define ANY  (ALL | SCA)

#define ROW(key, group_, type_, member_, kinds_, min_, max_, unit_, default_, help_)               \
    {                                                                                              \
        .name = key, .group = group_, .type = PARAM_##type_, .member = #member_,                   \
        .offset = offsetof(struct engine_spec, member_), .kinds = kinds_, .min = min_,             \
        .max = max_, .unit = unit_, .default_text = default_, .help = help_                        \
    }
#define ENUM(key, group_, member_, kinds_, default_, help_, ...)                                   \
    {                                                                                              \
        .name = key, .group = group_, .type = PARAM_ENUM, .member = #member_,                      \
        .offset = offsetof(struct engine_spec, member_), .kinds = kinds_, .unit = "",              \
        .default_text = default_, .help = help_, .names = {                                        \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define TEXT(key, group_, member_, kinds_, default_, help_)                                        \
    {                                                                                              \
        .name = key, .group = group_, .type = PARAM_TEXT, .member = #member_,                      \
        .offset = offsetof(struct engine_spec, member_),                                           \
        .text_size = sizeof(((struct engine_spec *)0)->member_), .kinds = kinds_, .unit = "",      \
        .default_text = default_, .help = help_                                                    \
    }

const struct param_row params_rows[] = {
    /* ---- Data ---- */
    TEXT("dataset", "Data", data.path, ANY, "\"\"",
         "Training images: a folder tree, a .tar or a folder of .tar shards, a folder that "
         "ijepad-worker pack made, or a .txt list of files. Required."),
    TEXT("eval_dataset", "Data", data.eval_path, ANY & ~BEN, "\"\"",
         "Held-out images; empty: the dataset's own test or val folder, else every tenth image."),
    ENUM(
        "labels", "Data", data.labels, ANY & ~CLE & ~BEN, "\"folder\"",
        "Where labels come from: the first folder level, or a CLEVR-format scenes file. What needs "
        "none, as pretraining, takes those of folders where there are some.",
        "none", "folder", "count", "distance", "shape", "color"),
    ROW("limit", "Data", UINT32, data.limit, ANY, 0, 4e9, "images", "0",
        "Use at most this many training images, evenly chosen; 0: all."),
    ROW("eval_limit", "Data", UINT32, data.eval_limit, ANY & ~BEN, 0, 4e9, "images", "0",
        "Use at most this many held-out images; 0: all."),
    ROW("crop", "Data", UINT32, data.crop, ALL, 8, 1024, "pixels", "224",
        "Side of the square image that the encoder sees."),
    ROW("crop_scale", "Data", PAIR, data.crop_scale, STEP, 0.01, 1, "share of area", "[0.3, 1.0]",
        "Random resized crop: range of the crop's area."),
    ROW("crop_ratio", "Data", PAIR, data.crop_ratio, STEP, 0.1, 10, "width / height",
        "[0.75, 1.3333333333333333]", "Random resized crop: range of the aspect ratio."),
    ROW("flip", "Data", BOOL, data.flip, STEP, 0, 1, "", "false",
        "Mirror half of the images. Published runs did not."),
    ROW("mean", "Data", TRIPLE, data.mean, ALL, 0, 1, "of full scale", "[0.485, 0.456, 0.406]",
        "Channel means subtracted after scaling to 0..1."),
    ROW("std", "Data", TRIPLE, data.std, ALL, 0.001, 10, "of full scale", "[0.229, 0.224, 0.225]",
        "Channel deviations divided by."),
    ROW("loader_threads", "Data", UINT32, data.loader_threads, ANY, 0, 256, "threads", "0",
        "Threads that read and decode; 0: chosen from the core count. Results do not depend on "
        "it."),
    ROW("bad_image_limit", "Data", DOUBLE, data.bad_image_limit, ALL, 0, 1, "share", "0.001",
        "A bad image is named and replaced; above this share of the dataset the run stops."),
    ENUM("check", "Data", scan.check, SCA, "\"pixels\"",
         "pixels: decode every image to its last row. headers: read their sizes only, which finds "
         "files that are no images but not damaged ones.",
         "pixels", "headers"),
    /* ---- Model ---- */
    {.name = "model",
     .group = "Model",
     .type = PARAM_MODEL,
     .member = "model",
     .kinds = ALL,
     .unit = "",
     .default_text = "\"vit_small\"",
     .help = "Encoder shape; sets width, depth, heads, mlp_ratio and pred_depth, which may then be "
             "changed one by one. Evaluations take it from their checkpoint."},
    ROW("patch", "Model", UINT32, model.patch, ALL, 1, 128, "pixels", "16", "Side of a patch."),
    ROW("width", "Model", UINT32, model.width, ALL, 4, 8192, "", "384", "Encoder width."),
    ROW("depth", "Model", UINT32, model.depth, ALL, 1, 128, "blocks", "12", "Encoder depth."),
    ROW("heads", "Model", UINT32, model.heads, ALL, 1, 128, "", "6", "Attention heads."),
    ROW("mlp_ratio", "Model", DOUBLE, model.mlp_ratio, ALL, 0.25, 16, "", "4",
        "Hidden width of the MLP over the encoder's width."),
    ROW("pred_width", "Model", UINT32, model.pred_width, ALL, 4, 8192, "", "384",
        "Predictor width."),
    ROW("pred_depth", "Model", UINT32, model.pred_depth, ALL, 1, 128, "blocks", "6",
        "Predictor depth."),
    ROW("pred_heads", "Model", UINT32, model.pred_heads, ALL, 0, 128, "", "0",
        "Predictor heads; 0: as many as the encoder."),
    ROW("init_std", "Model", DOUBLE, model.init_std, ALL, 1e-6, 1, "", "0.02",
        "Deviation of the initial weights."),
    ROW("patch_init_std", "Model", DOUBLE, model.patch_init_std, ALL, 0, 10, "", "0",
        "Deviation of the patch embedding's initial weights; 0: init_std. With small patches 0.02 "
        "leaves the pixels far below the position table, and targets are almost all position: "
        "1/sqrt(3 patch^2) gives both the same size."),
    ROW("init_rescale", "Model", BOOL, model.init_rescale, ALL, 0, 1, "", "false",
        "Divide the output weights of block i by sqrt(2i). Published runs, in effect, did not."),
    ROW("gelu_tanh", "Model", BOOL, model.gelu_tanh, ALL, 0, 1, "", "false",
        "GELU in its tanh form, which a GPU's matrix products take along in bfloat16: faster, up "
        "to "
        "5e-4 from the published function. Results say so; evaluations follow their checkpoint."),
    TEXT(
        "init_from", "Model", init_from, PRE, "\"\"",
        "Begin with the weights of this checkpoint (a run r7, a checkpoint c12, a directory): both "
        "encoders become its target encoder, the optimiser starts afresh. Empty: random."),
    /* ---- Masks ---- */
    ENUM("masking", "Masks", masks.masking, STEP, "\"multi_block\"",
         "How patches are masked. multi_block is I-JEPA's; the others are what the paper compares "
         "it "
         "with (table 6). rasterized: one quadrant predicts the other three. block: one target "
         "block, the rest is context. random: random patches are the target, the rest is context.",
         "multi_block", "rasterized", "block", "random"),
    ROW("masked_share", "Masks", DOUBLE, masks.masked_share, STEP, 0.01, 0.99, "share of patches",
        "0.6", "Masking block and random: the target's share; the paper's is 0.6."),
    ENUM("target_at", "Masks", masks.target_at, STEP, "\"output\"",
         "Where targets are picked (the paper's table 11). output: the target encoder sees the "
         "whole "
         "image. input: it sees one target block's patches at a time, once per block.",
         "output", "input"),
    ENUM(
        "sampler", "Masks", masks.sampler, STEP, "\"published\"",
        "published: as public checkpoints were trained, quirks included. unbiased: every patch can "
        "be drawn, sizes and aspect are independent, truncation does not favour the top.",
        "published", "unbiased"),
    ROW("targets", "Masks", UINT32, masks.targets, STEP, 1, ENGINE_TARGETS_MAX, "blocks", "4",
        "Target blocks per image; multi_block only: rasterized has 3, block and random 1."),
    ROW("target_scale", "Masks", PAIR, masks.target_scale, STEP, 0.001, 1, "share of patches",
        "[0.15, 0.2]", "Area of a target block; multi_block only."),
    ROW("target_aspect", "Masks", PAIR, masks.target_aspect, STEP, 0.1, 10, "height / width",
        "[0.75, 1.5]", "Aspect of a target block; multi_block and block."),
    ROW("context_scale", "Masks", PAIR, masks.context_scale, STEP, 0.001, 1, "share of patches",
        "[0.85, 1.0]",
        "Area of the context block before the targets are cut out; multi_block only."),
    ROW("min_keep", "Masks", UINT32, masks.min_keep, STEP, 0, 4096, "patches", "10",
        "A block must keep more than this many patches."),
    /* ---- Optimiser ---- */
    ROW("batch", "Optimiser", UINT32, optimizer.batch, STEP, 1, 65536, "images", "128",
        "Images per micro-batch and device. Contexts are cut to the smallest of the micro-batch; "
        "with several devices, sampler unbiased: of the micro-batches of all."),
    ROW("accumulate", "Optimiser", UINT32, optimizer.accumulate, PRE, 1, 65536, "micro-batches",
        "1", "Micro-batches per optimiser step; schedules and EMA advance once per step."),
    ROW("epochs", "Optimiser", DOUBLE, optimizer.epochs, PRE, 0.001, 1e6, "epochs", "100",
        "Length of the run."),
    ROW("warmup_epochs", "Optimiser", DOUBLE, optimizer.warmup_epochs, PRE, 0, 1e6, "epochs", "10",
        "Linear rise of the learning rate."),
    ROW("start_lr", "Optimiser", DOUBLE, optimizer.start_lr, PRE, 0, 1, "", "2e-4",
        "Learning rate at the first step."),
    ROW("lr", "Optimiser", DOUBLE, optimizer.lr, PRE, 0, 1, "", "1e-3",
        "Learning rate after the warm-up. Not scaled with the batch."),
    ROW("final_lr", "Optimiser", DOUBLE, optimizer.final_lr, PRE, 0, 1, "", "1e-6",
        "Learning rate at the end of the cosine."),
    ROW("weight_decay", "Optimiser", DOUBLE, optimizer.weight_decay, PRE, 0, 10, "", "0.04",
        "Decoupled weight decay at the start."),
    ROW("final_weight_decay", "Optimiser", DOUBLE, optimizer.final_weight_decay, PRE, 0, 10, "",
        "0.4", "Weight decay at the end of its cosine."),
    ROW("ema_start", "Optimiser", DOUBLE, optimizer.ema_start, PRE, 0, 1, "", "0.996",
        "Momentum of the target encoder at the start."),
    ROW("ema_end", "Optimiser", DOUBLE, optimizer.ema_end, PRE, 0, 1, "", "1.0",
        "Momentum at the end; linear in between."),
    ROW("ipe_scale", "Optimiser", DOUBLE, optimizer.ipe_scale, PRE, 0.1, 100, "", "1.0",
        "Stretches the schedules beyond the run, which then ends early on their curves."),
    ROW("beta1", "Optimiser", DOUBLE, optimizer.beta1, PRE, 0, 0.999999, "", "0.9",
        "AdamW: decay of the first moment."),
    ROW("beta2", "Optimiser", DOUBLE, optimizer.beta2, PRE, 0, 0.99999999, "", "0.999",
        "AdamW: decay of the second moment."),
    ROW("adam_eps", "Optimiser", DOUBLE, optimizer.adam_eps, PRE, 1e-16, 1, "", "1e-8",
        "AdamW: added to the root of the second moment."),
    ROW("clip_grad", "Optimiser", DOUBLE, optimizer.clip_grad, PRE, 0, 1e6, "", "0",
        "Clip the global gradient norm to this; 0: off, as published."),
    ROW("max_steps", "Optimiser", UINT64, optimizer.max_steps, PRE, 0, 1e12, "steps", "0",
        "Stop after this many optimiser steps, schedules unchanged; 0: off."),
    ENUM("loss", "Optimiser", loss, STEP, "\"smooth_l1\"",
         "smooth_l1: as public checkpoints; l2: the paper's formula.", "smooth_l1", "l2"),
    /* ---- Watching ---- */
    ROW("checkpoint_every_s", "Checkpoints", DOUBLE, monitor.checkpoint_every_s, PRE | TUNE, 0, 1e7,
        "seconds", "600", "Save when this much time has passed; 0: off."),
    ROW("checkpoint_every_epochs", "Checkpoints", DOUBLE, monitor.checkpoint_every_epochs,
        PRE | TUNE, 0, 1e6, "epochs", "0",
        "Save at multiples of this; 0: off. The last step always saves."),
    ROW("checkpoint_every_steps", "Checkpoints", UINT64, monitor.checkpoint_every_steps, PRE | TUNE,
        0, 1e12, "steps", "0", "Save at multiples of this; 0: off."),
    ROW("keep_checkpoints", "Checkpoints", UINT32, monitor.keep_checkpoints, PRE | TUNE, 1, 10000,
        "", "3", "How many of the newest checkpoints stay on disk."),
    ROW("eval_every_epochs", "Watching", DOUBLE, monitor.eval_every_epochs, PRE, 0, 1e6, "epochs",
        "1",
        "Check the run's health on fixed held-out images: RankMe, LiDAR, explained variance, "
        "deviations, pair cosine, k-NN; 0: off."),
    ROW("eval_images", "Watching", UINT32, monitor.eval_images, PRE, 16, 100000, "images", "1000",
        "Size of that subset."),
    ROW("replay_every", "Watching", UINT64, monitor.replay_every, PRE, 0, 1e12, "steps", "0",
        "Make one step in so many twice and compare the bits: finds a device or memory that "
        "corrupts data silently. Takes host memory for the model's state; 0: off."),
    ENUM("on_nan", "Watching", guard.on_nan, PRE, "\"stop\"",
         "What follows when the loss is not finite. stop: the run fails. rewind: it goes back to "
         "its "
         "newest checkpoint and leaves out the data since then and skip_steps beyond, as an event "
         "records; twice at most, then it fails.",
         "stop", "rewind"),
    ROW("skip_steps", "Watching", UINT64, guard.skip_steps, PRE, 0, 1e9, "steps", "200",
        "Rewind: the data of so many steps beyond the one that broke is left out too."),
    ROW("spike_factor", "Watching", DOUBLE, guard.spike_factor, PRE, 0, 1e6, "times", "0",
        "A loss above so many times its mean of the last 100 steps counts as not finite; 0: off."),
    /* ---- Evaluation ---- */
    TEXT("checkpoint", "Evaluation", eval.checkpoint, USE, "\"\"",
         "What to evaluate: a run (r7: its newest checkpoint), a checkpoint (c12) or a directory. "
         "Empty: random initialisation only."),
    ROW("eval_crop", "Evaluation", UINT32, eval.crop, HEAD | KNN | FEA, 0, 1024, "pixels", "0",
        "Side of the images that a checkpoint is evaluated at; 0: what it was trained at."),
    ENUM("positions", "Evaluation", eval.positions, HEAD | KNN | FEA, "\"computed\"",
         "Position table at another size. computed: sines of the new grid's rows and columns; "
         "bicubic: the trained grid's table stretched, as in Hugging Face's encoders.",
         "computed", "bicubic"),
    ENUM("encoder", "Evaluation", eval.encoder, EVAL | FEA | FIN, "\"target\"",
         "The target encoder is what the paper evaluates.", "target", "context"),
    ROW("eval_batch", "Evaluation", UINT32, eval.batch, EVAL | FEA, 1, 65536, "images", "256",
        "Images per forward pass and samples per probe step."),
    ENUM("probe_mode", "Linear probe", probe.mode, HEAD, "\"cached\"",
         "cached: every image once through the encoder. augmented: random crop and mirror of every "
         "image in every epoch, as published; costs a pass of the encoder per epoch.",
         "cached", "augmented"),
    ROW("augment_scale", "Linear probe", PAIR, eval.augment_scale, LIN | TUNE, 0.01, 1,
        "share of area", "[0.08, 1.0]", "Random crop of augmented images: range of the area."),
    ENUM("probe_optimizer", "Linear probe", probe.optimizer, HEAD, "\"sgd\"",
         "sgd: Nesterov momentum 0.9. lars: momentum 0.9, trust 0.001 for weight matrices.", "sgd",
         "lars"),
    ROW("probe_epochs", "Linear probe", UINT32, probe.epochs, HEAD, 1, 100000, "epochs", "100",
        "Passes over the training images; of the count task where there are two."),
    ROW("distance_epochs", "Linear probe", UINT32, probe.distance_epochs, CLE, 1, 100000, "epochs",
        "100", "Passes over the training images of the distance task."),
    ROW("probe_lr", "Linear probe", LIST, probe.rates, HEAD, 1e-9, 1e3, "per 256 samples",
        "[0.01, 0.03, 0.1, 0.3]", "Learning rates; heads of each are trained at once."),
    ROW("probe_weight_decay", "Linear probe", LIST, probe.weight_decays, HEAD, 0, 10, "",
        "[0.0005]", "Weight decays; heads of each are trained at once."),
    ENUM("probe_schedule", "Linear probe", probe.schedule, HEAD, "\"cosine\"",
         "cosine: down to probe_final_share. step: a tenth after each of probe_milestones.",
         "cosine", "step"),
    ROW("probe_final_share", "Linear probe", DOUBLE, probe.final_share, HEAD, 0, 1, "share", "0",
        "What is left of the learning rate at the end of the cosine."),
    ROW("probe_milestones", "Linear probe", LIST, probe.milestones, HEAD, 0, 100000, "epochs",
        "[15, 30, 45]", "When the learning rate becomes a tenth of itself."),
    ROW("probe_warmup_epochs", "Linear probe", DOUBLE, probe.warmup_epochs, HEAD, 0, 100000,
        "epochs", "0", "Linear rise of the learning rate from 0."),
    ENUM("probe_selection", "Linear probe", probe.selection, HEAD, "\"set_aside\"",
         "Which head is reported. set_aside: the best on a tenth of the training images, on which "
         "no head is trained. eval: the best on the evaluation split itself, as published figures "
         "are; nothing is set aside.",
         "set_aside", "eval"),
    ENUM("tasks", "Linear probe", probe.tasks, CLE, "\"both\"",
         "Count the objects, tell how near the nearest one is, or both.", "both", "count",
         "distance"),
    ROW("neighbors", "Evaluation", UINT32, eval.neighbors, KNN, 1, 10000, "", "20",
        "k of the k-NN vote."),
    ROW("temperature", "Evaluation", DOUBLE, eval.temperature, KNN, 1e-4, 100, "", "0.07",
        "Votes weigh exp(cosine / temperature)."),
    ROW("random_baseline", "Evaluation", BOOL, eval.random_baseline, EVAL, 0, 1, "", "true",
        "Evaluate the same model at random initialisation too, and report it beside."),
    ROW("repeats", "Evaluation", UINT32, eval.seeds, EVAL, 1, 100, "", "1",
        "Repetitions with other seeds; mean and deviation are reported."),
    ENUM("features", "Evaluation", eval.features, FEA | LOW, "\"pooled\"",
         "pooled: mean over tokens of the final norm's output; concat4: the same of the last four "
         "blocks side by side; patches: every token.",
         "pooled", "concat4", "patches"),
    ENUM("splits", "Evaluation", eval.splits, FEA, "\"both\"", "Of which images.", "both", "train",
         "eval"),
    ENUM("method", "Low-shot", low_shot.method, LOW, "\"logistic\"",
         "logistic: regression on frozen features. finetune: the whole encoder is trained; the "
         "parameters under Fine-tuning apply, and repeats are runs of their own.",
         "logistic", "finetune"),
    ROW("shots", "Low-shot", UINT32, low_shot.shots, LOW, 0, 1e6, "images per class", "0",
        "Training images of each class, drawn by the seed; 0: `fraction` of each."),
    ROW("fraction", "Low-shot", DOUBLE, low_shot.fraction, LOW, 1e-6, 1, "share", "0.01",
        "Share of each class's training images, at least one, drawn by the seed."),
    TEXT("split_list", "Low-shot", low_shot.list, LOW, "\"\"",
         "Text file on the server with the names of the training images to use, one per line (the "
         "published 1 % list of ImageNet, for one). Empty: drawn."),
    ENUM("scaling", "Low-shot", low_shot.scaling, LOW, "\"standardize\"",
         "standardize: every dimension to mean 0 and deviation 1, each split by its own, as "
         "published. standardize_train: both by the training images'. l2_center: every image to "
         "length 1, then the training mean subtracted.",
         "standardize", "standardize_train", "l2_center", "none"),
    ROW("l2", "Low-shot", DOUBLE, low_shot.l2, LOW, 1e-9, 1e6, "", "0.0025",
        "Penalty: l2 / images / 2 times the squared weights, beside the mean cross entropy."),
    ROW("intercept", "Low-shot", BOOL, low_shot.intercept, LOW, 0, 1, "", "false",
        "Give the classes an offset, which is not penalised."),
    ROW("iterations", "Low-shot", UINT32, low_shot.iterations, LOW, 1, 1e6, "", "300",
        "Iterations of L-BFGS at most; the result says whether it converged."),
    /* ---- Fine-tuning ---- */
    ROW("batch", "Fine-tuning", UINT32, finetune.batch, TUNE, 2, 65536, "images", "128",
        "Images per micro-batch; mixup and CutMix mix within it."),
    ROW("accumulate", "Fine-tuning", UINT32, finetune.accumulate, TUNE, 1, 65536, "micro-batches",
        "1", "Micro-batches per optimiser step."),
    ROW("epochs", "Fine-tuning", DOUBLE, finetune.epochs, TUNE, 0.001, 1e6, "epochs", "50",
        "Length of the training."),
    ROW("warmup_epochs", "Fine-tuning", DOUBLE, finetune.warmup_epochs, TUNE, 0, 1e6, "epochs", "5",
        "Linear rise of the learning rate from 0."),
    ROW("lr", "Fine-tuning", DOUBLE, finetune.lr, TUNE, 0, 1, "per 256 images", "1e-4",
        "Peak learning rate of the head; multiplied with the images of a step / 256."),
    ROW("final_lr", "Fine-tuning", DOUBLE, finetune.final_lr, TUNE, 0, 1, "", "1e-6",
        "Learning rate at the end of the cosine."),
    ROW("weight_decay", "Fine-tuning", DOUBLE, finetune.weight_decay, TUNE, 0, 10, "", "0.05",
        "Decoupled weight decay of matrices."),
    ROW("layer_decay", "Fine-tuning", DOUBLE, finetune.layer_decay, TUNE, 0.01, 1, "", "0.75",
        "Learning rate of each layer over that of the next one; 1: all alike."),
    ROW("drop_path", "Fine-tuning", DOUBLE, finetune.drop_path, TUNE, 0, 0.99, "probability", "0.1",
        "Stochastic depth of the last block; rises linearly from 0 at the first."),
    ROW("mixup", "Fine-tuning", DOUBLE, finetune.mixup, TUNE, 0, 100, "alpha", "0.8",
        "Mixup; 0: off. With CutMix a coin decides for each micro-batch."),
    ROW("cutmix", "Fine-tuning", DOUBLE, finetune.cutmix, TUNE, 0, 100, "alpha", "1.0",
        "CutMix; 0: off."),
    ROW("label_smoothing", "Fine-tuning", DOUBLE, finetune.label_smoothing, TUNE, 0, 0.99, "share",
        "0.1", "Share of the target that is spread over all classes."),
    ROW("rand_augment", "Fine-tuning", DOUBLE, finetune.rand_augment, TUNE, 0, 10, "magnitude", "9",
        "RandAugment: two of fifteen operations, each with probability 1/2; 0: off."),
    ROW("random_erase", "Fine-tuning", DOUBLE, finetune.random_erase, TUNE, 0, 1, "probability",
        "0", "Random erasing: a box of 2 % to a third of the image becomes noise; 0: off."),
    ROW("clip_grad", "Fine-tuning", DOUBLE, finetune.clip_grad, TUNE, 0, 1e6, "", "0",
        "Clip the global gradient norm to this; 0: off."),
    ROW("eval_every_epochs", "Fine-tuning", DOUBLE, finetune.eval_every_epochs, TUNE, 0, 1e6,
        "epochs", "1", "Score the held-out images this often; 0: before and after only."),
    ROW("images", "Visualisation", UINT32, eval.images, VIS, 1, 64, "images", "8",
        "Held-out images shown, evenly chosen; one row of a sheet each."),
    ROW("bank", "Visualisation", UINT32, eval.bank, VIS, 1, 4096, "images", "256",
        "Held-out images searched for the nearest neighbours of predicted blocks."),
    ROW("history", "Visualisation", UINT32, eval.history, VIS, 1, 100, "checkpoints", "1",
        "Look at this many checkpoints of the run, evenly chosen up to the one named, with colours "
        "that match from each to the next."),
    TEXT("reference", "Visualisation", eval.reference, VIS, "\"\"",
         "grids.safetensors of another visualisation of the same images: its colours are matched."),
    /* ---- Benchmark ---- */
    ENUM("what", "Benchmark", benchmark.what, BEN, "\"step\"",
         "step: training steps on synthetic images. loader: images of the dataset, read, decoded "
         "and "
         "cut. ops: each operation of a training step.",
         "step", "loader", "ops"),
    ROW("warmup", "Benchmark", UINT32, benchmark.warmup, BEN, 0, 1000, "steps", "1",
        "step: before the clock starts."),
    ROW("steps", "Benchmark", UINT32, benchmark.steps, BEN, 1, 10000, "steps", "5",
        "step: that are timed."),
    ROW("seconds", "Benchmark", DOUBLE, benchmark.seconds, BEN, 0.001, 120, "seconds", "1",
        "loader: how long; ops: each operation."),
    /* ---- Execution ---- */
    ENUM("device", "Execution", device, ALL, "\"auto\"",
         "auto: a GPU where there is one that workers can compute on, else the host. cuda is "
         "refused where there is none.",
         "auto", "host", "cuda"),
    ENUM("precision", "Execution", precision, ALL, "\"float32\"",
         "Type of activations and weights in matrix products; master weights are float32.",
         "float32", "bfloat16"),
    ENUM("target_precision", "Execution", target_precision, PRE, "\"same\"",
         "Of the matrix products in the target encoder's blocks, which no gradient passes. float8: "
         "E4M3 with a scale per token and per output channel, on GPUs of compute capability 8.9 or "
         "newer (the host emulates it, slowly); the embedding, norms and attention stay as they "
         "are. It changes the targets a little: compare loss curves first.",
         "same", "float8"),
    ROW("threads", "Execution", UINT32, threads, ALL, 0, 1024, "threads", "0",
        "Compute threads on the host; 0: all cores. Part of what makes a run repeatable bit by "
        "bit."),
    ROW("seed", "Execution", UINT64, seed, ALL, 0, 9007199254740991.0, "", "0",
        "All randomness of the run is a function of it."),
};
const size_t params_row_count = sizeof params_rows / sizeof params_rows[0];

const struct param_row *params_row_find(enum engine_kind kind, const char *name)
{
    for (size_t i = 0; i < params_row_count; i++)
        if ((params_rows[i].kinds & PARAM_KIND(kind)) && strcmp(params_rows[i].name, name) == 0)
            return &params_rows[i];
    return NULL;
}
