/*
 * The run kind finetune, and low_shot by fine-tuning: the whole encoder and a linear classifier
 * trained on labelled images, by the recipe of masked autoencoders (He et al., CVPR 2022), which
 * the I-JEPA paper uses for its tables 2 and 15.
 *
 * Random crop (bicubic) and mirror, RandAugment, random erasing, mixup or CutMix of each
 * micro-batch, label smoothing, stochastic depth rising linearly from 0 to `drop_path`, AdamW with
 * layer-wise rates, a linear warm-up from 0 and half a cosine down to `final_lr`. Scenes, whose
 * labels speak of the whole image, are stretched instead of cropped. Low-shot fine-tuning trains on
 * the images that gpu/eval/low_shot_select.h chooses.
 *
 * Checkpoints, resume and the host's commands are those of pretraining: a stopped run goes on from
 * its newest checkpoint, bit for bit. The evaluation split is scored before the first step, every
 * `eval_every_epochs` and at the end. Streams: "train" (loss, lr, grad_norm, images_per_s,
 * data_wait_s), "eval" (top1, loss). The result goes to the sink under the kind's name and to
 * <directory>/result.json.
 */
#ifndef GPU_EVAL_FINETUNE_H
#define GPU_EVAL_FINETUNE_H

#include "gpu/engine.h"
#include "gpu/ops/ops.h"

/* `spec` has passed engine_check. */
IJ_MUST_USE enum ij_status finetune_run(struct backend *backend, const struct engine_spec *spec,
                                        const struct engine_sink *sink, struct ij_err *reterr_err);

/* The learning rate at optimiser step `step`, from 0, before the layers' factors. */
double finetune_rate(const struct engine_finetune *options, uint64_t steps_per_epoch,
                     uint64_t step);
/* Steps of one epoch over `images` images; 0: too few. */
uint64_t finetune_steps_per_epoch(const struct engine_finetune *options, uint64_t images);

#endif
