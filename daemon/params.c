/*
 * Reading parameters from JSON into an engine_spec, and back. See params.h.
 *
 * Values are set in three layers, each over the one before: the table's defaults, the preset, the
 * caller's keys. Within a layer `model` goes first, because it sets several members at once.
 */
#include "daemon/params.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "daemon/params_table.h"

static const char *const kind_names[ENGINE_KIND_COUNT] = {
    [ENGINE_PRETRAIN] = "pretrain",
    [ENGINE_LINEAR_PROBE] = "linear_probe",
    [ENGINE_KNN] = "knn",
    [ENGINE_FEATURES] = "features",
    [ENGINE_VISUALIZE] = "visualize",
    [ENGINE_CLEVR] = "clevr",
    [ENGINE_LOW_SHOT] = "low_shot",
    [ENGINE_FINETUNE] = "finetune",
    [ENGINE_SCAN] = "scan",
    [ENGINE_BENCHMARK] = "benchmark",
};

static const char *const model_names[] = {"vit_tiny",  "vit_small", "vit_base",
                                          "vit_large", "vit_huge",  "vit_giant"};

const char *params_kind_name(enum engine_kind kind)
{
    IJ_ASSERT((unsigned)kind < ENGINE_KIND_COUNT);
    return kind_names[kind];
}

bool params_kind_from_name(const char *name, enum engine_kind *ret_kind)
{
    for (int i = 0; i < ENGINE_KIND_COUNT; i++)
        if (strcmp(name, kind_names[i]) == 0) {
            *ret_kind = (enum engine_kind)i;
            return true;
        }
    return false;
}

void params_kind_list(char *ret_text, size_t size)
{
    size_t used = 0;
    ret_text[0] = '\0';
    for (int i = 0; i < ENGINE_KIND_COUNT && used < size; i++)
        used +=
            (size_t)snprintf(ret_text + used, size - used, "%s%s", i ? ", " : "", kind_names[i]);
}

/* ---- One value
 * ----------------------------------------------------------------------------------- */

static void *member_of(struct engine_spec *spec, const struct param_row *row)
{
    return (char *)spec + row->offset;
}

static enum ij_status number_from_json(const struct param_row *row, const json_t *value,
                                       double *ret_number, struct ij_err *reterr_err)
{
    if (!json_is_number(value))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, row->name, "%s must be a number", row->name);
    double number = json_number_value(value);
    bool whole = row->type == PARAM_UINT32 || row->type == PARAM_UINT64;
    if (whole && number != floor(number))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, row->name, "%s must be a whole number",
                            row->name);
    if (!(number >= row->min && number <= row->max))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, row->name,
                            "%s must be between %.15g and %.15g, got %.15g", row->name, row->min,
                            row->max, number);
    *ret_number = number;
    return IJ_OK;
}

static enum ij_status numbers_from_json(const struct param_row *row, const json_t *value,
                                        size_t count, double *ret_numbers,
                                        struct ij_err *reterr_err)
{
    double numbers[3];
    if (!json_is_array(value) || json_array_size(value) != count)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, row->name, "%s must be an array of %zu numbers",
                            row->name, count);
    for (size_t i = 0; i < count; i++)
        IJ_TRY(number_from_json(row, json_array_get(value, i), &numbers[i], reterr_err));
    if (row->type == PARAM_PAIR && numbers[0] > numbers[1])
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, row->name,
                            "%s must not have its first value above its second", row->name);
    memcpy(ret_numbers, numbers, count * sizeof *numbers);
    return IJ_OK;
}

/* A number alone is a list of one. */
static enum ij_status list_from_json(const struct param_row *row, const json_t *value,
                                     struct engine_list *ret_list, struct ij_err *reterr_err)
{
    struct engine_list list = {.count = 1};
    if (!json_is_array(value)) {
        IJ_TRY(number_from_json(row, value, &list.values[0], reterr_err));
        *ret_list = list;
        return IJ_OK;
    }
    if (json_array_size(value) > ENGINE_LIST_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, row->name,
                            "%s must be an array of at most %d numbers", row->name,
                            ENGINE_LIST_MAX);
    list.count = (uint32_t)json_array_size(value);
    for (size_t i = 0; i < list.count; i++)
        IJ_TRY(number_from_json(row, json_array_get(value, i), &list.values[i], reterr_err));
    *ret_list = list;
    return IJ_OK;
}

static enum ij_status enum_from_json(const struct param_row *row, const json_t *value,
                                     int *ret_value, struct ij_err *reterr_err)
{
    size_t count = 0;
    char list[256] = "";
    while (count < PARAM_NAMES_MAX && row->names[count]) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", count ? ", " : "", row->names[count]);
        count++;
    }
    const char *name = json_string_value(value);
    for (size_t i = 0; name && i < count; i++)
        if (strcmp(name, row->names[i]) == 0) {
            *ret_value = (int)i;
            return IJ_OK;
        }
    const char *near = name ? text_nearest(name, row->names, count) : NULL;
    if (near)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, row->name,
                            "%s must be one of %s; did you mean \"%s\"?", row->name, list, near);
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, row->name, "%s must be one of %s", row->name, list);
}

static enum ij_status text_from_json(const struct param_row *row, const json_t *value,
                                     char *ret_text, struct ij_err *reterr_err)
{
    const char *text = json_string_value(value);
    if (!text)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, row->name, "%s must be a string", row->name);
    if (json_string_length(value) != strlen(text) || strlen(text) >= row->text_size)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, row->name,
                            "%s must have at most %zu bytes and no NUL", row->name,
                            row->text_size - 1);
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, row->name,
                                "%s must not contain control characters", row->name);
    memset(ret_text, 0, row->text_size);
    strcpy(ret_text, text);
    return IJ_OK;
}

static enum ij_status model_from_json(const json_t *value, struct engine_spec *spec,
                                      struct ij_err *reterr_err)
{
    const char *name = json_string_value(value);
    if (name && (strcmp(name, "custom") == 0 || engine_model_by_name(name, &spec->model)))
        return IJ_OK;
    const char *near =
        name ? text_nearest(name, model_names, sizeof model_names / sizeof *model_names) : NULL;
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "model",
                        "model must be one of vit_tiny, vit_small, vit_base, vit_large, vit_huge, "
                        "vit_giant, custom%s%s%s",
                        near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static enum ij_status value_from_json(const struct param_row *row, const json_t *value,
                                      struct engine_spec *spec, struct ij_err *reterr_err)
{
    double number = 0;
    void *member = member_of(spec, row);
    switch (row->type) {
    case PARAM_BOOL:
        if (!json_is_boolean(value))
            return IJ_ERR_FIELD(reterr_err, IJ_INVALID, row->name, "%s must be true or false",
                                row->name);
        *(bool *)member = json_is_true(value);
        return IJ_OK;
    case PARAM_UINT32:
        IJ_TRY(number_from_json(row, value, &number, reterr_err));
        *(uint32_t *)member = (uint32_t)number;
        return IJ_OK;
    case PARAM_UINT64:
        IJ_TRY(number_from_json(row, value, &number, reterr_err));
        *(uint64_t *)member = (uint64_t)number;
        return IJ_OK;
    case PARAM_DOUBLE:
        return number_from_json(row, value, member, reterr_err);
    case PARAM_PAIR:
        return numbers_from_json(row, value, 2, member, reterr_err);
    case PARAM_TRIPLE:
        return numbers_from_json(row, value, 3, member, reterr_err);
    case PARAM_LIST:
        return list_from_json(row, value, member, reterr_err);
    case PARAM_ENUM:
        return enum_from_json(row, value, member, reterr_err);
    case PARAM_TEXT:
        return text_from_json(row, value, member, reterr_err);
    case PARAM_MODEL:
        return model_from_json(value, spec, reterr_err);
    }
    IJ_ASSERT(!"unknown parameter type");
}

/* ---- A layer of values
 * ----------------------------------------------------------------------------- */

struct layer {
    enum engine_kind kind;
    const char *prefix;
    json_t *errors;            /* borrowed, may be NULL */
    struct ij_err *reterr_err; /* the first error */
    enum ij_status status;
};

static void layer_report(struct layer *layer, const char *key, const struct ij_err *err)
{
    if (layer->status == IJ_OK) {
        layer->status = err->code;
        if (layer->reterr_err)
            *layer->reterr_err = *err;
    }
    if (!layer->errors)
        return;
    json_t *entry = json_object();
    json_object_set_new(entry, "pointer", json_sprintf("%s/%s", layer->prefix, key));
    json_object_set_new(entry, "detail", json_string(err->text));
    json_array_append_new(layer->errors, entry);
}

static void layer_unknown(struct layer *layer, const char *key)
{
    const char *names[128];
    size_t count = 0;
    for (size_t i = 0; i < params_row_count && count < COUNT_OF(names) - 1; i++)
        if (params_rows[i].kinds & PARAM_KIND(layer->kind))
            names[count++] = params_rows[i].name;
    names[count++] = "preset";
    const char *near = text_nearest(key, names, count);
    struct ij_err err;
    if (near)
        (void)IJ_ERR_FIELD(&err, IJ_INVALID, key,
                           "unknown parameter \"%.64s\" for %s; did you mean \"%s\"?", key,
                           params_kind_name(layer->kind), near);
    else
        (void)IJ_ERR_FIELD(&err, IJ_INVALID, key, "unknown parameter \"%.64s\" for %s", key,
                           params_kind_name(layer->kind));
    layer_report(layer, key, &err);
}

static void layer_set(struct layer *layer, const char *key, const json_t *value,
                      struct engine_spec *spec)
{
    struct ij_err err;
    const struct param_row *row = params_row_find(layer->kind, key);
    if (!row)
        layer_unknown(layer, key);
    else if (value_from_json(row, value, spec, &err) != IJ_OK)
        layer_report(layer, key, &err);
}

static void layer_apply(struct layer *layer, const json_t *object, struct engine_spec *spec)
{
    const char *key;
    json_t *value;
    if (json_object_get(object, "model"))
        layer_set(layer, "model", json_object_get(object, "model"), spec);
    json_object_foreach((json_t *)object, key, value)
    {
        if (strcmp(key, "model") != 0 && strcmp(key, "preset") != 0)
            layer_set(layer, key, value, spec);
    }
}

/* ---- Defaults, presets, the whole
 * ------------------------------------------------------------------- */

/* A text of our own tables: right by construction, so that only memory can lack. */
static json_t *load_own(const char *text, struct ij_err *reterr_err)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    if (!value)
        (void)IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the parameters");
    return value;
}

static enum ij_status apply_defaults(enum engine_kind kind, struct engine_spec *spec,
                                     struct ij_err *reterr_err)
{
    memset(spec, 0, sizeof *spec);
    spec->kind = kind;
    /* Members that a kind's users cannot set still hold the table's default. */
    for (size_t i = 0; i < params_row_count; i++) {
        json_t *value = load_own(params_rows[i].default_text, reterr_err);
        if (!value)
            return IJ_NO_MEMORY;
        IJ_ASSERT(value_from_json(&params_rows[i], value, spec, NULL) == IJ_OK);
        json_decref(value);
    }
    if (kind == ENGINE_CLEVR) /* its tasks bring their own */
        spec->data.labels = ENGINE_LABELS_COUNT;
    return IJ_OK;
}

static void apply_preset(struct layer *layer, const json_t *object, struct engine_spec *spec)
{
    const json_t *chosen = json_object_get(object, "preset");
    if (!chosen)
        return;
    const char *name = json_string_value(chosen);
    const struct param_preset *preset = name ? params_preset_find(layer->kind, name) : NULL;
    if (preset) {
        struct ij_err memory_err = IJ_ERR_INIT;
        json_t *values = load_own(preset->params, &memory_err);
        if (values)
            layer_apply(layer, values, spec);
        else
            layer_report(layer, "preset", &memory_err);
        json_decref(values);
        return;
    }
    const char *names[64];
    size_t count = 0;
    for (size_t i = 0; i < params_preset_count && count < COUNT_OF(names); i++)
        if (params_preset_rows[i].kind == layer->kind)
            names[count++] = params_preset_rows[i].name;
    const char *near = name ? text_nearest(name, names, count) : NULL;
    struct ij_err err;
    (void)IJ_ERR_FIELD(&err, IJ_INVALID, "preset",
                       "unknown preset%s%s%s; GET /v1/presets lists them",
                       near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    layer_report(layer, "preset", &err);
}

/* engine_check names members; users know keys. */
static const char *key_of_member(enum engine_kind kind, const char *member)
{
    for (size_t i = 0; i < params_row_count; i++)
        if ((params_rows[i].kinds & PARAM_KIND(kind)) && strcmp(params_rows[i].member, member) == 0)
            return params_rows[i].name;
    return member;
}

enum ij_status params_from_json(enum engine_kind kind, const json_t *object, const char *prefix,
                                struct engine_spec *ret_spec, json_t *errors,
                                struct ij_err *reterr_err)
{
    struct layer layer = {
        .kind = kind, .prefix = prefix, .errors = errors, .reterr_err = reterr_err};
    struct engine_spec spec;
    struct ij_err err = IJ_ERR_INIT;
    if (!json_is_object(object))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "params", "params must be an object");
    IJ_TRY(apply_defaults(kind, &spec, reterr_err));
    apply_preset(&layer, object, &spec);
    layer_apply(&layer, object, &spec);
    bool synthetic = kind == ENGINE_BENCHMARK && spec.benchmark.what != ENGINE_BENCHMARK_LOADER;
    if (layer.status == IJ_OK && spec.data.path[0] == '\0' && !synthetic) {
        (void)IJ_ERR_FIELD(&err, IJ_INVALID, "dataset", "dataset is required");
        layer_report(&layer, "dataset", &err);
    }
    if (layer.status == IJ_OK && engine_check(&spec, &err) != IJ_OK) {
        snprintf(err.field, sizeof err.field, "%s", key_of_member(kind, err.field));
        layer_report(&layer, err.field, &err);
    }
    if (layer.status == IJ_OK)
        *ret_spec = spec;
    return layer.status;
}

static const char *model_name_of(const struct engine_model *model)
{
    for (size_t i = 0; i < COUNT_OF(model_names); i++) {
        struct engine_model named = *model;
        if (engine_model_by_name(model_names[i], &named) && named.width == model->width &&
            named.depth == model->depth && named.heads == model->heads &&
            fabs(named.mlp_ratio - model->mlp_ratio) < 1e-9)
            return model_names[i];
    }
    return "custom";
}

static json_t *numbers_to_json(const double *numbers, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_real(numbers[i]));
    return array;
}

static json_t *value_to_json(const struct param_row *row, const struct engine_spec *spec)
{
    const void *member = (const char *)spec + row->offset;
    switch (row->type) {
    case PARAM_BOOL:
        return json_boolean(*(const bool *)member);
    case PARAM_UINT32:
        return json_integer(*(const uint32_t *)member);
    case PARAM_UINT64:
        return json_integer((json_int_t) * (const uint64_t *)member);
    case PARAM_DOUBLE:
        return json_real(*(const double *)member);
    case PARAM_PAIR:
        return numbers_to_json(member, 2);
    case PARAM_TRIPLE:
        return numbers_to_json(member, 3);
    case PARAM_LIST: {
        const struct engine_list *list = member;
        return numbers_to_json(list->values, list->count);
    }
    case PARAM_ENUM:
        return json_string(row->names[*(const int *)member]);
    case PARAM_TEXT:
        return json_string(member);
    case PARAM_MODEL:
        return json_string(model_name_of(&spec->model));
    }
    return NULL;
}

json_t *params_to_json(enum engine_kind kind, const struct engine_spec *spec)
{
    json_t *object = json_object();
    for (size_t i = 0; i < params_row_count; i++)
        if (params_rows[i].kinds & PARAM_KIND(kind))
            json_object_set_new(object, params_rows[i].name, value_to_json(&params_rows[i], spec));
    return object;
}
