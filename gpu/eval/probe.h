/*
 * The linear probe: every head of a recipe (probe_heads.h) trained at once, then scored.
 *
 * Two sources of training features, named in the result:
 *   cached      each image once through the encoder, the same features in every epoch
 *   augmented   random crop and flip of every image in every epoch, as published
 * (probe_feed below; probe_augmented.h makes the second.)
 *
 * The head to report is chosen (evaluate_report.h) by images set aside: a tenth of the labelled
 * training images, drawn by (seed, RNG_SUBSET), on which no head is trained. Published figures are
 * the best of all heads on the evaluation split itself; ENGINE_SELECT_EVAL does that, and then
 * nothing is set aside. Deterministic.
 */
#ifndef GPU_EVAL_PROBE_H
#define GPU_EVAL_PROBE_H

#include "gpu/eval/eval_progress.h"
#include "gpu/eval/features.h"
#include "gpu/eval/probe_heads.h"
#include "gpu/ops/ops.h"

/* Where training batches come from. */
struct probe_feed {
    /* Fills `rows` rows of batch `batch` of epoch `epoch`; batches are asked for in order. */
    enum ij_status (*fill)(void *user, uint32_t epoch, uint64_t batch, int64_t rows, float *last,
                           float *concat, int32_t *labels, struct ij_err *reterr_err);
    void *user;
    size_t images;            /* per epoch */
    uint64_t units_per_epoch; /* of progress; 0: the feed counts them itself */
};

struct probe_options {
    const struct engine_probe *recipe;
    size_t classes;
    uint32_t batch, epochs;
    uint64_t seed;
};

struct probe_head {
    double set_aside_top1, eval_top1;
    double loss; /* mean over the last epoch's batches */
};

struct probe_result {
    struct probe_head heads[PROBE_HEADS_MAX];
    size_t trained, set_aside; /* images */
    int32_t *answers;          /* owned; (heads, images of the evaluation split) */
};
void probe_result_done(struct probe_result *result); /* a zeroed struct is fine */

/* The labelled rows of a training split, shuffled; the last *ret_aside are set aside. rows: (count)
 * at least as long as there are labels. IJ_DATA: fewer than two to train on. */
IJ_MUST_USE enum ij_status probe_split(const struct probe_options *options, const int32_t *labels,
                                       size_t count, uint32_t *ret_rows, size_t *ret_trained,
                                       size_t *ret_aside, struct ij_err *reterr_err);

/* Rows of a set of features to score; rows NULL: all `count` in order. */
struct probe_set {
    const struct features *features;
    const uint32_t *rows;
    size_t count;
};

/* Trains on what the feed gives. `aside` may be empty. */
IJ_MUST_USE enum ij_status probe_run(struct backend *backend, const struct probe_options *options,
                                     const struct probe_feed *feed, const struct probe_set *aside,
                                     const struct features *eval, struct eval_progress *progress,
                                     struct probe_result *ret_result, struct ij_err *reterr_err);

/* Cached features. Both sets have `concat`. Images without a label (-1) are not trained on and
 * count as wrong. ret_result is the caller's (probe_result_done). */
IJ_MUST_USE enum ij_status probe_train(struct backend *backend, const struct probe_options *options,
                                       const struct features *train, const struct features *eval,
                                       struct eval_progress *progress,
                                       struct probe_result *ret_result, struct ij_err *reterr_err);
/* Units of progress that probe_train adds for `images` training images. */
uint64_t probe_progress_units(size_t images, uint32_t epochs);

#endif
