/* See visualize.h: which checkpoints, in which order, and what is told of them. */
#include "gpu/eval/visualize.h"

#include <jansson.h>
#include <libgen.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/build.h"
#include "base/file.h"
#include "base/mem.h"
#include "gpu/eval/panel_grids.h"
#include "gpu/eval/panel_sheets.h"
#include "gpu/model/spec_json.h"

#define SUFFIX_MAX 32

/* One checkpoint being looked at, and what there is of all. */
struct visualize {
    struct engine_spec spec; /* with the checkpoint's model */
    const struct engine_sink *sink;
    struct checkpoint *checkpoint;
    struct panel panel;
    struct panel_decode decoded;
    bool has_decoded;
    char folder[ENGINE_PATH_MAX + 16], suffix[SUFFIX_MAX];
    json_t *files, *seen; /* of this checkpoint; objects, oldest first */
};

/* ---- What is told ---------------------------------------------------------------------------- */

static const char *name_of(const struct panel *p, uint32_t bank_index)
{
    return dataset_name(p->dataset, p->samples[bank_index]);
}

static json_t *describe_image(const struct panel *p, uint32_t i)
{
    json_t *neighbors = json_array();
    for (int k = 0; p->predictor && k < PANEL_NEIGHBORS; k++) {
        const struct panel_neighbor *n = &p->neighbors[(size_t)i * PANEL_NEIGHBORS + (size_t)k];
        if (n->cosine >= -1)
            json_array_append_new(neighbors,
                                  json_pack("{s:s, s:i, s:i, s:f}", "name", name_of(p, n->image),
                                            "row", (int)n->row, "column", (int)n->column, "cosine",
                                            (double)n->cosine));
    }
    return json_pack("{s:s, s:o}", "name", name_of(p, p->rows[i]), "neighbors", neighbors);
}

static double mean_error(const struct panel *p)
{
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < p->images * (size_t)p->config.patches; i++)
        if (!isnan(p->error[i])) {
            sum += (double)p->error[i];
            count++;
        }
    return count ? sum / (double)count : 0;
}

static json_t *describe_decoder(const struct panel_decode *d)
{
    return json_pack("{s:I, s:f, s:f, s:f, s:f}", "patches", (json_int_t)d->patches, "lambda",
                     d->lambda, "explained_set_aside", d->fit, "explained_from_targets",
                     d->target_share, "explained_from_predictions", d->prediction_share);
}

/* One checkpoint of those looked at. */
static json_t *describe_checkpoint(const struct visualize *v)
{
    const struct panel *p = &v->panel;
    const struct checkpoint_info *info = checkpoint_get_info(v->checkpoint);
    json_t *object =
        json_pack("{s:I, s:f, s:s, s:o, s:O, s:[f,f,f]}", "step", (json_int_t)info->step, "epochs",
                  checkpoint_get_state(v->checkpoint)->epochs_done, "sha256", info->hash, "grids",
                  json_sprintf("grids%s.safetensors", v->suffix), "files", v->files,
                  "pca_variance_share", p->pca.share[0], p->pca.share[1], p->pca.share[2]);
    if (object && p->predictor)
        json_object_set_new(object, "mean_error", json_real(mean_error(p)));
    if (object && v->has_decoded)
        json_object_set_new(object, "decoder", describe_decoder(&v->decoded));
    return object;
}

/* The newest checkpoint's figures, and the list of all. */
static json_t *describe(const struct visualize *v)
{
    const struct panel *p = &v->panel;
    json_t *images = json_array(), *queries = json_array();
    for (uint32_t i = 0; i < p->images; i++)
        json_array_append_new(images, describe_image(p, i));
    for (int q = 0; q < PANEL_QUERIES; q++)
        json_array_append_new(queries, json_integer((json_int_t)panel_query(p, q)));
    json_t *object = json_pack(
        "{s:s, s:s, s:f, s:i, s:i, s:s, s:O, s:i, s:[f,f,f], s:s, s:o, s:o, s:O}", "kind",
        "visualize", "checkpoint_sha256", checkpoint_get_info(v->checkpoint)->hash, "epochs",
        checkpoint_get_state(v->checkpoint)->epochs_done, "grid", (int)p->config.grid, "crop",
        (int)p->config.crop, "folder", v->folder, "files", v->files, "bank", (int)p->bank,
        "pca_variance_share", p->pca.share[0], p->pca.share[1], p->pca.share[2], "build",
        build_id(), "query_patches", queries, "images", images, "checkpoints", v->seen);
    if (object && p->predictor)
        json_object_set_new(object, "mean_error", json_real(mean_error(p)));
    if (object && v->has_decoded)
        json_object_set_new(object, "decoder", describe_decoder(&v->decoded));
    return object;
}

static enum ij_status publish(struct visualize *v, struct ij_err *reterr_err)
{
    char path[ENGINE_PATH_MAX + 64];
    json_t *object = describe(v);
    char *text = object ? json_dumps(object, JSON_INDENT(1) | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(object);
    if (!text)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY,
                      "cannot describe the sheets: no memory, or a name that is not UTF-8");
    snprintf(path, sizeof path, "%s/visualize.json", v->folder);
    enum ij_status status = file_write_durable(path, text, strlen(text), 0644, reterr_err);
    if (status == IJ_OK && v->sink && v->sink->result) {
        status = v->sink->result(v->sink->user, "visualize", text);
        if (status != IJ_OK)
            status = IJ_ERR(reterr_err, status, "the host refused the result");
    }
    free(text);
    return status;
}

/* ---- One checkpoint -------------------------------------------------------------------------- */

static void forget(struct visualize *v)
{
    panel_done(&v->panel);
    panel_decode_done(&v->decoded);
    checkpoint_free(v->checkpoint);
    json_decref(v->files);
    v->checkpoint = NULL;
    v->files = NULL;
    v->has_decoded = false;
}

/* Without a predictor, or images to fit on that are not shown, there is nothing to decode. */
static enum ij_status decode(struct visualize *v, struct ij_err *reterr_err)
{
    const struct panel *p = &v->panel;
    uint64_t patches = (uint64_t)(p->bank - p->images) * (uint64_t)p->config.patches;
    if (!p->predictor || patches < 20)
        return IJ_OK;
    enum ij_status status = panel_decode_make(p, &v->decoded, reterr_err);
    v->has_decoded = status == IJ_OK;
    return status == IJ_DATA ? IJ_OK : status; /* features that are all the same: a collapse */
}

/* Looks at the open checkpoint; its grids become the reference of the next one's colours. */
static enum ij_status look(struct visualize *v, struct backend *backend, struct ij_err *reterr_err)
{
    struct eval_progress progress;
    const char *parameters = checkpoint_get_state(v->checkpoint)->parameters;
    char path[sizeof v->folder + 64];
    v->files = json_array();
    IJ_TRY(spec_json_read_model(parameters, &v->spec, reterr_err));
    spec_json_read_masks(parameters, &v->spec.masks);
    struct mask_sizes_rules rules = mask_sizes_from_spec(&v->spec);
    IJ_TRY(mask_sizes_check(&rules, reterr_err));
    eval_progress_init(&progress, v->sink, 0);
    IJ_TRY(panel_make(backend, &v->spec, v->checkpoint, &progress, &v->panel, reterr_err));
    IJ_TRY(decode(v, reterr_err));
    const struct panel_sheets sheets = {.panel = &v->panel,
                                        .decoded = v->has_decoded ? &v->decoded : NULL,
                                        .folder = v->folder,
                                        .suffix = v->suffix,
                                        .files = v->files};
    IJ_TRY(panel_sheets_draw(&sheets, reterr_err));
    snprintf(path, sizeof path, "%s/grids%s.safetensors", v->folder, v->suffix);
    IJ_TRY(panel_grids_write(&v->panel, sheets.decoded, path, reterr_err));
    if (strlen(path) < sizeof v->spec.eval.reference)
        snprintf(v->spec.eval.reference, sizeof v->spec.eval.reference, "%s", path);
    json_array_append_new(v->seen, describe_checkpoint(v));
    return IJ_OK;
}

/* ---- The checkpoints of a run ---------------------------------------------------------------- */

/* The run directory that holds the open checkpoint. False: it lies elsewhere. */
static bool run_of(const struct visualize *v, char ret_run[CHECKPOINT_PATH_MAX])
{
    char path[CHECKPOINT_PATH_MAX], own[CHECKPOINT_PATH_MAX];
    const struct checkpoint_info *info = checkpoint_get_info(v->checkpoint);
    snprintf(path, sizeof path, "%s", info->path);
    snprintf(ret_run, CHECKPOINT_PATH_MAX, "%s", dirname(dirname(path)));
    return checkpoint_path(ret_run, info->step, own, NULL) == IJ_OK && strcmp(own, info->path) == 0;
}

/* `history` - 1 steps before the newest, evenly chosen and the oldest among them; moves them to the
 * front and returns how many. */
static size_t choose(uint64_t *steps, size_t count, uint64_t newest, size_t history)
{
    size_t before = 0, wanted = history - 1;
    while (before < count && steps[before] < newest)
        before++;
    if (before <= wanted)
        return before;
    for (size_t i = 0; i < wanted; i++)
        steps[i] = steps[i * before / wanted];
    return wanted;
}

static enum ij_status look_back(struct visualize *v, struct backend *backend, const char *run,
                                const uint64_t *steps, size_t count, struct ij_err *reterr_err)
{
    for (size_t i = 0; i < count; i++) {
        char path[CHECKPOINT_PATH_MAX];
        forget(v);
        IJ_TRY(checkpoint_path(run, steps[i], path, reterr_err));
        if (checkpoint_open(path, CHECKPOINT_CHECK_ALL, &v->checkpoint, reterr_err) != IJ_OK)
            continue; /* removed meanwhile, or damaged */
        snprintf(v->suffix, sizeof v->suffix, "-%012llu", (unsigned long long)steps[i]);
        IJ_TRY(look(v, backend, reterr_err));
    }
    return IJ_OK;
}

/* Looks at the older checkpoints that are wanted, oldest first. The newest stays named in *path. */
static enum ij_status look_at_history(struct visualize *v, struct backend *backend,
                                      char path[CHECKPOINT_PATH_MAX], struct ij_err *reterr_err)
{
    char run[CHECKPOINT_PATH_MAX];
    mem_auto uint64_t *steps = NULL;
    size_t count = 0;
    uint64_t newest = checkpoint_get_info(v->checkpoint)->step;
    snprintf(path, CHECKPOINT_PATH_MAX, "%s", checkpoint_get_info(v->checkpoint)->path);
    if (v->spec.eval.history < 2 || !run_of(v, run))
        return IJ_OK;
    IJ_TRY(checkpoint_list(run, &steps, &count, reterr_err));
    count = choose(steps, count, newest, v->spec.eval.history);
    return look_back(v, backend, run, steps, count, reterr_err);
}

static enum ij_status run(struct visualize *v, struct backend *backend, struct ij_err *reterr_err)
{
    char path[CHECKPOINT_PATH_MAX];
    snprintf(v->folder, sizeof v->folder, "%s/visualize", v->spec.directory);
    IJ_TRY(file_make_dirs(v->folder, 0755, reterr_err));
    IJ_TRY(checkpoint_open_newest(v->spec.eval.checkpoint, &v->checkpoint, reterr_err));
    IJ_TRY(look_at_history(v, backend, path, reterr_err));
    forget(v);
    v->suffix[0] = '\0';
    IJ_TRY(checkpoint_open_newest(path, &v->checkpoint, reterr_err));
    IJ_TRY(look(v, backend, reterr_err));
    return publish(v, reterr_err);
}

enum ij_status visualize_run(struct backend *backend, const struct engine_spec *spec,
                             const struct engine_sink *sink, struct ij_err *reterr_err)
{
    struct visualize *v = mem_new(struct visualize);
    if (!v)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a visualisation");
    v->spec = *spec;
    v->sink = sink;
    v->seen = json_array();
    enum ij_status status = run(v, backend, reterr_err);
    forget(v);
    json_decref(v->seen);
    mem_free(v);
    return status;
}
