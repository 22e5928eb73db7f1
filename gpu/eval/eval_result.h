/*
 * What every evaluation's JSON has in common, and where it goes.
 *
 * The whole object is written to <run directory>/result.json. The host gets the same object, or,
 * where that would be longer than one message may be, the object without its longest parts, with
 * their names in "omitted".
 */
#ifndef GPU_EVAL_EVAL_RESULT_H
#define GPU_EVAL_EVAL_RESULT_H

#include <jansson.h>

#include "gpu/eval/eval_model.h"

#define EVAL_RESULT_BYTES_MAX 60000 /* what the host is given, at most */

/* {"kind", "checkpoint", "model", "seed", "seeds", "build", "backend", "precision", "threads"}; the
 * caller's reference. checkpoint null: random initialisation only. */
json_t *eval_result_new(const struct eval_model *model, const char *kind, uint32_t seeds);

/* The data of an evaluation: paths, labels, classes, fingerprints, transform, share of the largest
 * class. `eval_labels` may be NULL: no share. */
struct eval_result_split {
    const struct dataset *dataset;
    size_t images;
    uint64_t bad; /* replaced */
};
json_t *eval_result_data(const struct engine_data *data, const struct eval_result_split *train,
                         const struct eval_result_split *eval, const int32_t *eval_labels);

/* {"top1", "top1_error", "top1_std", "top1_by_seed"} of `count` repetitions on `images` images:
 * mean, the standard error that the number of images leaves, and the sample standard deviation over
 * repetitions (null for fewer than two). */
json_t *eval_result_top1(const double *values, size_t count, size_t images);
void eval_result_mean_std(const double *values, size_t count, double *ret_mean, double *ret_std);

json_t *eval_result_number(double value); /* null where it is not finite */
json_t *eval_result_list(const struct engine_list *list);
json_t *eval_result_triple(const double values[3]);

/* Writes the file, tells the sink (may be NULL); takes the reference to `object`. */
IJ_MUST_USE enum ij_status eval_result_publish(json_t *object, const struct engine_spec *spec,
                                               const struct engine_sink *sink, const char *name,
                                               struct ij_err *reterr_err);

#endif
