/* The JSON of a finished fine-tuning. Private to gpu/eval. */
#ifndef GPU_EVAL_FINETUNE_REPORT_H
#define GPU_EVAL_FINETUNE_REPORT_H

#include "gpu/eval/eval_model.h"
#include "gpu/eval/finetune_score.h"

struct finetune_report {
    const struct eval_model *model; /* borrowed; its checkpoint is what training began with */
    const struct dataset *train, *eval;
    const struct finetune_score *score;
    double start_top1, start_loss; /* before the first step */
    uint64_t steps, steps_per_epoch, bad_train;
};

IJ_MUST_USE enum ij_status finetune_report_publish(const struct finetune_report *report,
                                                   const struct engine_sink *sink,
                                                   struct ij_err *reterr_err);

#endif
