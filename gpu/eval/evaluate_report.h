/* The JSON of a finished evaluation. Private to gpu/eval. */
#ifndef GPU_EVAL_EVALUATE_REPORT_H
#define GPU_EVAL_EVALUATE_REPORT_H

#include "gpu/checkpoint/checkpoint.h"
#include "gpu/data/dataset.h"
#include "gpu/engine.h"
#include "gpu/eval/probe.h"
#include "gpu/ops/ops.h"

/* What one set of weights reached. */
struct evaluate_subject {
    struct probe_result *probes; /* (spec->eval.seeds); NULL for knn */
    double knn_top1;
    bool present;
};

/* Everything that the report tells; borrowed. */
struct evaluate_report {
    const struct engine_spec *spec; /* with the model of the checkpoint */
    const struct backend *backend;
    const struct checkpoint *checkpoint; /* NULL: random initialisation only */
    const struct dataset *train, *eval;
    size_t images_train, images_eval;
    uint64_t bad_train, bad_eval;
    const int32_t *eval_labels; /* (images_eval) */
    struct evaluate_subject trained, random;
};

/* The head with the best mean top-1 on the images set aside, over all repetitions; ties go to the
 * first. */
size_t evaluate_report_best_head(const struct probe_result *probes, uint32_t seeds);
/* Mean and sample standard deviation; the latter is NaN for fewer than two values. */
void evaluate_report_mean_std(const double *values, size_t count, double *ret_mean,
                              double *ret_std);

/* *ret_json is the caller's (mem_free). */
IJ_MUST_USE enum ij_status evaluate_report_write(const struct evaluate_report *report,
                                                 char **ret_json, struct ij_err *reterr_err);

#endif
