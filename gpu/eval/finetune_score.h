/* The evaluation split through a classifier: share of right answers, mean loss, answers by
 * class. */
#ifndef GPU_EVAL_FINETUNE_SCORE_H
#define GPU_EVAL_FINETUNE_SCORE_H

#include "gpu/data/dataset.h"
#include "gpu/eval/class_counts.h"
#include "gpu/train/tuner.h"

struct finetune_score {
    double top1, loss;
    size_t images;
    uint64_t bad;               /* replaced */
    struct class_counts counts; /* owned */
};
void finetune_score_done(struct finetune_score *score); /* a zeroed struct is fine */

/* `batch` images per pass, at most what the tuner takes. Images without a label count as wrong and
 * are left out of the loss. `ready` is asked between batches (may be NULL). */
IJ_MUST_USE enum ij_status
finetune_score_run(struct tuner *tuner, const struct dataset *dataset,
                   const struct engine_data *data, uint32_t batch,
                   enum ij_status (*ready)(void *user, struct ij_err *reterr_err), void *user,
                   struct finetune_score *ret_score, struct ij_err *reterr_err);

#endif
