/* See evaluate_report.h. */
#include "gpu/eval/evaluate_report.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "base/build.h"
#include "base/mem.h"

/* ---- Figures --------------------------------------------------------------------------------- */

size_t evaluate_report_best_head(const struct probe_result *probes, uint32_t seeds)
{
    size_t best = 0;
    double most = -1;
    for (size_t h = 0; h < PROBE_HEADS; h++) {
        double sum = 0;
        for (uint32_t s = 0; s < seeds; s++)
            sum += probes[s].heads[h].validation_top1;
        if (sum > most) {
            most = sum;
            best = h;
        }
    }
    return best;
}

void evaluate_report_mean_std(const double *values, size_t count, double *ret_mean, double *ret_std)
{
    double mean = 0, square = 0;
    for (size_t i = 0; i < count; i++)
        mean += values[i] / (double)count;
    for (size_t i = 0; i < count; i++)
        square += (values[i] - mean) * (values[i] - mean);
    *ret_mean = mean;
    *ret_std = count > 1 ? sqrt(square / (double)(count - 1)) : (double)NAN;
}

/* Share of the evaluation images in the largest class: what always answering it would reach. */
static double majority_share(const struct evaluate_report *report)
{
    size_t classes = dataset_class_count(report->eval), most = 0;
    mem_auto size_t *counts = mem_array(size_t, classes);
    for (size_t i = 0; counts && i < report->images_eval; i++) {
        int32_t label = report->eval_labels[i];
        if (label >= 0 && (size_t)label < classes && ++counts[label] > most)
            most = counts[label];
    }
    return (double)most / (double)report->images_eval;
}

/* ---- Parts ----------------------------------------------------------------------------------- */

static json_t *number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *triple(const double values[3])
{
    return json_pack("[f, f, f]", values[0], values[1], values[2]);
}

static json_t *checkpoint_object(const struct checkpoint *checkpoint)
{
    if (!checkpoint)
        return json_null();
    const struct checkpoint_info *info = checkpoint_get_info(checkpoint);
    const struct checkpoint_state *state = checkpoint_get_state(checkpoint);
    return json_pack("{s:s, s:s, s:I, s:f, s:s, s:s}", "path", info->path, "sha256", info->hash,
                     "step", (json_int_t)info->step, "epochs", info->epochs_done, "build",
                     state->build, "data", state->data);
}

static json_t *model_object(const struct engine_spec *spec)
{
    const struct engine_model *m = &spec->model;
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:s}", "patch", (json_int_t)m->patch, "width",
                     (json_int_t)m->width, "depth", (json_int_t)m->depth, "heads",
                     (json_int_t)m->heads, "mlp_ratio", m->mlp_ratio, "encoder",
                     spec->eval.encoder == ENGINE_ENCODER_TARGET ? "target" : "context");
}

static json_t *split_object(const struct dataset *dataset, size_t images, uint64_t bad)
{
    return json_pack("{s:I, s:I, s:s}", "images", (json_int_t)images, "replaced", (json_int_t)bad,
                     "fingerprint", dataset_fingerprint(dataset));
}

static json_t *data_object(const struct evaluate_report *report)
{
    static const char *const labels[] = {"none", "folder", "count", "distance", "shape", "color"};
    const struct engine_data *d = &report->spec->data;
    json_t *classes = json_array();
    for (size_t c = 0; c < dataset_class_count(report->train); c++)
        json_array_append_new(classes, json_string(dataset_class_name(report->train, c)));
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:I, s:s, s:o, s:o, s:f}", "path", d->path,
                     "eval_path", d->eval_path, "labels", labels[d->labels], "classes", classes,
                     "train", split_object(report->train, report->images_train, report->bad_train),
                     "eval", split_object(report->eval, report->images_eval, report->bad_eval),
                     "crop", (json_int_t)d->crop, "transform",
                     dataset_is_scene(report->train) ? "stretch" : "center_crop", "mean",
                     triple(d->mean), "std", triple(d->std), "majority", majority_share(report));
}

static json_t *probe_object(const struct evaluate_report *report)
{
    const struct engine_eval *e = &report->spec->eval;
    const struct probe_result *first =
        report->trained.present ? report->trained.probes : report->random.probes;
    return json_pack("{s:s, s:s, s:f, s:f, s:I, s:I, s:I, s:I, s:s}", "optimizer",
                     "sgd, nesterov momentum 0.9", "schedule", "cosine to 0", "learning_rate",
                     e->learning_rate, "weight_decay", e->weight_decay, "epochs",
                     (json_int_t)e->epochs, "batch", (json_int_t)e->batch, "trained_on",
                     (json_int_t)first->trained, "set_aside", (json_int_t)first->validated,
                     "selection", "best mean top-1 on the training images set aside");
}

static json_t *knn_object(const struct evaluate_report *report)
{
    const struct engine_eval *e = &report->spec->eval;
    size_t k = e->neighbors < report->images_train ? e->neighbors : report->images_train;
    return json_pack("{s:I, s:f, s:s}", "neighbors", (json_int_t)k, "temperature", e->temperature,
                     "feature", "last");
}

static json_t *head_object(const struct probe_result *probes, uint32_t seeds, size_t head)
{
    char name[PROBE_NAME_SIZE];
    double mean, std, loss = 0;
    mem_auto double *values = mem_array(double, seeds);
    json_t *top1 = json_array(), *validation = json_array();
    probe_head_name(head, name);
    for (uint32_t s = 0; values && s < seeds; s++) {
        const struct probe_head *h = &probes[s].heads[head];
        values[s] = h->eval_top1;
        loss += h->loss / seeds;
        json_array_append_new(top1, json_real(h->eval_top1));
        json_array_append_new(validation, json_real(h->validation_top1));
    }
    evaluate_report_mean_std(values, values ? seeds : 0, &mean, &std);
    return json_pack("{s:s, s:s, s:b, s:f, s:o, s:o, s:o, s:o, s:o}", "name", name, "feature",
                     probe_head_is_concat(head) ? "concat4" : "last", "batch_norm",
                     probe_head_has_norm(head), "multiplier", probe_head_multiplier(head), "top1",
                     number(mean), "top1_std", number(std), "top1_by_seed", top1,
                     "set_aside_by_seed", validation, "loss", number(loss));
}

/* What chance alone puts into a share of `images` right answers. */
static double standard_error(double share, size_t images)
{
    return sqrt(share * (1 - share) / (double)images);
}

/* {"top1", "top1_error", "top1_std", "best_head", "heads"} of a probe, {"top1", "top1_error"} of
 * k-NN; null where absent. top1_error is the standard error that the number of evaluation images
 * leaves, top1_std the deviation over repetitions. */
static json_t *subject_object(const struct evaluate_report *report,
                              const struct evaluate_subject *subject)
{
    uint32_t seeds = report->spec->eval.seeds;
    if (!subject->present)
        return json_null();
    if (!subject->probes)
        return json_pack("{s:f, s:f}", "top1", subject->knn_top1, "top1_error",
                         standard_error(subject->knn_top1, report->images_eval));
    json_t *heads = json_array();
    for (size_t h = 0; h < PROBE_HEADS; h++)
        json_array_append_new(heads, head_object(subject->probes, seeds, h));
    size_t best = evaluate_report_best_head(subject->probes, seeds);
    const json_t *head = json_array_get(heads, best);
    double top1 = json_number_value(json_object_get(head, "top1"));
    return json_pack("{s:f, s:f, s:O, s:O, s:o}", "top1", top1, "top1_error",
                     standard_error(top1, report->images_eval), "top1_std",
                     json_object_get(head, "top1_std"), "best_head", json_object_get(head, "name"),
                     "heads", heads);
}

/* ---- The whole ------------------------------------------------------------------------------- */

enum ij_status evaluate_report_write(const struct evaluate_report *report, char **ret_json,
                                     struct ij_err *reterr_err)
{
    const struct engine_spec *spec = report->spec;
    bool linear = spec->kind == ENGINE_LINEAR_PROBE;
    char seed[24];
    snprintf(seed, sizeof seed, "%" PRIu64, spec->seed);
    json_t *trained = subject_object(report, &report->trained);
    json_t *random = subject_object(report, &report->random);
    json_t *top1 = json_object_get(report->trained.present ? trained : random, "top1");
    json_t *object =
        json_pack("{s:s, s:O, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:I, s:s, s:s, s:s, s:i}", "kind",
                  linear ? "linear_probe" : "knn", "top1", top1, "trained", trained, "random",
                  random, "checkpoint", checkpoint_object(report->checkpoint), "model",
                  model_object(spec), "data", data_object(report), linear ? "probe" : "knn",
                  linear ? probe_object(report) : knn_object(report), "seed", seed, "repeats",
                  (json_int_t)(linear ? spec->eval.seeds : 1), "build", build_id(), "backend",
                  report->backend->name, "precision",
                  spec->precision == ENGINE_BFLOAT16 ? "bfloat16" : "float32", "threads",
                  report->backend->threads);
    char *text = object ? json_dumps(object, JSON_INDENT(2)) : NULL;
    char *json = text ? mem_strdup(text) : NULL;
    json_decref(object);
    free(text);
    if (!json)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY,
                      "cannot build the result's JSON: no memory, or a "
                      "name that is not UTF-8");
    *ret_json = json;
    return IJ_OK;
}
