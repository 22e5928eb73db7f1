/* The model that an evaluation looks at: a checkpoint's, or the spec's at random weights. */
#ifndef GPU_EVAL_EVAL_MODEL_H
#define GPU_EVAL_EVAL_MODEL_H

#include "gpu/checkpoint/checkpoint.h"
#include "gpu/data/dataset.h"
#include "gpu/data/loader.h"
#include "gpu/eval/features.h"
#include "gpu/model/frozen.h"

#define EVAL_MODEL_BATCH_MAX 128 /* images per forward pass: more gains nothing, takes memory */

struct eval_model {
    struct engine_spec spec;       /* with the checkpoint's model, crop and normalisation */
    struct backend *backend;       /* borrowed */
    struct checkpoint *checkpoint; /* owned; NULL: random weights only */
    struct frozen *frozen;         /* owned; its weights are set by the next two */
    int64_t batch;                 /* images per pass */
};

/* A run's directory stands for its newest valid checkpoint. The encoder is not allocated yet. */
IJ_MUST_USE enum ij_status eval_model_open(struct eval_model *model, struct backend *backend,
                                           const struct engine_spec *spec,
                                           struct ij_err *reterr_err);
/* After the datasets have been found good. */
IJ_MUST_USE enum ij_status eval_model_allocate(struct eval_model *model, struct ij_err *reterr_err);
void eval_model_done(struct eval_model *model); /* a zeroed struct is fine */

/* How many sets of weights are looked at (1 or 2), and the i-th: the checkpoint's first, then the
 * random baseline where it is wanted or where there is no checkpoint. */
int eval_model_subjects(const struct eval_model *model);
bool eval_model_is_random(const struct eval_model *model, int subject);
IJ_MUST_USE enum ij_status eval_model_set(struct eval_model *model, int subject,
                                          struct ij_err *reterr_err);

/* Opens both splits, which must have the same two or more classes. */
IJ_MUST_USE enum ij_status eval_model_open_data(const struct engine_data *data,
                                                struct dataset *ret_datasets[2],
                                                struct ij_err *reterr_err);
/* All images of a dataset through the encoder; *features is freed first. */
IJ_MUST_USE enum ij_status eval_model_extract(struct eval_model *model,
                                              const struct dataset *dataset, bool want_concat,
                                              struct eval_progress *progress,
                                              struct features *features, struct ij_err *reterr_err);

#endif
