/* See export.h. */
#include "gpu/interop/export.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/interop/export_text.h"
#include "gpu/interop/weight_names.h"
#include "gpu/model/positions.h"
#include "gpu/model/spec_json.h"

#define RESULT_MAX ((size_t)4 << 20)

struct export_job {
    const struct engine_export *options;
    struct checkpoint *checkpoint;
    struct engine_spec spec;
    struct vit_config config;
    struct layout layout;
    float *positions; /* (patches, width) */
    json_t *result;
    struct safetensors_tensor *tensors; /* views */
    char (*names)[WEIGHT_NAMES_MAX];
    size_t count;
};

/* ---- Input ----------------------------------------------------------------------------------- */

/* The result must be one of this checkpoint: a card must not praise another model's figures. */
static enum ij_status read_result(struct export_job *job, struct ij_err *reterr_err)
{
    const char *path = job->options->result;
    mem_auto char *text = NULL;
    size_t size;
    if (!path)
        return IJ_OK;
    IJ_TRY(file_read(path, RESULT_MAX, &text, &size, reterr_err));
    job->result = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    const json_t *about = json_object_get(job->result, "checkpoint");
    const char *hash = json_string_value(json_object_get(about, "sha256"));
    if (!hash)
        return IJ_ERR_FIELD(reterr_err, IJ_MALFORMED, path,
                            "%s is no result of an evaluation: it names no checkpoint", path);
    if (strcmp(hash, checkpoint_get_info(job->checkpoint)->hash) != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_CONFLICT, path,
                            "%s is about another checkpoint (%.16s...), not this one (%.16s...)",
                            path, hash, checkpoint_get_info(job->checkpoint)->hash);
    return IJ_OK;
}

static enum ij_status open_input(struct export_job *job, struct ij_err *reterr_err)
{
    IJ_TRY(checkpoint_open_newest(job->options->checkpoint, &job->checkpoint, reterr_err));
    IJ_TRY(spec_json_read_model(checkpoint_get_state(job->checkpoint)->parameters, &job->spec,
                                reterr_err));
    job->config = vit_config_from_spec(&job->spec);
    int64_t values = job->config.patches * job->config.encoder.width;
    IJ_TRY(layout_init(&job->layout, &job->config, reterr_err));
    size_t max = job->layout.count * WEIGHT_NAMES_PARTS_MAX + 1;
    job->tensors = mem_array(struct safetensors_tensor, max);
    job->names = mem_alloc_zero(max, sizeof *job->names);
    job->positions = mem_array(float, (size_t)values);
    if (!job->tensors || !job->names || !job->positions)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an export");
    positions_fill(job->config.grid, job->config.encoder.width, job->positions);
    return read_result(job, reterr_err);
}

/* ---- Tensors --------------------------------------------------------------------------------- */

static struct safetensors_tensor *append(struct export_job *job, const char *name)
{
    struct safetensors_tensor *tensor = &job->tensors[job->count];
    char *copy = job->names[job->count++];
    snprintf(copy, WEIGHT_NAMES_MAX, "%s", name);
    *tensor = (struct safetensors_tensor){.name = copy, .type = SAFETENSORS_F32};
    return tensor;
}

static enum ij_status append_encoder_tensor(struct export_job *job, enum weight_names_style style,
                                            const struct layout_tensor *t,
                                            struct ij_err *reterr_err)
{
    char target[LAYOUT_TARGET_NAME_MAX];
    struct weight_names names;
    uint64_t shape[LAYOUT_DIMS_MAX];
    const struct safetensors_tensor *source;
    layout_target_name(t, target);
    bool is_target = job->options->encoder == ENGINE_ENCODER_TARGET;
    IJ_TRY(safetensors_find_shaped(checkpoint_get_section(job->checkpoint, CHECKPOINT_MODEL),
                                   is_target ? target : t->name, t->dims, t->shape, &source,
                                   reterr_err));
    if (source->type != SAFETENSORS_F32)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, source->name, "%s is %s, not F32",
                            source->name, safetensors_type_name(source->type));
    weight_names_encoder(style, t, &names);
    weight_names_part_shape(&names, t, shape);
    for (int i = 0; i < names.parts; i++) {
        struct safetensors_tensor *part = append(job, names.names[i]);
        part->dims = t->dims;
        memcpy(part->shape, shape, (size_t)t->dims * sizeof *shape);
        part->data =
            (const char *)source->data + source->bytes / (uint64_t)names.parts * (uint64_t)i;
    }
    return IJ_OK;
}

static enum ij_status view_encoder(struct export_job *job, struct ij_err *reterr_err)
{
    enum weight_names_style style =
        job->options->format == ENGINE_FORMAT_HF ? WEIGHT_NAMES_HF : WEIGHT_NAMES_OFFICIAL;
    struct safetensors_tensor *table = append(job, weight_names_positions(style));
    table->dims = 3;
    table->shape[0] = 1;
    table->shape[1] = (uint64_t)job->config.patches;
    table->shape[2] = (uint64_t)job->config.encoder.width;
    table->data = job->positions;
    for (size_t i = 0; i < job->layout.count && job->layout.tensors[i].encoder; i++)
        IJ_TRY(append_encoder_tensor(job, style, &job->layout.tensors[i], reterr_err));
    return IJ_OK;
}

static enum ij_status write_tensors(struct export_job *job, struct ij_err *reterr_err)
{
    static const struct safetensors_pair metadata[] = {{"format", "pt"}, {"producer", "ijepad"}};
    struct safetensors_content content = {job->tensors, job->count, metadata, COUNT_OF(metadata)};
    mem_auto char *path = mem_printf("%s/model.safetensors", job->options->directory);
    if (!path)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an export");
    if (job->options->format == ENGINE_FORMAT_OFFICIAL) {
        const struct safetensors *all = checkpoint_get_section(job->checkpoint, CHECKPOINT_MODEL);
        content.tensors = safetensors_at(all, 0);
        content.count = safetensors_count(all);
    }
    fd_auto int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot create %s", path);
    IJ_TRY(safetensors_write(fd, path, &content, NULL, reterr_err));
    if (fsync(fd) < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot sync %s", path);
    return IJ_OK;
}

/* ---- Folder ---------------------------------------------------------------------------------- */

static enum ij_status make_folder(const char *path, struct ij_err *reterr_err)
{
    size_t entries = 0;
    IJ_TRY(file_make_dirs(path, 0755, reterr_err));
    DIR *directory = opendir(path);
    if (!directory)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot open %s", path);
    for (struct dirent *e = readdir(directory); e; e = readdir(directory))
        entries += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(directory);
    return entries == 0 ? IJ_OK
                        : IJ_ERR_FIELD(reterr_err, IJ_CONFLICT, path,
                                       "%s is not empty; nothing is overwritten", path);
}

static enum ij_status write_text(const struct export_job *job, const char *name, const char *text,
                                 struct ij_err *reterr_err)
{
    mem_auto char *path = mem_printf("%s/%s", job->options->directory, name);
    if (!path || !text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %s", name);
    return file_write_durable(path, text, strlen(text), 0644, reterr_err);
}

/* Takes the reference to `object`. */
static enum ij_status write_json(const struct export_job *job, const char *name, json_t *object,
                                 struct ij_err *reterr_err)
{
    char *text = json_dumps(object, JSON_INDENT(2) | JSON_SORT_KEYS | JSON_REAL_PRECISION(15));
    json_decref(object);
    enum ij_status status = write_text(job, name, text, reterr_err);
    free(text);
    return status;
}

static enum ij_status write_texts(struct export_job *job, struct ij_err *reterr_err)
{
    const struct export_text text = {job->options, &job->spec, &job->config, job->checkpoint,
                                     job->result};
    if (job->options->format == ENGINE_FORMAT_HF) {
        IJ_TRY(write_json(job, "config.json", export_text_hf_config(&text), reterr_err));
        IJ_TRY(write_json(job, "preprocessor_config.json", export_text_hf_preprocessor(&text),
                          reterr_err));
    } else if (job->options->format == ENGINE_FORMAT_TIMM) {
        IJ_TRY(write_json(job, "config.json", export_text_timm_config(&text), reterr_err));
    }
    mem_auto char *card = export_text_card(&text);
    return write_text(job, "README.md", card, reterr_err);
}

static enum ij_status report(const struct export_job *job, char **ret_json,
                             struct ij_err *reterr_err)
{
    static const char *const formats[] = {"hf", "timm", "official"};
    const char *encoder = job->options->format == ENGINE_FORMAT_OFFICIAL   ? "both"
                          : job->options->encoder == ENGINE_ENCODER_TARGET ? "target"
                                                                           : "context";
    size_t count = job->count;
    if (job->options->format == ENGINE_FORMAT_OFFICIAL)
        count = safetensors_count(checkpoint_get_section(job->checkpoint, CHECKPOINT_MODEL));
    json_t *object =
        json_pack("{s:s, s:s, s:s, s:I, s:s}", "directory", job->options->directory, "format",
                  formats[job->options->format], "encoder", encoder, "tensors", (json_int_t)count,
                  "checkpoint_sha256", checkpoint_get_info(job->checkpoint)->hash);
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    *ret_json = text ? mem_strdup(text) : NULL;
    free(text);
    json_decref(object);
    return *ret_json ? IJ_OK : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the report");
}

static enum ij_status run(struct export_job *job, char **ret_json, struct ij_err *reterr_err)
{
    IJ_TRY(open_input(job, reterr_err));
    if (job->options->format != ENGINE_FORMAT_OFFICIAL)
        IJ_TRY(view_encoder(job, reterr_err));
    IJ_TRY(make_folder(job->options->directory, reterr_err));
    IJ_TRY(write_tensors(job, reterr_err));
    IJ_TRY(write_texts(job, reterr_err));
    IJ_TRY(file_fsync_dir(job->options->directory, reterr_err));
    return report(job, ret_json, reterr_err);
}

enum ij_status export_run(const struct engine_export *options, char **ret_json,
                          struct ij_err *reterr_err)
{
    struct export_job *job = mem_new(struct export_job);
    if (!job)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an export");
    job->options = options;
    enum ij_status status = run(job, ret_json, reterr_err);
    layout_done(&job->layout);
    checkpoint_free(job->checkpoint);
    json_decref(job->result);
    mem_free(job->tensors);
    mem_free(job->names);
    mem_free(job->positions);
    mem_free(job);
    return status;
}
