/* The JSON of a finished evaluation of frozen features. Private to gpu/eval. */
#ifndef GPU_EVAL_EVALUATE_REPORT_H
#define GPU_EVAL_EVALUATE_REPORT_H

#include "gpu/eval/evaluate_task.h"

#define EVALUATE_REPORT_TASKS_MAX 2

/* Everything that the report tells. */
struct evaluate_report {
    const struct eval_model *model; /* borrowed */
    struct evaluate_task tasks[EVALUATE_REPORT_TASKS_MAX];
    size_t task_count, images_eval;
    uint64_t bad_train, bad_eval;
};

/* The head with the best mean top-1 over all repetitions, on the images set aside or, where the
 * recipe says so, on the evaluation split; ties go to the first. */
size_t evaluate_report_best_head(const struct engine_probe *recipe,
                                 const struct probe_result *probes, uint32_t seeds);

/* To result.json, the matrices and the sink (may be NULL). */
IJ_MUST_USE enum ij_status evaluate_report_publish(const struct evaluate_report *report,
                                                   const struct engine_sink *sink,
                                                   struct ij_err *reterr_err);

#endif
