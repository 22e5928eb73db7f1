/* See visualize.h: pictures and files from a panel. */
#include "gpu/eval/visualize.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/build.h"
#include "base/file.h"
#include "base/mem.h"
#include "gpu/eval/panel.h"
#include "gpu/eval/sheet.h"
#include "gpu/model/spec_json.h"

#define TILE_MIN      128u
#define CLIPPED       0.02 /* share of scores beyond each end of the colour scale */
#define NOT_PREDICTED (-1.0f)
#define ERROR_SCALE   1.0f /* cosine 0: the brightest colour */

struct visualize {
    struct engine_spec spec; /* with the checkpoint's model */
    struct checkpoint *checkpoint;
    struct panel panel;
    char folder[ENGINE_PATH_MAX + 16];
    json_t *files;
};

/* ---- Sheets ---------------------------------------------------------------------------------- */

static enum ij_status begin(const struct visualize *v, struct sheet *sheet, uint32_t columns,
                            struct ij_err *reterr_err)
{
    uint32_t crop = (uint32_t)v->panel.config.crop;
    uint32_t tile = crop * (crop < TILE_MIN ? TILE_MIN / crop : 1);
    return sheet_init(sheet, columns, v->panel.images, tile, (uint32_t)v->panel.config.grid,
                      reterr_err);
}

static enum ij_status end(struct visualize *v, struct sheet *sheet, const char *name,
                          struct ij_err *reterr_err)
{
    char path[ENGINE_PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", v->folder, name);
    enum ij_status status = sheet_save(sheet, path, reterr_err);
    sheet_done(sheet);
    json_array_append_new(v->files, json_string(name));
    return status;
}

static void put_image(const struct visualize *v, struct sheet *sheet, struct sheet_place at,
                      uint32_t bank_index)
{
    size_t side = (size_t)v->panel.config.crop;
    sheet_image(sheet, at, v->panel.pixels + bank_index * side * side * 3, (uint32_t)side);
}

static enum ij_status draw_masks(struct visualize *v, struct ij_err *reterr_err)
{
    const struct panel *p = &v->panel;
    uint32_t blocks = p->masks.rules.targets;
    size_t patches = (size_t)p->config.patches;
    struct sheet sheet;
    IJ_TRY(begin(v, &sheet, 2 + blocks, reterr_err));
    for (uint32_t i = 0; i < p->images; i++)
        for (uint32_t c = 0; c < 2 + blocks; c++) {
            put_image(v, &sheet, (struct sheet_place){i, c}, p->rows[i]);
            if (c == 1)
                sheet_fade(&sheet, (struct sheet_place){i, c}, p->context_mask + i * patches);
            if (c > 1)
                sheet_fade(&sheet, (struct sheet_place){i, c},
                           p->target_masks + (i * blocks + c - 2) * patches);
        }
    return end(v, &sheet, "masks.png", reterr_err);
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The scores between which a component's colour runs. */
static enum ij_status color_range(const struct panel *p, float low[PCA_COMPONENTS],
                                  float high[PCA_COMPONENTS], struct ij_err *reterr_err)
{
    size_t count = p->images * (size_t)p->config.patches;
    mem_auto float *sorted = mem_array(float, count);
    if (!sorted)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a colour scale");
    for (int k = 0; k < PCA_COMPONENTS; k++) {
        for (size_t i = 0; i < count; i++)
            sorted[i] = p->scores[i * PCA_COMPONENTS + (size_t)k];
        qsort(sorted, count, sizeof *sorted, compare_floats);
        low[k] = sorted[(size_t)(CLIPPED * (double)(count - 1))];
        high[k] = sorted[(size_t)((1 - CLIPPED) * (double)(count - 1))];
        if (high[k] <= low[k])
            high[k] = low[k] + 1;
    }
    return IJ_OK;
}

static enum ij_status draw_pca(struct visualize *v, struct ij_err *reterr_err)
{
    const struct panel *p = &v->panel;
    size_t values = (size_t)p->config.patches * PCA_COMPONENTS;
    float low[PCA_COMPONENTS], high[PCA_COMPONENTS];
    struct sheet sheet;
    mem_auto float *colors = mem_array(float, values);
    if (!colors)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a sheet");
    IJ_TRY(color_range(p, low, high, reterr_err));
    IJ_TRY(begin(v, &sheet, 3, reterr_err));
    for (uint32_t i = 0; i < p->images; i++) {
        const float *scores[] = {p->scores + i * values, p->context_scores + i * values};
        put_image(v, &sheet, (struct sheet_place){i, 0}, p->rows[i]);
        for (uint32_t c = 0; c < 2; c++) {
            for (size_t s = 0; s < values; s++)
                colors[s] = (scores[c][s] - low[s % PCA_COMPONENTS]) /
                            (high[s % PCA_COMPONENTS] - low[s % PCA_COMPONENTS]);
            sheet_color(&sheet, (struct sheet_place){i, c + 1}, colors);
        }
    }
    return end(v, &sheet, "pca.png", reterr_err);
}

static enum ij_status draw_error(struct visualize *v, struct ij_err *reterr_err)
{
    const struct panel *p = &v->panel;
    size_t patches = (size_t)p->config.patches;
    struct sheet sheet;
    IJ_TRY(begin(v, &sheet, 3, reterr_err));
    for (uint32_t i = 0; i < p->images; i++) {
        put_image(v, &sheet, (struct sheet_place){i, 0}, p->rows[i]);
        put_image(v, &sheet, (struct sheet_place){i, 1}, p->rows[i]);
        sheet_fade(&sheet, (struct sheet_place){i, 1}, p->context_mask + i * patches);
        sheet_heat(&sheet, (struct sheet_place){i, 2}, p->error + i * patches, 0, ERROR_SCALE);
    }
    return end(v, &sheet, "error.png", reterr_err);
}

static enum ij_status draw_similarity(struct visualize *v, struct ij_err *reterr_err)
{
    const struct panel *p = &v->panel;
    size_t patches = (size_t)p->config.patches;
    struct sheet sheet;
    IJ_TRY(begin(v, &sheet, 2 * PANEL_QUERIES, reterr_err));
    for (uint32_t i = 0; i < p->images; i++)
        for (uint32_t q = 0; q < PANEL_QUERIES; q++) {
            struct sheet_place image = {i, 2 * q}, heat = {i, 2 * q + 1};
            put_image(v, &sheet, image, p->rows[i]);
            sheet_mark(&sheet, image, panel_query(p, (int)q));
            sheet_heat(&sheet, heat, p->similarity + (i * PANEL_QUERIES + q) * patches, -1, 1);
        }
    return end(v, &sheet, "similarity.png", reterr_err);
}

/* The first target's patches at a place. */
static void block_mask(const struct panel *p, uint32_t image, const struct panel_neighbor *at,
                       uint8_t *ret_mask)
{
    uint32_t grid = (uint32_t)p->config.grid, count = p->masks.target_count;
    const int32_t *first = p->masks.targets + (size_t)image * count;
    struct panel_box box = panel_box(p, image);
    memset(ret_mask, 0, (size_t)grid * grid);
    for (uint32_t k = 0; k < count; k++)
        ret_mask[panel_moved(p, box, (uint32_t)first[k], at->row, at->column)] = 1;
}

static enum ij_status draw_neighbors(struct visualize *v, struct ij_err *reterr_err)
{
    const struct panel *p = &v->panel;
    size_t patches = (size_t)p->config.patches;
    struct sheet sheet;
    mem_auto uint8_t *mask = mem_array(uint8_t, patches);
    if (!mask)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a sheet");
    IJ_TRY(begin(v, &sheet, 2 + PANEL_NEIGHBORS, reterr_err));
    for (uint32_t i = 0; i < p->images; i++) {
        put_image(v, &sheet, (struct sheet_place){i, 0}, p->rows[i]);
        sheet_fade(&sheet, (struct sheet_place){i, 0}, p->context_mask + i * patches);
        put_image(v, &sheet, (struct sheet_place){i, 1}, p->rows[i]);
        sheet_fade(&sheet, (struct sheet_place){i, 1},
                   p->target_masks + (size_t)i * p->masks.rules.targets * patches);
        for (uint32_t k = 0; k < PANEL_NEIGHBORS; k++) {
            const struct panel_neighbor *n = &p->neighbors[i * PANEL_NEIGHBORS + k];
            if (n->cosine < -1)
                continue; /* fewer images in the bank */
            put_image(v, &sheet, (struct sheet_place){i, 2 + k}, n->image);
            block_mask(p, i, n, mask);
            sheet_fade(&sheet, (struct sheet_place){i, 2 + k}, mask);
        }
    }
    return end(v, &sheet, "neighbors.png", reterr_err);
}

static enum ij_status draw_all(struct visualize *v, struct ij_err *reterr_err)
{
    IJ_TRY(draw_masks(v, reterr_err));
    IJ_TRY(draw_pca(v, reterr_err));
    IJ_TRY(draw_similarity(v, reterr_err));
    if (!v->panel.predictor)
        return IJ_OK;
    IJ_TRY(draw_error(v, reterr_err));
    return draw_neighbors(v, reterr_err);
}

/* ---- Values ---------------------------------------------------------------------------------- */

static enum ij_status write_grids(struct visualize *v, struct ij_err *reterr_err)
{
    const struct panel *p = &v->panel;
    uint64_t n = p->images, patches = (uint64_t)p->config.patches;
    uint64_t width = (uint64_t)p->config.encoder.width;
    char path[ENGINE_PATH_MAX + 64];
    mem_auto float *error = mem_array(float, n *patches);
    mem_auto float *basis = mem_array(float, (PCA_COMPONENTS + 1) * width);
    if (!error || !basis)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the grids");
    for (uint64_t i = 0; i < n * patches; i++)
        error[i] = !p->predictor || isnan(p->error[i]) ? NOT_PREDICTED : p->error[i];
    for (uint64_t i = 0; i < width; i++)
        basis[i] = (float)p->pca.mean[i];
    for (uint64_t i = 0; i < PCA_COMPONENTS * width; i++)
        basis[width + i] = (float)p->pca.basis[i];
    const struct safetensors_tensor tensors[] = {
        {"pca_scores", SAFETENSORS_F32, 3, {n, patches, PCA_COMPONENTS}, p->scores, 0, 0},
        {"pca_context_scores", SAFETENSORS_F32, 3, {n, patches, 3}, p->context_scores, 0, 0},
        {"pca_mean", SAFETENSORS_F32, 1, {width}, basis, 0, 0},
        {"pca_basis", SAFETENSORS_F32, 2, {PCA_COMPONENTS, width}, basis + width, 0, 0},
        {"similarity", SAFETENSORS_F32, 3, {n, PANEL_QUERIES, patches}, p->similarity, 0, 0},
        {"context_mask", SAFETENSORS_U8, 2, {n, patches}, p->context_mask, 0, 0},
        {"target_masks",
         SAFETENSORS_U8,
         3,
         {n, p->masks.rules.targets, patches},
         p->target_masks,
         0,
         0},
        {"error", SAFETENSORS_F32, 2, {n, patches}, error, 0, 0}};
    const struct safetensors_content content = {tensors, COUNT_OF(tensors), NULL, 0};
    snprintf(path, sizeof path, "%s/grids.safetensors", v->folder);
    fd_auto int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return IJ_ERR_SYS(reterr_err, errno, path, "cannot create %s", path);
    return safetensors_write(fd, path, &content, NULL, reterr_err);
}

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

static json_t *describe(const struct visualize *v)
{
    const struct panel *p = &v->panel;
    json_t *images = json_array(), *queries = json_array();
    for (uint32_t i = 0; i < p->images; i++)
        json_array_append_new(images, describe_image(p, i));
    for (int q = 0; q < PANEL_QUERIES; q++)
        json_array_append_new(queries, json_integer((json_int_t)panel_query(p, q)));
    json_t *object =
        json_pack("{s:s, s:s, s:f, s:i, s:s, s:O, s:i, s:[f,f,f], s:s, s:o, s:o}", "kind",
                  "visualize", "checkpoint_sha256", checkpoint_get_info(v->checkpoint)->hash,
                  "epochs", checkpoint_get_state(v->checkpoint)->epochs_done, "grid",
                  (int)p->config.grid, "folder", v->folder, "files", v->files, "bank", (int)p->bank,
                  "pca_variance_share", p->pca.share[0], p->pca.share[1], p->pca.share[2], "build",
                  build_id(), "query_patches", queries, "images", images);
    if (object && p->predictor)
        json_object_set_new(object, "mean_error", json_real(mean_error(p)));
    return object;
}

static enum ij_status publish(struct visualize *v, const struct engine_sink *sink,
                              struct ij_err *reterr_err)
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
    if (status == IJ_OK && sink && sink->result) {
        status = sink->result(sink->user, "visualize", text);
        if (status != IJ_OK)
            status = IJ_ERR(reterr_err, status, "the host refused the result");
    }
    free(text);
    return status;
}

/* ---- The run --------------------------------------------------------------------------------- */

static enum ij_status run(struct visualize *v, struct backend *backend,
                          const struct engine_sink *sink, struct ij_err *reterr_err)
{
    struct eval_progress progress;
    IJ_TRY(checkpoint_open_newest(v->spec.eval.checkpoint, &v->checkpoint, reterr_err));
    IJ_TRY(spec_json_read_model(checkpoint_get_state(v->checkpoint)->parameters, &v->spec,
                                reterr_err));
    spec_json_read_masks(checkpoint_get_state(v->checkpoint)->parameters, &v->spec.masks);
    struct mask_sizes_rules rules = mask_sizes_from_spec(&v->spec);
    IJ_TRY(mask_sizes_check(&rules, reterr_err));
    snprintf(v->folder, sizeof v->folder, "%s/visualize", v->spec.directory);
    IJ_TRY(file_make_dirs(v->folder, 0755, reterr_err));
    eval_progress_init(&progress, sink, 0);
    IJ_TRY(panel_make(backend, &v->spec, v->checkpoint, &progress, &v->panel, reterr_err));
    IJ_TRY(draw_all(v, reterr_err));
    IJ_TRY(write_grids(v, reterr_err));
    return publish(v, sink, reterr_err);
}

enum ij_status visualize_run(struct backend *backend, const struct engine_spec *spec,
                             const struct engine_sink *sink, struct ij_err *reterr_err)
{
    struct visualize *v = mem_new(struct visualize);
    if (!v)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a visualisation");
    v->spec = *spec;
    v->files = json_array();
    enum ij_status status = run(v, backend, sink, reterr_err);
    panel_done(&v->panel);
    checkpoint_free(v->checkpoint);
    json_decref(v->files);
    mem_free(v);
    return status;
}
