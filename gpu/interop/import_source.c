/* See import_source.h. */
#include "gpu/interop/import_source.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/mem.h"

#define CONFIG_MAX   ((size_t)1 << 20)
#define NORM_EPS     1e-6
#define SIZE_LIMIT   65536u /* larger than any size that engine_check accepts */
#define PRED_WIDTH   384
#define HEAD_DIM_MAX 256

static const double imagenet_mean[3] = {0.485, 0.456, 0.406};
static const double imagenet_std[3] = {0.229, 0.224, 0.225};

size_t import_source_find(const struct import_source *source, const char *prefix, const char *name)
{
    size_t size = strlen(prefix), i = 0;
    while (i < source->count && (strncmp(source->tensors[i]->name, prefix, size) != 0 ||
                                 strcmp(source->tensors[i]->name + size, name) != 0))
        i++;
    return i;
}

/* A dimension of a tensor of the part, or 0 where it is not there or absurd. */
static uint32_t dimension(const struct import_source *s, enum import_part part, const char *name,
                          int dims, int which)
{
    size_t i = import_source_find(s, s->prefixes[part], name);
    if (i == s->count || s->tensors[i]->dims != dims)
        return 0;
    uint64_t size = s->tensors[i]->shape[which];
    return size <= SIZE_LIMIT ? (uint32_t)size : 0;
}

static uint32_t count_blocks(const struct import_source *s, enum import_part part,
                             const char *format_before, const char *format_after)
{
    char name[WEIGHT_NAMES_MAX];
    uint32_t depth = 0;
    do
        snprintf(name, sizeof name, "%s%u%s", format_before, depth++, format_after);
    while (depth <= SIZE_LIMIT && import_source_find(s, s->prefixes[part], name) < s->count);
    return depth - 1;
}

/* ---- The model ------------------------------------------------------------------------------- */

static enum ij_status unknown(const struct import_source *s, const char *what,
                              struct ij_err *reterr_err)
{
    return IJ_ERR_FIELD(reterr_err, IJ_DATA, s->weights,
                        "%s is no I-JEPA encoder: %s is missing or of an unexpected shape",
                        s->weights, what);
}

static uint32_t known_heads(uint32_t width)
{
    static const char *const names[] = {"vit_tiny",  "vit_small", "vit_base",
                                        "vit_large", "vit_huge",  "vit_giant"};
    struct engine_model model;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        if (engine_model_by_name(names[i], &model) && model.width == width)
            return model.heads;
    return 0;
}

/* The ratio that gives exactly this hidden width again. */
static double mlp_ratio(uint32_t hidden, uint32_t width)
{
    double ratio = (double)hidden / width;
    return (uint32_t)(ratio * width) == hidden ? ratio : (hidden + 0.5) / width;
}

static enum ij_status encoder_shape(struct import_source *s, struct ij_err *reterr_err)
{
    bool hf = s->style == WEIGHT_NAMES_HF;
    const char *patch =
        hf ? "embeddings.patch_embeddings.projection.weight" : "patch_embed.proj.weight";
    const char *fc1 = hf ? "encoder.layer.0.intermediate.dense.weight" : "blocks.0.mlp.fc1.weight";
    struct engine_model *m = &s->spec.model;
    m->width = dimension(s, IMPORT_ENCODER, patch, 4, 0);
    m->patch = dimension(s, IMPORT_ENCODER, patch, 4, 3);
    uint32_t patches = dimension(s, IMPORT_ENCODER, weight_names_positions(s->style), 3, 1);
    uint32_t hidden = dimension(s, IMPORT_ENCODER, fc1, 2, 0);
    uint32_t grid = (uint32_t)lround(sqrt(patches));
    m->depth = hf ? count_blocks(s, IMPORT_ENCODER, "encoder.layer.", ".layernorm_before.weight")
                  : count_blocks(s, IMPORT_ENCODER, "blocks.", ".norm1.weight");
    if (!m->width || !m->patch)
        return unknown(s, patch, reterr_err);
    if (!patches || grid * grid != patches)
        return unknown(s, weight_names_positions(s->style), reterr_err);
    if (!hidden || !m->depth)
        return unknown(s, fc1, reterr_err);
    m->mlp_ratio = mlp_ratio(hidden, m->width);
    s->spec.data.crop = grid * m->patch;
    return IJ_OK;
}

static void predictor_shape(struct import_source *s)
{
    struct engine_model *m = &s->spec.model;
    if (s->prefixes[IMPORT_PREDICTOR]) {
        m->pred_width = dimension(s, IMPORT_PREDICTOR, "predictor_embed.weight", 2, 0);
        m->pred_depth = count_blocks(s, IMPORT_PREDICTOR, "predictor_blocks.", ".norm1.weight");
        return;
    }
    bool fits = m->heads > 0 && PRED_WIDTH % m->heads == 0 && PRED_WIDTH / m->heads <= HEAD_DIM_MAX;
    m->pred_width = fits ? PRED_WIDTH : m->width;
    m->pred_depth = m->depth >= 24 ? 12 : 6;
}

/* The same rules as for a run; the sizes above are not trusted before. */
static enum ij_status check_model(struct import_source *s, struct ij_err *reterr_err)
{
    struct engine_model *m = &s->spec.model;
    if (s->options->heads)
        m->heads = s->options->heads;
    if (!m->heads)
        m->heads = known_heads(m->width);
    if (!m->heads)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, "heads",
                            "%s does not say how many attention heads an encoder of width %u has; "
                            "give their number",
                            s->weights, m->width);
    predictor_shape(s);
    m->init_std = 0.02;
    struct engine_spec spec = s->spec;
    spec.kind = ENGINE_KNN; /* makes no demand on the recipe */
    spec.eval.batch = spec.eval.seeds = spec.eval.neighbors = 1;
    spec.eval.temperature = 1;
    snprintf(spec.data.path, sizeof spec.data.path, "/");
    return engine_check(&spec, reterr_err);
}

static void set_normalization(struct import_source *s, const double *mean, const double *std,
                              const char *source)
{
    memcpy(s->spec.data.mean, mean, sizeof s->spec.data.mean);
    memcpy(s->spec.data.std, std, sizeof s->spec.data.std);
    s->normalization = source;
}

/* ---- An official file ------------------------------------------------------------------------ */

static bool has_prefix(const struct import_source *s, const char *prefix)
{
    for (size_t i = 0; i < s->count; i++)
        if (strncmp(s->tensors[i]->name, prefix, strlen(prefix)) == 0)
            return true;
    return false;
}

static enum ij_status allocate(struct import_source *s, size_t count, struct ij_err *reterr_err)
{
    s->count = count;
    s->tensors = mem_array(const struct safetensors_tensor *, count + 1);
    s->used = mem_array(bool, count + 1);
    if (!s->tensors || !s->used)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu tensors", count);
    return IJ_OK;
}

static enum ij_status open_official(struct import_source *s, struct ij_err *reterr_err)
{
    static const char *const names[] = {"encoder.", "target_encoder.", "predictor."};
    IJ_TRY(torch_file_open(s->weights, &s->torch, reterr_err));
    IJ_TRY(allocate(s, torch_file_count(s->torch), reterr_err));
    for (size_t i = 0; i < s->count; i++)
        s->tensors[i] = torch_file_at(s->torch, i);
    s->style = WEIGHT_NAMES_OFFICIAL;
    for (int i = 0; i < IMPORT_PART_COUNT; i++)
        s->prefixes[i] = has_prefix(s, names[i]) ? names[i] : NULL;
    bool plain = import_source_find(s, "", "pos_embed") < s->count;
    if (!s->prefixes[IMPORT_ENCODER] && plain)
        s->prefixes[IMPORT_ENCODER] = "";
    if (!s->prefixes[IMPORT_ENCODER])
        return unknown(s, "the section \"encoder\"", reterr_err);
    if (!torch_file_integer(s->torch, "epoch", &s->epoch) || s->epoch < 0)
        s->epoch = -1;
    set_normalization(s, imagenet_mean, imagenet_std, "imagenet");
    return encoder_shape(s, reterr_err);
}

/* ---- A Hugging Face folder ------------------------------------------------------------------- */

static enum ij_status read_json(const struct import_source *s, const char *name,
                                json_t **ret_object, struct ij_err *reterr_err)
{
    mem_auto char *path = mem_printf("%s/%s", s->options->path, name);
    mem_auto char *text = NULL;
    size_t size;
    if (!path)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to read %s", name);
    IJ_TRY(file_read(path, CONFIG_MAX, &text, &size, reterr_err));
    *ret_object = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(*ret_object))
        return IJ_OK;
    json_decref(*ret_object);
    *ret_object = NULL;
    return IJ_ERR_FIELD(reterr_err, IJ_MALFORMED, path, "%s is not a JSON object", path);
}

static enum ij_status refuse_key(const struct import_source *s, const char *key,
                                 const json_t *found, const char *expected,
                                 struct ij_err *reterr_err)
{
    char *text = found ? json_dumps(found, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6)) : NULL;
    enum ij_status status = IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, key,
                                         "%.300s/config.json: %s is %.60s, expected %s",
                                         s->options->path, key, text ? text : "missing", expected);
    free(text);
    return status;
}

/* What the weights' shapes do not show: it must be what this engine computes. */
static enum ij_status check_config(struct import_source *s, const json_t *config,
                                   struct ij_err *reterr_err)
{
    const json_t *type = json_object_get(config, "model_type");
    const json_t *act = json_object_get(config, "hidden_act");
    const json_t *eps = json_object_get(config, "layer_norm_eps");
    const json_t *heads = json_object_get(config, "num_attention_heads");
    const json_t *bias = json_object_get(config, "qkv_bias");
    const json_t *image = json_object_get(config, "image_size");
    if (!json_is_string(type) || strcmp(json_string_value(type), "ijepa") != 0)
        return refuse_key(s, "model_type", type, "\"ijepa\"", reterr_err);
    const char *gelu = act ? json_string_value(act) : "gelu";
    s->spec.model.gelu_tanh = gelu && strcmp(gelu, "gelu_pytorch_tanh") == 0;
    if (!gelu || (strcmp(gelu, "gelu") != 0 && !s->spec.model.gelu_tanh))
        return refuse_key(s, "hidden_act", act, "\"gelu\" or \"gelu_pytorch_tanh\"", reterr_err);
    if (!eps || fabs(json_number_value(eps) - NORM_EPS) > 1e-12)
        return refuse_key(s, "layer_norm_eps", eps, "1e-6", reterr_err);
    if (bias && !json_is_true(bias))
        return refuse_key(s, "qkv_bias", bias, "true", reterr_err);
    if (!json_is_integer(heads) || json_integer_value(heads) < 1 || json_integer_value(heads) > 128)
        return refuse_key(s, "num_attention_heads", heads, "1 to 128", reterr_err);
    s->spec.model.heads = (uint32_t)json_integer_value(heads);
    uint32_t grid = s->spec.data.crop / s->spec.model.patch;
    json_int_t side = image ? json_integer_value(image) : s->spec.data.crop;
    if (side < 1 || side > SIZE_LIMIT || (uint32_t)side / s->spec.model.patch != grid)
        return refuse_key(s, "image_size", image, "one that the position table fits", reterr_err);
    s->spec.data.crop = (uint32_t)side;
    return IJ_OK;
}

static bool read_triple(const json_t *array, double ret[3])
{
    for (size_t i = 0; i < 3; i++)
        ret[i] = json_number_value(json_array_get(array, i));
    return json_array_size(array) == 3 && ret[0] >= 0 && ret[1] >= 0 && ret[2] >= 0;
}

static enum ij_status read_preprocessor(struct import_source *s, struct ij_err *reterr_err)
{
    json_t *object = NULL;
    double mean[3], std[3];
    set_normalization(s, imagenet_mean, imagenet_std, "imagenet");
    enum ij_status status = read_json(s, "preprocessor_config.json", &object, reterr_err);
    if (status == IJ_NOT_FOUND)
        return IJ_OK;
    IJ_TRY(status);
    bool good = read_triple(json_object_get(object, "image_mean"), mean) &&
                read_triple(json_object_get(object, "image_std"), std);
    json_decref(object);
    if (good)
        set_normalization(s, mean, std, "preprocessor_config.json");
    return IJ_OK;
}

static enum ij_status open_hf(struct import_source *s, struct ij_err *reterr_err)
{
    json_t *config = NULL;
    IJ_TRY(read_json(s, "config.json", &config, reterr_err));
    enum ij_status status = safetensors_open(s->weights, &s->safetensors, reterr_err);
    if (status == IJ_OK)
        status = allocate(s, safetensors_count(s->safetensors), reterr_err);
    for (size_t i = 0; status == IJ_OK && i < s->count; i++)
        s->tensors[i] = safetensors_at(s->safetensors, i);
    if (status == IJ_OK) {
        s->style = WEIGHT_NAMES_HF;
        s->prefixes[IMPORT_ENCODER] = has_prefix(s, "ijepa.") ? "ijepa." : "";
        status = encoder_shape(s, reterr_err);
    }
    if (status == IJ_OK)
        status = check_config(s, config, reterr_err);
    json_decref(config);
    return status == IJ_OK ? read_preprocessor(s, reterr_err) : status;
}

/* ---- Open ------------------------------------------------------------------------------------ */

static enum ij_status open_any(struct import_source *s, struct ij_err *reterr_err)
{
    struct stat st;
    const char *path = s->options->path;
    if (stat(path, &st) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot open %s", path);
    bool folder = S_ISDIR(st.st_mode);
    int n =
        snprintf(s->weights, sizeof s->weights, "%s%s", path, folder ? "/model.safetensors" : "");
    if (n < 0 || (size_t)n >= sizeof s->weights)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "path", "the path is too long");
    IJ_TRY(folder ? open_hf(s, reterr_err) : open_official(s, reterr_err));
    if (s->options->mean && s->options->std)
        set_normalization(s, s->options->mean, s->options->std, "given");
    return check_model(s, reterr_err);
}

enum ij_status import_source_open(const struct engine_import *options,
                                  struct import_source *ret_source, struct ij_err *reterr_err)
{
    *ret_source = (struct import_source){.options = options, .epoch = -1};
    enum ij_status status = open_any(ret_source, reterr_err);
    if (status != IJ_OK)
        import_source_done(ret_source);
    return status;
}

void import_source_done(struct import_source *source)
{
    torch_file_free(source->torch);
    safetensors_free(source->safetensors);
    mem_free(source->tensors);
    mem_free(source->used);
    *source = (struct import_source){.options = NULL};
}
