/* One task of an evaluation: labels, what each set of weights reached on them. Private to
 * gpu/eval. */
#ifndef GPU_EVAL_EVALUATE_TASK_H
#define GPU_EVAL_EVALUATE_TASK_H

#include "gpu/eval/eval_model.h"
#include "gpu/eval/probe.h"

#define EVALUATE_TASK_SUBJECTS 2

/* What one set of weights reached. */
struct evaluate_subject {
    bool present;
    struct probe_result *probes; /* owned; (seeds); NULL for knn */
    int32_t *answers;            /* owned; knn: (evaluation images) */
    double knn_top1;
};

struct evaluate_task {
    const char *name; /* "count", "distance"; NULL: the dataset's own labels */
    struct engine_data data;
    uint32_t epochs;                                          /* of the probe */
    struct dataset *datasets[2];                              /* owned; by enum dataset_split */
    int32_t *eval_labels;                                     /* owned; (eval.images) */
    struct evaluate_subject subjects[EVALUATE_TASK_SUBJECTS]; /* by index of eval_model */
};

void evaluate_task_done(struct evaluate_task *task, uint32_t seeds);

/* Takes the labels of `features`, extracted from another task's dataset of the same images, from
 * this task's. */
void evaluate_task_relabel(const struct evaluate_task *task, enum dataset_split split,
                           struct features *features);

/* Probes with every seed. `train` is empty in augmented mode. */
IJ_MUST_USE enum ij_status
evaluate_task_probe(struct evaluate_task *task, int subject, struct eval_model *model,
                    const struct features *train, const struct features *eval,
                    struct eval_progress *progress, struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status evaluate_task_knn(struct evaluate_task *task, int subject,
                                             struct eval_model *model, const struct features *train,
                                             const struct features *eval,
                                             struct ij_err *reterr_err);
/* Units of progress of the probes of one subject. */
uint64_t evaluate_task_units(const struct evaluate_task *task, const struct engine_spec *spec);

#endif
