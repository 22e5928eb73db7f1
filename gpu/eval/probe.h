/*
 * The linear probe: 16 heads trained at once on cached features, the best one chosen on a part of
 * the training images that none of them is trained on.
 *
 * Heads: {last, concat4} x {BatchNorm + Linear, Linear} x four learning rates (0.1, 0.3, 1 and 3
 * times the base; protocol of I-JEPA's appendix A.2 on cached features without augmentation). Every
 * rate falls by a cosine to zero. A tenth of the images, drawn by (seed, RNG_SUBSET), is set aside;
 * the head with the best top-1 on it is the probe's answer, and its top-1 on the evaluation
 * split is the figure to report. Deterministic.
 */
#ifndef GPU_EVAL_PROBE_H
#define GPU_EVAL_PROBE_H

#include "gpu/eval/eval_progress.h"
#include "gpu/eval/features.h"
#include "gpu/ops/ops.h"

#define PROBE_RATES     4
#define PROBE_GROUPS    4
#define PROBE_HEADS     (PROBE_RATES * PROBE_GROUPS)
#define PROBE_NAME_SIZE 32

struct probe_options {
    size_t classes;
    uint32_t batch, epochs;
    double learning_rate; /* per 256 samples */
    double weight_decay;
    uint64_t seed;
};

struct probe_head {
    double validation_top1, eval_top1;
    double loss; /* mean over the last epoch's batches */
};

struct probe_result {
    struct probe_head heads[PROBE_HEADS];
    size_t trained, validated; /* images */
};

/* "last.bn.lr0.3" */
void probe_head_name(size_t head, char ret_name[PROBE_NAME_SIZE]);
bool probe_head_is_concat(size_t head);
bool probe_head_has_norm(size_t head);
double probe_head_multiplier(size_t head);

/* Both sets have `concat`. Images without a label (-1) are not trained on and count as wrong.
 * IJ_DATA: fewer than two labelled images to train on. Adds about one unit of progress per
 * hundred samples. */
IJ_MUST_USE enum ij_status probe_train(struct backend *backend, const struct probe_options *options,
                                       const struct features *train, const struct features *eval,
                                       struct eval_progress *progress,
                                       struct probe_result *ret_result, struct ij_err *reterr_err);
/* What probe_train adds for `images` training images. */
uint64_t probe_progress_units(size_t images, uint32_t epochs);

#endif
