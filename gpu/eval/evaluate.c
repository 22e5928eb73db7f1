/*
 * See evaluate.h.
 *
 * Order of work: checkpoint (its model wins over the spec's), both splits of every task, then for
 * each subject (the checkpoint's encoder, the random one) features and classifiers. One set of
 * features is in memory at a time; tasks on the same images share it.
 */
#include "gpu/eval/evaluate.h"

#include <string.h>

#include "base/mem.h"
#include "gpu/eval/evaluate_report.h"

struct evaluation {
    struct eval_model model;
    const struct engine_sink *sink;
    struct eval_progress progress;
    struct features train, eval;
    struct evaluate_report report;
};

/* ---- Set-up ---------------------------------------------------------------------------------- */

static void add_task(struct evaluation *e, const char *name, enum engine_labels labels,
                     uint32_t epochs)
{
    struct evaluate_task *task = &e->report.tasks[e->report.task_count++];
    *task = (struct evaluate_task){.name = name, .data = e->model.spec.data, .epochs = epochs};
    task->data.labels = labels;
}

static enum ij_status open_tasks(struct evaluation *e, struct ij_err *reterr_err)
{
    const struct engine_spec *spec = &e->model.spec;
    const struct engine_probe *probe = &spec->probe;
    if (spec->kind != ENGINE_CLEVR)
        add_task(e, NULL, spec->data.labels, probe->epochs);
    if (spec->kind == ENGINE_CLEVR && probe->tasks != ENGINE_CLEVR_DISTANCE)
        add_task(e, "count", ENGINE_LABELS_COUNT, probe->epochs);
    if (spec->kind == ENGINE_CLEVR && probe->tasks != ENGINE_CLEVR_COUNT)
        add_task(e, "distance", ENGINE_LABELS_DISTANCE, probe->distance_epochs);
    for (size_t t = 0; t < e->report.task_count; t++)
        IJ_TRY(eval_model_open_data(&e->report.tasks[t].data, e->report.tasks[t].datasets,
                                    reterr_err));
    return IJ_OK;
}

static bool needs_training_features(const struct engine_spec *spec)
{
    return spec->kind == ENGINE_KNN || spec->probe.mode == ENGINE_PROBE_CACHED;
}

static uint64_t planned_units(const struct evaluation *e)
{
    struct dataset *const *datasets = e->report.tasks[0].datasets;
    uint64_t units = dataset_count(datasets[DATASET_EVAL]);
    if (needs_training_features(&e->model.spec))
        units += dataset_count(datasets[DATASET_TRAIN]);
    for (size_t t = 0; e->model.spec.kind != ENGINE_KNN && t < e->report.task_count; t++)
        units += evaluate_task_units(&e->report.tasks[t], &e->model.spec);
    return units * (uint64_t)eval_model_subjects(&e->model);
}

/* ---- Work ------------------------------------------------------------------------------------ */

static enum ij_status keep_labels(struct evaluation *e, struct evaluate_task *task,
                                  struct ij_err *reterr_err)
{
    if (!task->eval_labels)
        task->eval_labels = mem_array(int32_t, e->eval.count);
    if (!task->eval_labels)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu labels", e->eval.count);
    memcpy(task->eval_labels, e->eval.labels, e->eval.count * sizeof *task->eval_labels);
    return IJ_OK;
}

static enum ij_status run_task(struct evaluation *e, struct evaluate_task *task, int subject,
                               struct ij_err *reterr_err)
{
    evaluate_task_relabel(task, DATASET_TRAIN, &e->train);
    evaluate_task_relabel(task, DATASET_EVAL, &e->eval);
    IJ_TRY(keep_labels(e, task, reterr_err));
    if (e->model.spec.kind == ENGINE_KNN)
        return evaluate_task_knn(task, subject, &e->model, &e->train, &e->eval, reterr_err);
    return evaluate_task_probe(task, subject, &e->model, &e->train, &e->eval, &e->progress,
                               reterr_err);
}

static enum ij_status run_subject(struct evaluation *e, int subject, struct ij_err *reterr_err)
{
    struct dataset *const *datasets = e->report.tasks[0].datasets;
    bool concat = e->model.spec.kind != ENGINE_KNN;
    IJ_TRY(eval_model_set(&e->model, subject, reterr_err));
    if (needs_training_features(&e->model.spec))
        IJ_TRY(eval_model_extract(&e->model, datasets[DATASET_TRAIN], concat, &e->progress,
                                  &e->train, reterr_err));
    IJ_TRY(eval_model_extract(&e->model, datasets[DATASET_EVAL], concat, &e->progress, &e->eval,
                              reterr_err));
    for (size_t t = 0; t < e->report.task_count; t++)
        IJ_TRY(run_task(e, &e->report.tasks[t], subject, reterr_err));
    return IJ_OK;
}

static enum ij_status run(struct evaluation *e, struct backend *backend,
                          const struct engine_spec *spec, struct ij_err *reterr_err)
{
    IJ_TRY(eval_model_open(&e->model, backend, spec, reterr_err));
    IJ_TRY(open_tasks(e, reterr_err));
    IJ_TRY(eval_model_allocate(&e->model, reterr_err));
    eval_progress_init(&e->progress, e->sink, planned_units(e));
    for (int s = 0; s < eval_model_subjects(&e->model); s++)
        IJ_TRY(run_subject(e, s, reterr_err));
    e->report.model = &e->model;
    e->report.images_eval = e->eval.count;
    e->report.bad_train = e->train.bad;
    e->report.bad_eval = e->eval.bad;
    return evaluate_report_publish(&e->report, e->sink, reterr_err);
}

enum ij_status evaluate_run(struct backend *backend, const struct engine_spec *spec,
                            const struct engine_sink *sink, struct ij_err *reterr_err)
{
    IJ_ASSERT(spec->kind == ENGINE_LINEAR_PROBE || spec->kind == ENGINE_KNN ||
              spec->kind == ENGINE_CLEVR);
    struct evaluation *e = mem_new(struct evaluation);
    if (!e)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an evaluation");
    e->sink = sink;
    enum ij_status status = run(e, backend, spec, reterr_err);
    for (size_t t = 0; t < e->report.task_count; t++)
        evaluate_task_done(&e->report.tasks[t], spec->eval.seeds);
    features_done(&e->train);
    features_done(&e->eval);
    eval_model_done(&e->model);
    mem_free(e);
    return status;
}
