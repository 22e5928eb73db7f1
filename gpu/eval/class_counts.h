/*
 * Which class was answered how often for which: accuracy by class and the confusion matrix.
 *
 * The matrix is kept up to CLASS_COUNTS_MATRIX_MAX classes; beyond, only right answers and totals.
 */
#ifndef GPU_EVAL_CLASS_COUNTS_H
#define GPU_EVAL_CLASS_COUNTS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define CLASS_COUNTS_MATRIX_MAX 2048
#define CLASS_COUNTS_INLINE_MAX 64 /* classes of a matrix that is written into the JSON */

struct class_counts {
    size_t classes;
    uint64_t *right, *all; /* owned; (classes) by true class */
    int32_t *matrix;       /* owned; (classes, classes): true, answered; NULL: too many */
};

IJ_MUST_USE enum ij_status class_counts_init(struct class_counts *counts, size_t classes,
                                             struct ij_err *reterr_err);
void class_counts_done(struct class_counts *counts); /* a zeroed struct is fine */

/* Images without a label are left out here (their figures count them as wrong). */
void class_counts_add(struct class_counts *counts, const int32_t *labels, const int32_t *answers,
                      size_t count);

/* Sets in `object`: "per_class" (accuracy by class, null for a class without images),
 * "mean_per_class" and, for few classes, "confusion" (rows: true class, columns: answered). */
void class_counts_describe(const struct class_counts *counts, json_t *object);

/* The matrix as int32 .npy. Does nothing where it was not kept. */
IJ_MUST_USE enum ij_status class_counts_save(const struct class_counts *counts, const char *path,
                                             struct ij_err *reterr_err);

#endif
