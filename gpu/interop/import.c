/* See import.h. */
#include "gpu/interop/import.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/build.h"
#include "base/file.h"
#include "base/mem.h"
#include "gpu/checkpoint/checkpoint.h"
#include "gpu/checkpoint/checkpoint_file.h"
#include "gpu/interop/import_match.h"
#include "gpu/model/positions.h"
#include "gpu/model/spec_json.h"

struct import_job {
    struct import_source source;
    struct vit_config config;
    struct layout layout;
    float *positions[2]; /* of encoder and predictor */
    float *parameter, *target;
    struct safetensors_tensor *tensors;
    char (*names)[LAYOUT_TARGET_NAME_MAX];
    size_t count;
    char *parameters, *origin; /* JSON */
    struct checkpoint_info info;
};

static enum ij_status allocate(struct import_job *job, struct ij_err *reterr_err)
{
    const struct vit_config *c = &job->config;
    IJ_TRY(layout_init(&job->layout, c, reterr_err));
    size_t tensors = 2 * job->layout.count + 3;
    job->positions[0] = mem_array(float, (size_t)(c->patches * c->encoder.width));
    job->positions[1] = mem_array(float, (size_t)(c->patches * c->predictor.width));
    job->parameter = mem_array(float, (size_t)job->layout.floats);
    job->target = mem_array(float, (size_t)job->layout.encoder_floats);
    job->tensors = mem_array(struct safetensors_tensor, tensors);
    job->names = mem_alloc_zero(tensors, sizeof *job->names);
    if (!job->positions[0] || !job->positions[1] || !job->parameter || !job->target ||
        !job->tensors || !job->names)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for weights of %lld values",
                      (long long)job->layout.floats);
    positions_fill(c->grid, c->encoder.width, job->positions[0]);
    positions_fill(c->grid, c->predictor.width, job->positions[1]);
    return IJ_OK;
}

/* ---- The checkpoint's tensors ---------------------------------------------------------------- */

static void append(struct import_job *job, const char *prefix, const char *name, int dims,
                   const uint64_t *shape, const float *data)
{
    struct safetensors_tensor *t = &job->tensors[job->count];
    char *copy = job->names[job->count++];
    snprintf(copy, LAYOUT_TARGET_NAME_MAX, "%s%s", prefix, name);
    *t = (struct safetensors_tensor){
        .name = copy, .type = SAFETENSORS_F32, .dims = dims, .data = data};
    memcpy(t->shape, shape, (size_t)dims * sizeof *shape);
}

/* In the order of a training run's checkpoint (gpu/train/train_save.c). */
static void view_all(struct import_job *job)
{
    const struct vit_config *c = &job->config;
    const struct layout *l = &job->layout;
    const uint64_t wide[] = {1, (uint64_t)c->patches, (uint64_t)c->encoder.width};
    const uint64_t narrow[] = {1, (uint64_t)c->patches, (uint64_t)c->predictor.width};
    for (int copy = 0; copy < 2; copy++) {
        const char *prefix = copy ? "target_" : "";
        const float *arena = copy ? job->target : job->parameter;
        append(job, prefix, "encoder.pos_embed", 3, wide, job->positions[0]);
        for (size_t i = 0; i < l->count && l->tensors[i].encoder; i++)
            append(job, prefix, l->tensors[i].name, l->tensors[i].dims, l->tensors[i].shape,
                   arena + l->tensors[i].offset);
    }
    if (!job->source.prefixes[IMPORT_PREDICTOR])
        return;
    append(job, "", "predictor.predictor_pos_embed", 3, narrow, job->positions[1]);
    for (size_t i = 0; i < l->count; i++)
        if (!l->tensors[i].encoder)
            append(job, "", l->tensors[i].name, l->tensors[i].dims, l->tensors[i].shape,
                   job->parameter + l->tensors[i].offset);
}

/* ---- Its state ------------------------------------------------------------------------------- */

static char *dump(json_t *object)
{
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
    char *copy = text ? mem_strdup(text) : NULL;
    free(text);
    json_decref(object);
    return copy;
}

/* The model's part of what a run would write: the recipe is not known. */
static char *model_parameters(const struct engine_spec *spec)
{
    static const char *const keys[] = {"crop",       "mean",       "std",       "patch",
                                       "width",      "depth",      "heads",     "mlp_ratio",
                                       "pred_width", "pred_depth", "pred_heads"};
    mem_auto char *all = spec_json_write(spec);
    json_t *object = all ? json_loads(all, 0, NULL) : NULL, *kept = json_object();
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        json_object_set(kept, keys[i], json_object_get(object, keys[i]));
    json_decref(object);
    return dump(kept);
}

static char *origin(const struct import_job *job, const char *sha256)
{
    const struct import_source *s = &job->source;
    const char *slash = strrchr(s->options->path, '/');
    const char *name = slash && slash[1] ? slash + 1 : s->options->path;
    json_t *about = json_pack(
        "{s:s, s:s, s:s, s:s, s:b, s:s}", "format", s->torch ? "official" : "hf", "file", name,
        "sha256", sha256, "target_encoder", s->prefixes[IMPORT_TARGET] ? "own" : "copy of encoder",
        "predictor", s->prefixes[IMPORT_PREDICTOR] != NULL, "normalization", s->normalization);
    if (s->epoch >= 0)
        json_object_set_new(about, "epoch", json_integer(s->epoch));
    return dump(json_pack("{s:o}", "imported", about));
}

static enum ij_status describe(struct import_job *job, struct ij_err *reterr_err)
{
    struct stat st;
    uint8_t digest[HASH_SIZE];
    char hex[HASH_HEX_SIZE];
    if (stat(job->source.weights, &st) < 0)
        return IJ_ERR_SYS(reterr_err, errno, job->source.weights, "cannot look at %s",
                          job->source.weights);
    IJ_TRY(checkpoint_file_hash(job->source.weights, (uint64_t)st.st_size, digest, reterr_err));
    hash_hex(digest, hex);
    job->parameters = model_parameters(&job->source.spec);
    job->origin = origin(job, hex);
    if (!job->parameters || !job->origin)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to describe %s (or no UTF-8 name)",
                      job->source.options->path);
    return IJ_OK;
}

static enum ij_status write_checkpoint(struct import_job *job, struct ij_err *reterr_err)
{
    const char *directory = job->source.options->directory;
    size_t existing = 0;
    mem_auto uint64_t *steps = NULL;
    IJ_TRY(checkpoint_list(directory, &steps, &existing, reterr_err));
    if (existing > 0)
        return IJ_ERR_FIELD(reterr_err, IJ_CONFLICT, directory,
                            "%s already holds checkpoints; nothing is overwritten", directory);
    const struct checkpoint_content content = {.state = {.parameters = job->parameters,
                                                         .trainer = job->origin,
                                                         .build = build_id(),
                                                         .data = ""},
                                               .sections = {{job->tensors, job->count}}};
    IJ_TRY(file_make_dirs(directory, 0755, reterr_err));
    return checkpoint_write(directory, &content, NULL, &job->info, reterr_err);
}

static enum ij_status report(const struct import_job *job, char **ret_json,
                             struct ij_err *reterr_err)
{
    json_t *object =
        json_pack("{s:s, s:s, s:I, s:o?, s:o?}", "checkpoint", job->info.path, "sha256",
                  job->info.hash, "tensors", (json_int_t)job->count, "model",
                  json_loads(job->parameters, 0, NULL), "origin", json_loads(job->origin, 0, NULL));
    *ret_json = object ? dump(object) : NULL;
    return *ret_json ? IJ_OK : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the report");
}

static enum ij_status run(struct import_job *job, const struct engine_import *options,
                          char **ret_json, struct ij_err *reterr_err)
{
    IJ_TRY(import_source_open(options, &job->source, reterr_err));
    job->config = vit_config_from_spec(&job->source.spec);
    IJ_TRY(allocate(job, reterr_err));
    const float *const positions[2] = {job->positions[0], job->positions[1]};
    IJ_TRY(import_match_copy(&job->source, &job->layout, positions, job->parameter, job->target,
                             reterr_err));
    view_all(job);
    IJ_TRY(describe(job, reterr_err));
    IJ_TRY(write_checkpoint(job, reterr_err));
    return report(job, ret_json, reterr_err);
}

enum ij_status import_run(const struct engine_import *options, char **ret_json,
                          struct ij_err *reterr_err)
{
    struct import_job *job = mem_new(struct import_job);
    if (!job)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an import");
    enum ij_status status = run(job, options, ret_json, reterr_err);
    import_source_done(&job->source);
    layout_done(&job->layout);
    for (int i = 0; i < 2; i++)
        mem_free(job->positions[i]);
    mem_free(job->parameter);
    mem_free(job->target);
    mem_free(job->tensors);
    mem_free(job->names);
    mem_free(job->parameters);
    mem_free(job->origin);
    mem_free(job);
    return status;
}
