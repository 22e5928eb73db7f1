/* See evaluate_report.h. */
#include "gpu/eval/evaluate_report.h"

#include <math.h>
#include <stdio.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/eval/class_counts.h"
#include "gpu/eval/eval_result.h"

static const char *const kind_names[ENGINE_KIND_COUNT] = {
    [ENGINE_LINEAR_PROBE] = "linear_probe", [ENGINE_KNN] = "knn", [ENGINE_CLEVR] = "clevr"};

size_t evaluate_report_best_head(const struct engine_probe *recipe,
                                 const struct probe_result *probes, uint32_t seeds)
{
    size_t best = 0;
    double most = -1;
    for (size_t h = 0; h < probe_heads_count(recipe); h++) {
        double sum = 0;
        for (uint32_t s = 0; s < seeds; s++)
            sum += recipe->selection == ENGINE_SELECT_EVAL ? probes[s].heads[h].eval_top1
                                                           : probes[s].heads[h].set_aside_top1;
        if (sum > most) {
            most = sum;
            best = h;
        }
    }
    return best;
}

/* ---- Parts ----------------------------------------------------------------------------------- */

static json_t *probe_object(const struct evaluate_report *report, const struct evaluate_task *task)
{
    const struct engine_spec *spec = &report->model->spec;
    const struct engine_probe *p = &spec->probe;
    const struct probe_result *first = task->subjects[0].probes;
    bool cosine = p->schedule == ENGINE_PROBE_COSINE, chosen = p->selection == ENGINE_SELECT_EVAL;
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:f, s:f, s:I, s:I, s:o, s:I, s:I, s:s}", "mode",
        p->mode == ENGINE_PROBE_CACHED ? "cached features" : "augmented images", "optimizer",
        p->optimizer == ENGINE_PROBE_LARS ? "lars, momentum 0.9, trust 0.001"
                                          : "sgd, nesterov momentum 0.9",
        "schedule", cosine ? "cosine" : "step, a tenth at each milestone", "learning_rates",
        eval_result_list(&p->rates), "weight_decays", eval_result_list(&p->weight_decays),
        "milestones", eval_result_list(&p->milestones), "final_share", p->final_share,
        "warmup_epochs", p->warmup_epochs, "epochs", (json_int_t)task->epochs, "batch",
        (json_int_t)spec->eval.batch, "augment_scale",
        p->mode == ENGINE_PROBE_CACHED
            ? json_null()
            : json_pack("[f, f]", spec->eval.augment_scale[0], spec->eval.augment_scale[1]),
        "trained_on", (json_int_t)first->trained, "set_aside", (json_int_t)first->set_aside,
        "selection",
        chosen ? "best of all heads on the evaluation split, as published"
               : "best mean top-1 on the training images set aside");
}

static json_t *knn_object(const struct evaluate_report *report, const struct evaluate_task *task)
{
    const struct engine_eval *e = &report->model->spec.eval;
    size_t bank = dataset_count(task->datasets[DATASET_TRAIN]);
    size_t k = e->neighbors < bank ? e->neighbors : bank;
    return json_pack("{s:I, s:f, s:s}", "neighbors", (json_int_t)k, "temperature", e->temperature,
                     "feature", "last");
}

static json_t *head_object(const struct evaluate_report *report, const struct probe_result *probes,
                           size_t head)
{
    const struct engine_probe *recipe = &report->model->spec.probe;
    uint32_t seeds = report->model->spec.eval.seeds;
    char name[PROBE_HEADS_NAME_SIZE];
    double top1[100], loss = 0;
    json_t *aside = json_array();
    IJ_ASSERT(seeds <= COUNT_OF(top1));
    probe_heads_name(recipe, head, name);
    for (uint32_t s = 0; s < seeds; s++) {
        const struct probe_head *h = &probes[s].heads[head];
        top1[s] = h->eval_top1;
        loss += h->loss / seeds;
        json_array_append_new(aside, json_real(h->set_aside_top1));
    }
    json_t *object = eval_result_top1(top1, seeds, report->images_eval);
    json_t *what = json_pack("{s:s, s:s, s:b, s:f, s:f, s:o, s:o}", "name", name, "feature",
                             probe_heads_is_concat(recipe, head) ? "concat4" : "last", "batch_norm",
                             probe_heads_has_norm(recipe, head), "learning_rate",
                             probe_heads_rate(recipe, head), "weight_decay",
                             probe_heads_weight_decay(recipe, head), "set_aside_by_seed", aside,
                             "loss", eval_result_number(loss));
    json_object_update(what, object);
    json_decref(object);
    return what;
}

/* ---- One set of weights ---------------------------------------------------------------------- */

static enum ij_status save_matrix(const struct evaluate_report *report,
                                  const struct evaluate_task *task, bool random,
                                  const struct class_counts *counts, struct ij_err *reterr_err)
{
    const char *directory = report->model->spec.directory;
    if (directory[0] == '\0')
        return IJ_OK;
    mem_auto char *path = mem_printf("%s/confusion%s%s%s.npy", directory, task->name ? "." : "",
                                     task->name ? task->name : "", random ? ".random" : "");
    if (!path)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to save a confusion matrix");
    IJ_TRY(file_make_dirs(directory, 0755, reterr_err));
    return class_counts_save(counts, path, reterr_err);
}

/* Adds accuracy by class and confusion of the answers to report, over all repetitions. */
static enum ij_status describe_classes(const struct evaluate_report *report,
                                       const struct evaluate_task *task, int index, size_t head,
                                       json_t *object, struct ij_err *reterr_err)
{
    const struct evaluate_subject *subject = &task->subjects[index];
    uint32_t answers = subject->probes ? report->model->spec.eval.seeds : 1;
    struct class_counts counts;
    IJ_TRY(
        class_counts_init(&counts, dataset_class_count(task->datasets[DATASET_TRAIN]), reterr_err));
    for (uint32_t s = 0; s < answers; s++)
        class_counts_add(&counts, task->eval_labels,
                         subject->probes ? subject->probes[s].answers + head * report->images_eval
                                         : subject->answers,
                         report->images_eval);
    class_counts_describe(&counts, object);
    enum ij_status status =
        save_matrix(report, task, eval_model_is_random(report->model, index), &counts, reterr_err);
    class_counts_done(&counts);
    return status;
}

static json_t *probe_subject(const struct evaluate_report *report,
                             const struct evaluate_subject *subject, size_t best)
{
    json_t *heads = json_array();
    size_t count = probe_heads_count(&report->model->spec.probe);
    for (size_t h = 0; h < count; h++)
        json_array_append_new(heads, head_object(report, subject->probes, h));
    const json_t *head = json_array_get(heads, best);
    return json_pack("{s:O, s:O, s:O, s:O, s:O, s:o}", "top1", json_object_get(head, "top1"),
                     "top1_error", json_object_get(head, "top1_error"), "top1_std",
                     json_object_get(head, "top1_std"), "top1_by_seed",
                     json_object_get(head, "top1_by_seed"), "best_head",
                     json_object_get(head, "name"), "heads", heads);
}

static enum ij_status subject_object(const struct evaluate_report *report,
                                     const struct evaluate_task *task, int index,
                                     json_t **ret_object, struct ij_err *reterr_err)
{
    const struct evaluate_subject *subject = &task->subjects[index];
    const struct engine_spec *spec = &report->model->spec;
    size_t best = 0;
    if (subject->probes) {
        best = evaluate_report_best_head(&spec->probe, subject->probes, spec->eval.seeds);
        *ret_object = probe_subject(report, subject, best);
    } else {
        *ret_object = eval_result_top1(&subject->knn_top1, 1, report->images_eval);
    }
    return describe_classes(report, task, index, best, *ret_object, reterr_err);
}

/* ---- The whole ------------------------------------------------------------------------------- */

/* Sets "top1", "trained", "random", "data" and the recipe in `object`. */
static enum ij_status describe_task(const struct evaluate_report *report,
                                    const struct evaluate_task *task, json_t *object,
                                    struct ij_err *reterr_err)
{
    bool knn = report->model->spec.kind == ENGINE_KNN;
    const struct dataset *splits[] = {task->datasets[DATASET_TRAIN], task->datasets[DATASET_EVAL]};
    const struct eval_result_split train = {splits[0], dataset_count(splits[0]), report->bad_train};
    const struct eval_result_split eval = {splits[1], report->images_eval, report->bad_eval};
    json_object_set_new(object, "trained", json_null());
    json_object_set_new(object, "random", json_null());
    for (int s = EVALUATE_TASK_SUBJECTS - 1; s >= 0; s--) {
        json_t *subject = NULL;
        if (!task->subjects[s].present)
            continue;
        enum ij_status status = subject_object(report, task, s, &subject, reterr_err);
        json_object_set(object, "top1", json_object_get(subject, "top1"));
        json_object_set_new(object, eval_model_is_random(report->model, s) ? "random" : "trained",
                            subject);
        IJ_TRY(status);
    }
    json_object_set_new(object, "data",
                        eval_result_data(&task->data, &train, &eval, task->eval_labels));
    json_object_set_new(object, knn ? "knn" : "probe",
                        knn ? knn_object(report, task) : probe_object(report, task));
    return IJ_OK;
}

/* The tasks of kind clevr; "top1" is their mean. */
static enum ij_status describe_tasks(const struct evaluate_report *report, json_t *object,
                                     struct ij_err *reterr_err)
{
    json_t *tasks = json_object();
    double sum = 0;
    json_object_set_new(object, "tasks", tasks);
    for (size_t t = 0; t < report->task_count; t++) {
        json_t *task = json_object();
        json_object_set_new(tasks, report->tasks[t].name, task);
        IJ_TRY(describe_task(report, &report->tasks[t], task, reterr_err));
        sum += json_number_value(json_object_get(task, "top1"));
    }
    json_object_set_new(object, "top1", json_real(sum / (double)report->task_count));
    return IJ_OK;
}

enum ij_status evaluate_report_publish(const struct evaluate_report *report,
                                       const struct engine_sink *sink, struct ij_err *reterr_err)
{
    const struct engine_spec *spec = &report->model->spec;
    const char *kind = kind_names[spec->kind];
    json_t *object =
        eval_result_new(report->model, kind, spec->kind == ENGINE_KNN ? 1 : spec->eval.seeds);
    enum ij_status status = spec->kind == ENGINE_CLEVR
                                ? describe_tasks(report, object, reterr_err)
                                : describe_task(report, &report->tasks[0], object, reterr_err);
    if (status != IJ_OK) {
        json_decref(object);
        return status;
    }
    return eval_result_publish(object, spec, sink, kind, reterr_err);
}
