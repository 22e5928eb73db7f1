/* See extract.h. */
#include "gpu/eval/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/build.h"
#include "base/file.h"
#include "base/mem.h"
#include "gpu/data/loader.h"
#include "gpu/eval/eval_progress.h"
#include "gpu/eval/features.h"
#include "gpu/interop/npy.h"
#include "gpu/model/frozen.h"
#include "gpu/model/spec_json.h"

#define BATCH_MAX 128

static const char *const split_names[] = {"train", "eval"};
static const char *const kind_names[] = {"pooled", "concat4", "patches"};

struct extract {
    struct engine_spec spec; /* with the checkpoint's model */
    const struct engine_sink *sink;
    struct backend *backend;
    struct checkpoint *checkpoint; /* NULL: random weights */
    struct frozen *frozen;
    struct eval_progress progress;
    struct dataset *datasets[2];
    char folder[ENGINE_PATH_MAX + 16];
    int64_t batch, row; /* row: values of one image */
    float *last, *rows; /* (batch, width), (batch, row) */
    json_t *outputs;
};

/* One split on its way to its files. */
struct extract_split {
    enum dataset_split split;
    struct dataset *dataset;
    struct loader *loader;
    size_t count;
    char path[ENGINE_PATH_MAX + 64]; /* of the .npy */
    int fd;
    int32_t *labels;
    uint64_t *samples;
    int dims;
    uint64_t shape[3];
};

/* ---- Set-up ---------------------------------------------------------------------------------- */

static enum ij_status open_model(struct extract *x, struct ij_err *reterr_err)
{
    const struct engine_eval *eval = &x->spec.eval;
    if (eval->checkpoint[0]) {
        IJ_TRY(checkpoint_open_newest(eval->checkpoint, &x->checkpoint, reterr_err));
        IJ_TRY(spec_json_read_eval(checkpoint_get_state(x->checkpoint)->parameters, &x->spec,
                                   reterr_err));
    }
    const struct vit_config config = vit_config_from_spec(&x->spec);
    int64_t per_image[] = {1, FROZEN_CONCAT_BLOCKS, config.patches};
    x->batch = eval->batch < BATCH_MAX ? eval->batch : BATCH_MAX;
    x->row = per_image[eval->features] * config.encoder.width;
    x->last = mem_array(float, (size_t)(x->batch * config.encoder.width));
    x->rows = mem_array(float, (size_t)(x->batch * x->row));
    if (!x->last || !x->rows)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a batch of features");
    IJ_TRY(frozen_new(x->backend, &config, x->batch, &x->frozen, reterr_err));
    if (!x->checkpoint)
        return frozen_set_random(x->frozen, x->spec.seed, reterr_err);
    return frozen_set_checkpoint(x->frozen, x->checkpoint, eval->encoder, reterr_err);
}

static bool is_wanted(const struct extract *x, int split)
{
    return x->spec.eval.splits == ENGINE_SPLITS_BOTH ||
           (x->spec.eval.splits == ENGINE_SPLITS_TRAIN) == (split == DATASET_TRAIN);
}

static enum ij_status open_data(struct extract *x, struct ij_err *reterr_err)
{
    uint64_t images = 0;
    for (int s = 0; s < 2; s++) {
        if (!is_wanted(x, s))
            continue;
        IJ_TRY(
            dataset_open_any(&x->spec.data, (enum dataset_split)s, &x->datasets[s], reterr_err));
        images += dataset_count(x->datasets[s]);
    }
    snprintf(x->folder, sizeof x->folder, "%s/features", x->spec.directory);
    eval_progress_init(&x->progress, x->sink, images);
    return file_make_dirs(x->folder, 0755, reterr_err);
}

/* ---- Files ----------------------------------------------------------------------------------- */

static enum ij_status create(const char *path, int *ret_fd, struct ij_err *reterr_err)
{
    *ret_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return *ret_fd >= 0 ? IJ_OK : IJ_ERR_SYS(reterr_err, errno, path, "cannot create %s", path);
}

static enum ij_status begin_split(struct extract *x, struct extract_split *s,
                                  struct ij_err *reterr_err)
{
    uint64_t width = x->spec.model.width;
    s->count = dataset_count(s->dataset);
    s->labels = mem_array(int32_t, s->count);
    s->samples = mem_array(uint64_t, s->count);
    if (!s->labels || !s->samples)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu labels", s->count);
    s->shape[0] = s->count;
    s->dims = x->spec.eval.features == ENGINE_FEATURES_PATCHES ? 3 : 2;
    s->shape[1] = s->dims == 3 ? (uint64_t)x->row / width : (uint64_t)x->row;
    s->shape[2] = width;
    snprintf(s->path, sizeof s->path, "%s/%s.npy", x->folder, split_names[s->split]);
    IJ_TRY(create(s->path, &s->fd, reterr_err));
    return npy_write_header(s->fd, s->path, NPY_F32, s->dims, s->shape, reterr_err);
}

static enum ij_status write_labels(const struct extract *x, const struct extract_split *s,
                                   struct ij_err *reterr_err)
{
    char path[ENGINE_PATH_MAX + 64];
    fd_auto int fd = -1;
    snprintf(path, sizeof path, "%s/%s.labels.npy", x->folder, split_names[s->split]);
    IJ_TRY(create(path, &fd, reterr_err));
    IJ_TRY(npy_write_header(fd, path, NPY_I32, 1, s->shape, reterr_err));
    return file_write_all(fd, s->labels, s->count * sizeof *s->labels, path, reterr_err);
}

/* From the finished .npy, mapped. */
static enum ij_status write_safetensors(const struct extract *x, const struct extract_split *s,
                                        struct ij_err *reterr_err)
{
    static const struct safetensors_pair metadata[] = {{"producer", "ijepad"}};
    char path[ENGINE_PATH_MAX + 64];
    fd_auto int fd = -1;
    size_t bytes = NPY_HEADER_BYTES + s->count * (size_t)x->row * sizeof(float);
    snprintf(path, sizeof path, "%s/%s.safetensors", x->folder, split_names[s->split]);
    IJ_TRY(create(path, &fd, reterr_err));
    char *map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, s->fd, 0);
    if (map == MAP_FAILED)
        return IJ_ERR_SYS(reterr_err, errno, s->path, "cannot map %s", s->path);
    const struct safetensors_tensor tensors[] = {{.name = "features",
                                                  .type = SAFETENSORS_F32,
                                                  .dims = s->dims,
                                                  .shape = {s->shape[0], s->shape[1], s->shape[2]},
                                                  .data = map + NPY_HEADER_BYTES},
                                                 {.name = "labels",
                                                  .type = SAFETENSORS_I32,
                                                  .dims = 1,
                                                  .shape = {s->count},
                                                  .data = s->labels}};
    const struct safetensors_content content = {tensors, COUNT_OF(tensors), metadata,
                                                COUNT_OF(metadata)};
    enum ij_status status = safetensors_write(fd, path, &content, NULL, reterr_err);
    munmap(map, bytes);
    return status;
}

/* Takes the reference to `object`. */
static enum ij_status write_json(const char *path, json_t *object, struct ij_err *reterr_err)
{
    char *text = json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(15));
    json_decref(object);
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY,
                      "cannot write %s: no memory, or a name that is not UTF-8", path);
    enum ij_status status = file_write_durable(path, text, strlen(text), 0644, reterr_err);
    free(text);
    return status;
}

static json_t *describe(const struct extract *x, const struct extract_split *s)
{
    const double *mean = x->spec.data.mean, *std = x->spec.data.std;
    json_t *names = json_array(), *classes = json_array();
    for (size_t i = 0; i < s->count; i++)
        json_array_append_new(names, json_string(dataset_name(s->dataset, s->samples[i])));
    for (size_t i = 0; i < dataset_class_count(s->dataset); i++)
        json_array_append_new(classes, json_string(dataset_class_name(s->dataset, i)));
    return json_pack(
        "{s:s, s:s, s:s?, s:s, s:[f,f,f], s:[f,f,f], s:i, s:s, s:s, s:o, s:o}", "features",
        kind_names[x->spec.eval.features], "encoder",
        x->spec.eval.encoder == ENGINE_ENCODER_TARGET ? "target" : "context", "checkpoint_sha256",
        x->checkpoint ? checkpoint_get_info(x->checkpoint)->hash : NULL, "dataset_fingerprint",
        dataset_fingerprint(s->dataset), "mean", mean[0], mean[1], mean[2], "std", std[0], std[1],
        std[2], "crop", (int)x->spec.data.crop, "view",
        dataset_is_scene(s->dataset) ? "stretched, bicubic"
                                     : "shorter side to crop * 256 / 224, bicubic, centre",
        "build", build_id(), "classes", classes, "names", names);
}

static enum ij_status end_split(struct extract *x, const struct extract_split *s,
                                struct ij_err *reterr_err)
{
    char path[ENGINE_PATH_MAX + 64];
    struct loader_bad bad;
    loader_bad(s->loader, &bad);
    IJ_TRY(write_labels(x, s, reterr_err));
    IJ_TRY(write_safetensors(x, s, reterr_err));
    snprintf(path, sizeof path, "%s/%s.json", x->folder, split_names[s->split]);
    IJ_TRY(write_json(path, describe(x, s), reterr_err));
    json_t *shape = json_array();
    for (int i = 0; i < s->dims; i++)
        json_array_append_new(shape, json_integer((json_int_t)s->shape[i]));
    json_object_set_new(x->outputs, split_names[s->split],
                        json_pack("{s:s, s:o, s:I}", "file", s->path, "shape", shape, "bad_images",
                                  (json_int_t)bad.count));
    return IJ_OK;
}

/* ---- Passes ---------------------------------------------------------------------------------- */

static enum ij_status write_batch(struct extract *x, struct extract_split *s,
                                  const struct loader_batch *batch, size_t done,
                                  struct ij_err *reterr_err)
{
    enum engine_features kind = x->spec.eval.features;
    size_t images = batch->count < s->count - done ? batch->count : s->count - done;
    IJ_TRY(frozen_features(x->frozen, batch->pixels, (int64_t)images, x->last,
                           kind == ENGINE_FEATURES_CONCAT4 ? x->rows : NULL,
                           kind == ENGINE_FEATURES_PATCHES ? x->rows : NULL, reterr_err));
    memcpy(s->labels + done, batch->labels, images * sizeof *s->labels);
    memcpy(s->samples + done, batch->samples, images * sizeof *s->samples);
    const float *rows = kind == ENGINE_FEATURES_POOLED ? x->last : x->rows;
    IJ_TRY(
        file_write_all(s->fd, rows, images * (size_t)x->row * sizeof(float), s->path, reterr_err));
    return eval_progress_add(&x->progress, images, "evaluating", reterr_err);
}

static enum ij_status pass(struct extract *x, struct extract_split *s, struct ij_err *reterr_err)
{
    struct loader_options options = loader_options_eval(&x->spec.data, s->dataset);
    options.batch = (uint32_t)x->batch;
    options.seed = x->spec.seed;
    IJ_TRY(begin_split(x, s, reterr_err));
    IJ_TRY(loader_new(s->dataset, &options, &s->loader, reterr_err));
    for (size_t done = 0; done < s->count;) {
        const struct loader_batch *batch = NULL;
        IJ_TRY(loader_next(s->loader, &batch, reterr_err));
        size_t images = batch->count;
        enum ij_status status = write_batch(x, s, batch, done, reterr_err);
        loader_release(s->loader);
        IJ_TRY(status);
        done += images;
    }
    return end_split(x, s, reterr_err);
}

static enum ij_status run_split(struct extract *x, int split, struct ij_err *reterr_err)
{
    struct extract_split s = {
        .split = (enum dataset_split)split, .dataset = x->datasets[split], .fd = -1};
    enum ij_status status = pass(x, &s, reterr_err);
    loader_free(s.loader);
    mem_free(s.labels);
    mem_free(s.samples);
    if (s.fd >= 0)
        close(s.fd);
    return status;
}

static enum ij_status publish(struct extract *x, struct ij_err *reterr_err)
{
    char path[ENGINE_PATH_MAX + 16];
    json_t *result = json_pack("{s:s, s:s, s:s?, s:O}", "kind", "features", "features",
                               kind_names[x->spec.eval.features], "checkpoint_sha256",
                               x->checkpoint ? checkpoint_get_info(x->checkpoint)->hash : NULL,
                               "splits", x->outputs);
    char *text = json_dumps(result, JSON_COMPACT);
    enum ij_status status = IJ_OK;
    if (text && x->sink && x->sink->result)
        status = x->sink->result(x->sink->user, "features", text);
    free(text);
    snprintf(path, sizeof path, "%s/result.json", x->spec.directory);
    enum ij_status written = write_json(path, result, reterr_err);
    if (status != IJ_OK)
        return IJ_ERR(reterr_err, status, "the host refused the result");
    return written;
}

static enum ij_status run(struct extract *x, struct ij_err *reterr_err)
{
    IJ_TRY(open_model(x, reterr_err));
    IJ_TRY(open_data(x, reterr_err));
    for (int s = 0; s < 2; s++)
        if (x->datasets[s])
            IJ_TRY(run_split(x, s, reterr_err));
    return publish(x, reterr_err);
}

enum ij_status extract_run(struct backend *backend, const struct engine_spec *spec,
                           const struct engine_sink *sink, struct ij_err *reterr_err)
{
    struct extract *x = mem_new(struct extract);
    if (!x)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to extract features");
    x->spec = *spec;
    x->backend = backend;
    x->sink = sink;
    x->outputs = json_object();
    enum ij_status status = run(x, reterr_err);
    frozen_free(x->frozen);
    checkpoint_free(x->checkpoint);
    for (int s = 0; s < 2; s++)
        dataset_free(x->datasets[s]);
    json_decref(x->outputs);
    mem_free(x->last);
    mem_free(x->rows);
    mem_free(x);
    return status;
}
