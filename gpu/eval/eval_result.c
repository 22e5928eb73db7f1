/* See eval_result.h. */
#include "gpu/eval/eval_result.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/build.h"
#include "base/file.h"
#include "base/mem.h"

/* ---- Values ---------------------------------------------------------------------------------- */

json_t *eval_result_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

json_t *eval_result_list(const struct engine_list *list)
{
    json_t *array = json_array();
    for (uint32_t i = 0; i < list->count; i++)
        json_array_append_new(array, json_real(list->values[i]));
    return array;
}

json_t *eval_result_triple(const double values[3])
{
    return json_pack("[f, f, f]", values[0], values[1], values[2]);
}

void eval_result_mean_std(const double *values, size_t count, double *ret_mean, double *ret_std)
{
    double mean = 0, square = 0;
    for (size_t i = 0; i < count; i++)
        mean += values[i] / (double)count;
    for (size_t i = 0; i < count; i++)
        square += (values[i] - mean) * (values[i] - mean);
    *ret_mean = mean;
    *ret_std = count > 1 ? sqrt(square / (double)(count - 1)) : (double)NAN;
}

json_t *eval_result_top1(const double *values, size_t count, size_t images)
{
    double mean, std;
    json_t *by_seed = json_array();
    eval_result_mean_std(values, count, &mean, &std);
    for (size_t i = 0; i < count; i++)
        json_array_append_new(by_seed, json_real(values[i]));
    return json_pack("{s:f, s:o, s:o, s:o}", "top1", mean, "top1_error",
                     eval_result_number(sqrt(mean * (1 - mean) / (double)images)), "top1_std",
                     eval_result_number(std), "top1_by_seed", by_seed);
}

/* ---- Parts ----------------------------------------------------------------------------------- */

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
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:s, s:s}", "patch", (json_int_t)m->patch, "width",
                     (json_int_t)m->width, "depth", (json_int_t)m->depth, "heads",
                     (json_int_t)m->heads, "mlp_ratio", m->mlp_ratio, "encoder",
                     spec->eval.encoder == ENGINE_ENCODER_TARGET ? "target" : "context", "gelu",
                     m->gelu_tanh ? "tanh" : "erf");
}

json_t *eval_result_new(const struct eval_model *model, const char *kind, uint32_t seeds)
{
    const struct engine_spec *spec = &model->spec;
    json_t *list = json_array();
    char seed[24];
    for (uint32_t s = 0; s < seeds; s++)
        json_array_append_new(list, json_integer((json_int_t)(spec->seed + s)));
    snprintf(seed, sizeof seed, "%" PRIu64, spec->seed);
    return json_pack("{s:s, s:o, s:o, s:s, s:o, s:I, s:s, s:s, s:s, s:i}", "kind", kind,
                     "checkpoint", checkpoint_object(model->checkpoint), "model",
                     model_object(spec), "seed", seed, "seeds", list, "repeats", (json_int_t)seeds,
                     "build", build_id(), "backend", model->backend->name, "precision",
                     spec->precision == ENGINE_BFLOAT16 ? "bfloat16" : "float32", "threads",
                     model->backend->threads);
}

/* Share of the evaluation images in the largest class: what always answering it would reach. */
static double majority_share(const struct dataset *dataset, const int32_t *labels, size_t images)
{
    size_t classes = dataset_class_count(dataset), most = 0;
    mem_auto size_t *counts = mem_array(size_t, classes);
    for (size_t i = 0; counts && i < images; i++)
        if (labels[i] >= 0 && (size_t)labels[i] < classes && ++counts[labels[i]] > most)
            most = counts[labels[i]];
    return (double)most / (double)images;
}

static json_t *split_object(const struct eval_result_split *split)
{
    return json_pack("{s:I, s:I, s:s}", "images", (json_int_t)split->images, "replaced",
                     (json_int_t)split->bad, "fingerprint", dataset_fingerprint(split->dataset));
}

json_t *eval_result_data(const struct engine_data *d, const struct eval_result_split *train,
                         const struct eval_result_split *eval, const int32_t *eval_labels)
{
    static const char *const labels[] = {"none", "folder", "count", "distance", "shape", "color"};
    json_t *classes = json_array();
    for (size_t c = 0; c < dataset_class_count(train->dataset); c++)
        json_array_append_new(classes, json_string(dataset_class_name(train->dataset, c)));
    double share =
        eval_labels ? majority_share(eval->dataset, eval_labels, eval->images) : (double)NAN;
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:I, s:s, s:o, s:o, s:o}", "path", d->path,
                     "eval_path", d->eval_path, "labels", labels[d->labels], "classes", classes,
                     "train", split_object(train), "eval", split_object(eval), "crop",
                     (json_int_t)d->crop, "transform",
                     dataset_is_scene(train->dataset) ? "stretch" : "center_crop", "mean",
                     eval_result_triple(d->mean), "std", eval_result_triple(d->std), "majority",
                     eval_result_number(share));
}

/* ---- Publishing ------------------------------------------------------------------------------ */

/* Removes every member of that name, however deep. */
static void remove_key(json_t *value, const char *key)
{
    const char *name;
    json_t *member;
    size_t i;
    json_array_foreach(value, i, member)
    {
        remove_key(member, key);
    }
    if (!json_is_object(value))
        return;
    json_object_del(value, key);
    json_object_foreach(value, name, member)
    {
        remove_key(member, key);
    }
}

/* The text that the host gets; the caller frees it. */
static char *fitting_text(const json_t *object)
{
    static const char *const longest_first[] = {"confusion", "per_class", "classes", "heads"};
    json_t *copy = json_deep_copy(object), *omitted = json_array();
    char *text = json_dumps(copy, JSON_COMPACT);
    for (size_t i = 0; text && strlen(text) > EVAL_RESULT_BYTES_MAX && i < COUNT_OF(longest_first);
         i++) {
        remove_key(copy, longest_first[i]);
        json_array_append_new(omitted, json_string(longest_first[i]));
        json_object_set(copy, "omitted", omitted);
        free(text);
        text = json_dumps(copy, JSON_COMPACT);
    }
    json_decref(copy);
    json_decref(omitted);
    return text;
}

static enum ij_status save(const json_t *object, const char *directory, struct ij_err *reterr_err)
{
    if (directory[0] == '\0')
        return IJ_OK;
    IJ_TRY(file_make_dirs(directory, 0755, reterr_err));
    mem_auto char *path = mem_printf("%s/result.json", directory);
    char *text = object && path ? json_dumps(object, JSON_INDENT(1)) : NULL;
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY,
                      "cannot build the result's JSON: no memory, or a name that is not UTF-8");
    enum ij_status status = file_write_durable(path, text, strlen(text), 0644, reterr_err);
    free(text);
    return status;
}

enum ij_status eval_result_publish(json_t *object, const struct engine_spec *spec,
                                   const struct engine_sink *sink, const char *name,
                                   struct ij_err *reterr_err)
{
    enum ij_status status = save(object, spec->directory, reterr_err);
    char *text = status == IJ_OK && sink && sink->result ? fitting_text(object) : NULL;
    if (text && (status = sink->result(sink->user, name, text)) != IJ_OK)
        status = IJ_ERR(reterr_err, status, "the host refused the result");
    free(text);
    json_decref(object);
    return status;
}
