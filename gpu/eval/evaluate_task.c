/* See evaluate_task.h. */
#include "gpu/eval/evaluate_task.h"

#include <string.h>

#include "base/mem.h"
#include "gpu/eval/knn.h"
#include "gpu/eval/probe_augmented.h"

void evaluate_task_done(struct evaluate_task *task, uint32_t seeds)
{
    for (int s = 0; s < EVALUATE_TASK_SUBJECTS; s++) {
        struct evaluate_subject *subject = &task->subjects[s];
        for (uint32_t i = 0; subject->probes && i < seeds; i++)
            probe_result_done(&subject->probes[i]);
        mem_free(subject->probes);
        mem_free(subject->answers);
    }
    for (int i = 0; i < 2; i++)
        dataset_free(task->datasets[i]);
    mem_free(task->eval_labels);
}

void evaluate_task_relabel(const struct evaluate_task *task, enum dataset_split split,
                           struct features *features)
{
    for (size_t i = 0; i < features->count; i++)
        features->labels[i] = dataset_label(task->datasets[split], features->samples[i]);
}

static size_t class_count(const struct evaluate_task *task)
{
    return dataset_class_count(task->datasets[DATASET_TRAIN]);
}

uint64_t evaluate_task_units(const struct evaluate_task *task, const struct engine_spec *spec)
{
    size_t train = dataset_count(task->datasets[DATASET_TRAIN]);
    uint64_t units = probe_progress_units(train, task->epochs);
    if (spec->probe.mode == ENGINE_PROBE_AUGMENTED)
        units = (uint64_t)train * task->epochs;
    return units * spec->eval.seeds;
}

/* ---- Augmented ------------------------------------------------------------------------------- */

/* The training split with only some of its images. */
static enum ij_status open_part(const struct evaluate_task *task, const uint32_t *rows,
                                size_t count, struct dataset **ret_part, struct ij_err *reterr_err)
{
    IJ_TRY(dataset_open(&task->data, DATASET_TRAIN, ret_part, reterr_err));
    return dataset_keep(*ret_part, rows, count, reterr_err);
}

struct augmented {
    struct dataset *trained, *aside;
    struct features aside_features;
    struct probe_augmented *source;
};

static enum ij_status prepare_augmented(struct augmented *a, const struct evaluate_task *task,
                                        struct eval_model *model, const uint32_t *rows,
                                        size_t trained, size_t aside, uint64_t seed,
                                        struct eval_progress *progress, struct ij_err *reterr_err)
{
    const struct engine_eval *e = &model->spec.eval;
    const struct probe_augmented_options options = {
        .data = &task->data,
        .scale = {e->augment_scale[0], e->augment_scale[1]},
        .seed = seed,
        .images = model->batch,
        .width = (int64_t)model->spec.model.width};
    if (aside > 0) {
        IJ_TRY(open_part(task, rows + trained, aside, &a->aside, reterr_err));
        IJ_TRY(eval_model_extract(model, a->aside, true, progress, &a->aside_features, reterr_err));
    }
    IJ_TRY(open_part(task, rows, trained, &a->trained, reterr_err));
    return probe_augmented_new(model->frozen, a->trained, &options, progress, &a->source,
                               reterr_err);
}

static enum ij_status
probe_augmented_once(const struct evaluate_task *task, struct eval_model *model,
                     const struct probe_options *options, const struct features *eval,
                     struct eval_progress *progress, struct probe_result *ret_result,
                     struct ij_err *reterr_err)
{
    const struct dataset *dataset = task->datasets[DATASET_TRAIN];
    size_t count = dataset_count(dataset), trained, aside;
    struct augmented a = {.trained = NULL};
    enum ij_status status;
    mem_auto uint32_t *rows = mem_array(uint32_t, count);
    mem_auto int32_t *labels = mem_array(int32_t, count);
    if (!rows || !labels)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the linear probe");
    for (size_t i = 0; i < count; i++)
        labels[i] = dataset_label(dataset, i);
    IJ_TRY(probe_split(options, labels, count, rows, &trained, &aside, reterr_err));
    IJ_TRY_GOTO(status,
                prepare_augmented(&a, task, model, rows, trained, aside, options->seed, progress,
                                  reterr_err),
                out);
    const struct probe_feed feed = probe_augmented_feed(a.source);
    const struct probe_set set = {&a.aside_features, NULL, a.aside_features.count};
    status =
        probe_run(model->backend, options, &feed, &set, eval, progress, ret_result, reterr_err);
out:
    probe_augmented_free(a.source);
    features_done(&a.aside_features);
    dataset_free(a.trained);
    dataset_free(a.aside);
    return status;
}

/* ---- Both modes, and k-NN -------------------------------------------------------------------- */

enum ij_status evaluate_task_probe(struct evaluate_task *task, int subject,
                                   struct eval_model *model, const struct features *train,
                                   const struct features *eval, struct eval_progress *progress,
                                   struct ij_err *reterr_err)
{
    const struct engine_spec *spec = &model->spec;
    struct evaluate_subject *result = &task->subjects[subject];
    struct probe_options options = {.recipe = &spec->probe,
                                    .classes = class_count(task),
                                    .batch = spec->eval.batch,
                                    .epochs = task->epochs};
    result->probes = mem_array(struct probe_result, spec->eval.seeds);
    if (!result->probes)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %u probes", spec->eval.seeds);
    for (uint32_t s = 0; s < spec->eval.seeds; s++) {
        options.seed = spec->seed + s;
        if (spec->probe.mode == ENGINE_PROBE_AUGMENTED)
            IJ_TRY(probe_augmented_once(task, model, &options, eval, progress, &result->probes[s],
                                        reterr_err));
        else
            IJ_TRY(probe_train(model->backend, &options, train, eval, progress, &result->probes[s],
                               reterr_err));
    }
    result->present = true;
    return IJ_OK;
}

enum ij_status evaluate_task_knn(struct evaluate_task *task, int subject, struct eval_model *model,
                                 const struct features *train, const struct features *eval,
                                 struct ij_err *reterr_err)
{
    const struct engine_eval *e = &model->spec.eval;
    struct evaluate_subject *result = &task->subjects[subject];
    const struct knn_options options = {e->neighbors, e->temperature, class_count(task)};
    const struct knn_set bank = {train->last, train->labels, train->count};
    const struct knn_set query = {eval->last, eval->labels, eval->count};
    size_t right = 0;
    result->answers = mem_array(int32_t, eval->count);
    if (!result->answers)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the answers of k-NN");
    IJ_TRY(knn_classify(model->backend, &options, train->width, &bank, &query, result->answers,
                        reterr_err));
    for (size_t i = 0; i < eval->count; i++)
        right += result->answers[i] == eval->labels[i];
    result->knn_top1 = (double)right / (double)eval->count;
    result->present = true;
    return IJ_OK;
}
