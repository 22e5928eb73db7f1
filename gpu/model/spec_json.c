/* A spec's model and recipe as JSON. See spec_json.h. */
#include "gpu/model/spec_json.h"

#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/model/mask_sizes.h"

enum value { VALUE_U32, VALUE_DOUBLE, VALUE_BOOL, VALUE_PAIR, VALUE_TRIPLE };

/* `model`: the reader needs it. `field`: the parameter's name in errors. */
static const struct row {
    const char *key, *field;
    enum value type;
    size_t offset;
    bool model;
    double min, max;
} rows[] = {
#define ROW(key, member, type, model, min, max)                                                    \
    {                                                                                              \
        key, #member, VALUE_##type, offsetof(struct engine_spec, member), model, min, max          \
    }
    ROW("crop", data.crop, U32, true, 8, 1024),
    ROW("mean", data.mean, TRIPLE, true, 0, 1),
    ROW("std", data.std, TRIPLE, true, 0.001, 10),
    ROW("patch", model.patch, U32, true, 1, 128),
    ROW("width", model.width, U32, true, 4, 8192),
    ROW("depth", model.depth, U32, true, 1, 128),
    ROW("heads", model.heads, U32, true, 1, 128),
    ROW("mlp_ratio", model.mlp_ratio, DOUBLE, true, 0.25, 16),
    ROW("pred_width", model.pred_width, U32, true, 4, 8192),
    ROW("pred_depth", model.pred_depth, U32, true, 1, 128),
    ROW("pred_heads", model.pred_heads, U32, true, 0, 128),
    ROW("init_std", model.init_std, DOUBLE, false, 0, 1),
    ROW("patch_init_std", model.patch_init_std, DOUBLE, false, 0, 1),
    ROW("init_rescale", model.init_rescale, BOOL, false, 0, 1),
    ROW("gelu_tanh", model.gelu_tanh, BOOL, false, 0, 1),
    ROW("crop_scale", data.crop_scale, PAIR, false, 0, 1),
    ROW("crop_ratio", data.crop_ratio, PAIR, false, 0, 20),
    ROW("flip", data.flip, BOOL, false, 0, 1),
    ROW("targets", masks.targets, U32, false, 1, ENGINE_TARGETS_MAX),
    ROW("target_scale", masks.target_scale, PAIR, false, 0, 1),
    ROW("target_aspect", masks.target_aspect, PAIR, false, 0, 10),
    ROW("context_scale", masks.context_scale, PAIR, false, 0, 1),
    ROW("min_keep", masks.min_keep, U32, false, 0, 4096),
    ROW("masked_share", masks.masked_share, DOUBLE, false, 0, 1),
    ROW("batch", optimizer.batch, U32, false, 1, 65536),
    ROW("accumulate", optimizer.accumulate, U32, false, 1, 65536),
    ROW("epochs", optimizer.epochs, DOUBLE, false, 0, 1e6),
    ROW("warmup_epochs", optimizer.warmup_epochs, DOUBLE, false, 0, 1e6),
    ROW("start_lr", optimizer.start_lr, DOUBLE, false, 0, 1),
    ROW("lr", optimizer.lr, DOUBLE, false, 0, 1),
    ROW("final_lr", optimizer.final_lr, DOUBLE, false, 0, 1),
    ROW("weight_decay", optimizer.weight_decay, DOUBLE, false, 0, 10),
    ROW("final_weight_decay", optimizer.final_weight_decay, DOUBLE, false, 0, 10),
    ROW("ema_start", optimizer.ema_start, DOUBLE, false, 0, 1),
    ROW("ema_end", optimizer.ema_end, DOUBLE, false, 0, 1),
    ROW("ipe_scale", optimizer.ipe_scale, DOUBLE, false, 0, 100),
    ROW("beta1", optimizer.beta1, DOUBLE, false, 0, 1),
    ROW("beta2", optimizer.beta2, DOUBLE, false, 0, 1),
    ROW("adam_eps", optimizer.adam_eps, DOUBLE, false, 0, 1),
    ROW("clip_grad", optimizer.clip_grad, DOUBLE, false, 0, 1e6),
#undef ROW
};

static const char *const maskings[] = {[ENGINE_MASKING_MULTI_BLOCK] = "multi_block",
                                       [ENGINE_MASKING_RASTERIZED] = "rasterized",
                                       [ENGINE_MASKING_BLOCK] = "block",
                                       [ENGINE_MASKING_RANDOM] = "random"};
static const char *const targets_at[] = {
    [ENGINE_TARGET_AT_OUTPUT] = "output", [ENGINE_TARGET_AT_INPUT] = "input"};

static const char *const samplers[] = {
    [ENGINE_MASKS_PUBLISHED] = "published", [ENGINE_MASKS_UNBIASED] = "unbiased"};

static json_t *reals(const double *values, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(array, json_real(values[i]));
    return array;
}

static json_t *value_of(const struct engine_spec *spec, const struct row *row)
{
    const void *at = (const char *)spec + row->offset;
    switch (row->type) {
    case VALUE_U32:
        return json_integer(*(const uint32_t *)at);
    case VALUE_BOOL:
        return json_boolean(*(const bool *)at);
    case VALUE_PAIR:
        return reals(at, 2);
    case VALUE_TRIPLE:
        return reals(at, 3);
    default:
        return json_real(*(const double *)at);
    }
}

char *spec_json_write(const struct engine_spec *spec)
{
    json_t *object = json_object();
    bool good = object != NULL;
    for (size_t i = 0; good && i < COUNT_OF(rows); i++)
        good = json_object_set_new(object, rows[i].key, value_of(spec, &rows[i])) == 0;
    good = good &&
           json_object_set_new(object, "masking", json_string(maskings[spec->masks.masking])) == 0;
    good = good && json_object_set_new(object, "target_at",
                                       json_string(targets_at[spec->masks.target_at])) == 0;
    good = good &&
           json_object_set_new(object, "sampler", json_string(samplers[spec->masks.sampler])) == 0;
    const char *loss = spec->loss == ENGINE_L2 ? "l2" : "smooth_l1";
    good = good && json_object_set_new(object, "loss", json_string(loss)) == 0;
    const char *precision = spec->precision == ENGINE_BFLOAT16 ? "bfloat16" : "float32";
    good = good && json_object_set_new(object, "precision", json_string(precision)) == 0;
    const char *target = spec->target_precision == ENGINE_TARGET_FLOAT8 ? "float8" : "same";
    good = good && json_object_set_new(object, "target_precision", json_string(target)) == 0;
    char *text = good ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    char *copy = text ? mem_strdup(text) : NULL;
    free(text);
    json_decref(object);
    return copy;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static bool read_reals(const json_t *value, const struct row *row, double *ret, size_t count)
{
    if (!json_is_array(value) || json_array_size(value) != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(value, i);
        ret[i] = json_number_value(item);
        if (!json_is_number(item) || !(ret[i] >= row->min && ret[i] <= row->max))
            return false;
    }
    return true;
}

static bool read_value(const json_t *value, const struct row *row, struct engine_spec *spec)
{
    void *at = (char *)spec + row->offset;
    double number = json_number_value(value);
    bool in_range = json_is_number(value) && number >= row->min && number <= row->max;
    switch (row->type) {
    case VALUE_U32:
        if (!json_is_integer(value) || !in_range)
            return false;
        *(uint32_t *)at = (uint32_t)json_integer_value(value);
        return true;
    case VALUE_DOUBLE:
        *(double *)at = number;
        return in_range;
    case VALUE_TRIPLE:
        return read_reals(value, row, at, 3);
    case VALUE_PAIR:
        return read_reals(value, row, at, 2);
    default:
        *(bool *)at = json_is_true(value);
        return json_is_boolean(value);
    }
}

enum ij_status spec_json_read_model(const char *text, struct engine_spec *spec,
                                    struct ij_err *reterr_err)
{
    json_error_t error;
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    struct engine_spec read = *spec;
    read.model.gelu_tanh = false; /* what older checkpoints, which do not say, were */
    enum ij_status status = IJ_OK;
    if (!json_is_object(object))
        status =
            IJ_ERR(reterr_err, IJ_CORRUPT, "the checkpoint's parameters are not a JSON object");
    for (size_t i = 0; status == IJ_OK && i < COUNT_OF(rows); i++) {
        const json_t *value = json_object_get(object, rows[i].key);
        bool needed = rows[i].model || (value && strncmp(rows[i].field, "model.", 6) == 0);
        if (needed && !(value && read_value(value, &rows[i], &read)))
            status = IJ_ERR_FIELD(reterr_err, IJ_CORRUPT, rows[i].key,
                                  "the checkpoint's parameter '%s' is %s", rows[i].key,
                                  value ? "of a wrong type or out of range" : "missing");
    }
    if (status == IJ_OK)
        *spec = read;
    json_decref(object);
    return status;
}

enum ij_status spec_json_read_eval(const char *text, struct engine_spec *spec,
                                   struct ij_err *reterr_err)
{
    IJ_TRY(spec_json_read_model(text, spec, reterr_err));
    spec->eval.trained_crop = spec->data.crop;
    if (spec->eval.crop == 0)
        return IJ_OK;
    uint32_t grid = spec->eval.crop / spec->model.patch;
    if (grid < 2 || grid > MASK_SIZES_GRID_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "eval.crop",
                            "the model's patches of %u pixels cut %u pixels into %u a side; 2 to "
                            "%d are possible",
                            spec->model.patch, spec->eval.crop, grid, MASK_SIZES_GRID_MAX);
    spec->data.crop = spec->eval.crop;
    return IJ_OK;
}

/* The index of the named value among `names`, or 0. */
static unsigned name_of(const json_t *object, const char *key, const char *const *names,
                        unsigned count)
{
    const char *name = json_string_value(json_object_get(object, key));
    for (unsigned i = 0; name && i < count; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return 0;
}

void spec_json_read_masks(const char *text, struct engine_masks *ret_masks)
{
    json_t *object = json_loads(text, 0, NULL);
    struct engine_spec spec = {.masks = {.targets = 4,
                                         .target_scale = {0.15, 0.2},
                                         .target_aspect = {0.75, 1.5},
                                         .context_scale = {0.85, 1.0},
                                         .masked_share = 0.6}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct engine_spec read = spec;
        const json_t *value = json_object_get(object, rows[i].key);
        if (value && strncmp(rows[i].field, "masks.", 6) == 0 && read_value(value, &rows[i], &read))
            spec = read;
    }
    spec.masks.masking = name_of(object, "masking", maskings, COUNT_OF(maskings));
    spec.masks.target_at = name_of(object, "target_at", targets_at, COUNT_OF(targets_at));
    spec.masks.sampler = name_of(object, "sampler", samplers, COUNT_OF(samplers));
    json_decref(object);
    *ret_masks = spec.masks;
}

static bool same(const struct engine_spec *a, const struct engine_spec *b, const struct row *row)
{
    static const size_t sizes[] = {[VALUE_U32] = sizeof(uint32_t),
                                   [VALUE_DOUBLE] = sizeof(double),
                                   [VALUE_BOOL] = sizeof(bool),
                                   [VALUE_PAIR] = 2 * sizeof(double),
                                   [VALUE_TRIPLE] = 3 * sizeof(double)};
    return memcmp((const char *)a + row->offset, (const char *)b + row->offset, sizes[row->type]) ==
           0;
}

enum ij_status spec_json_check_model(const char *text, const struct engine_spec *spec,
                                     struct ij_err *reterr_err)
{
    struct engine_spec stored = *spec, wanted = *spec;
    stored.model.gelu_tanh = false;
    IJ_TRY(spec_json_read_model(text, &stored, reterr_err));
    /* 0 heads mean as many as the encoder has. */
    if (stored.model.pred_heads == 0)
        stored.model.pred_heads = stored.model.heads;
    if (wanted.model.pred_heads == 0)
        wanted.model.pred_heads = wanted.model.heads;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (rows[i].model && !same(&stored, &wanted, &rows[i]))
            return IJ_ERR_FIELD(reterr_err, IJ_CONFLICT, rows[i].field,
                                "%s is not what the checkpoint was trained with", rows[i].field);
    if (stored.model.gelu_tanh != wanted.model.gelu_tanh) /* older checkpoints do not say: erf */
        return IJ_ERR_FIELD(reterr_err, IJ_CONFLICT, "model.gelu_tanh",
                            "model.gelu_tanh is not what the checkpoint was trained with");
    return IJ_OK;
}
