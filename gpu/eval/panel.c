/* See panel.h. */
#include "gpu/eval/panel.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/data/loader.h"
#include "gpu/eval/features.h"
#include "gpu/train/train_init.h"

/* ---- Model and images ------------------------------------------------------------------------ */

static enum ij_status open_model(struct panel *p, struct backend *backend,
                                 const struct checkpoint *checkpoint, struct ij_err *reterr_err)
{
    struct mask_sizes_rules rules = mask_sizes_from_spec(p->spec);
    struct predictor_limits limits;
    IJ_TRY(masks_init(&p->masks, &rules, p->spec->seed, p->images, reterr_err));
    IJ_TRY(ijepa_limits(&rules, p->images, &limits, reterr_err));
    limits.context_rows = limits.images * limits.context_count; /* all are shown at once */
    IJ_TRY(trainer_new(backend, &p->config, &limits, TENSOR_U8, &p->trainer, reterr_err));
    return train_init_weights(p->trainer, checkpoint, TRAIN_INIT_AS_IS, &p->predictor, reterr_err);
}

static enum ij_status allocate(struct panel *p, struct ij_err *reterr_err)
{
    size_t n = p->images, patches = (size_t)p->config.patches;
    size_t values = n * patches * (size_t)p->config.encoder.width;
    size_t side = (size_t)p->config.crop;
    p->rows = mem_array(uint32_t, n);
    p->samples = mem_array(uint64_t, p->bank);
    p->pixels = mem_alloc_zero(p->bank, side * side * 3);
    p->bank_tokens = mem_alloc_zero(p->bank, values / n * sizeof(float));
    p->target = mem_array(float, values);
    p->context = mem_array(float, values);
    p->scores = mem_array(float, n *patches *PCA_COMPONENTS);
    p->context_scores = mem_array(float, n *patches *PCA_COMPONENTS);
    p->context_mask = mem_array(uint8_t, n * patches);
    p->target_masks = mem_array(uint8_t, n * patches * ENGINE_TARGETS_MAX);
    p->error = mem_array(float, n *patches);
    p->predicted = mem_alloc_zero(n * patches, (size_t)p->config.encoder.width * sizeof(float));
    p->similarity = mem_array(float, n *patches *PANEL_QUERIES);
    p->attention = mem_array(float, n *patches *(size_t)p->config.encoder.heads);
    p->neighbors = mem_array(struct panel_neighbor, n * PANEL_NEIGHBORS);
    if (!p->rows || !p->samples || !p->pixels || !p->bank_tokens || !p->target || !p->context ||
        !p->scores || !p->context_scores || !p->context_mask || !p->target_masks || !p->error ||
        !p->predicted || !p->similarity || !p->attention || !p->neighbors)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %u images and their features",
                      p->bank);
    for (uint32_t i = 0; i < p->images; i++)
        p->rows[i] = (uint32_t)((uint64_t)i * p->bank / p->images);
    return IJ_OK;
}

static enum ij_status open_data(struct panel *p, struct ij_err *reterr_err)
{
    struct engine_data data = p->spec->data;
    uint32_t bank =
        p->spec->eval.bank > p->spec->eval.images ? p->spec->eval.bank : p->spec->eval.images;
    if (data.eval_limit == 0 || data.eval_limit > bank)
        data.eval_limit = bank;
    IJ_TRY(dataset_open_any(&data, DATASET_EVAL, &p->dataset, reterr_err));
    p->bank = (uint32_t)dataset_count(p->dataset);
    p->images = p->spec->eval.images < p->bank ? p->spec->eval.images : p->bank;
    return IJ_OK;
}

/* The weightless layer norm of the targets, so that predictions compare with it. */
static void normalize(float *token, int64_t width)
{
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < width; i++)
        mean += (double)token[i] / (double)width;
    for (int64_t i = 0; i < width; i++)
        variance += ((double)token[i] - mean) * ((double)token[i] - mean) / (double)width;
    double scale = 1 / sqrt(variance + (double)VIT_CONFIG_TARGET_EPS);
    for (int64_t i = 0; i < width; i++)
        token[i] = (float)(((double)token[i] - mean) * scale);
}

/* Of the images of a batch that are shown. */
static enum ij_status add_attention(struct panel *p, struct frozen *frozen, size_t done,
                                    size_t count, struct ij_err *reterr_err)
{
    size_t values = (size_t)(p->config.encoder.heads * p->config.patches);
    for (uint32_t i = 0; i < p->images; i++)
        if (p->rows[i] >= done && p->rows[i] < done + count)
            IJ_TRY(frozen_attention(frozen, (int64_t)(p->rows[i] - done), p->attention + i * values,
                                    reterr_err));
    return IJ_OK;
}

static enum ij_status add_batch(struct panel *p, struct frozen *frozen, float *pooled,
                                const struct loader_batch *batch, size_t done,
                                struct ij_err *reterr_err)
{
    size_t side = (size_t)p->config.crop, patches = (size_t)p->config.patches;
    size_t width = (size_t)p->config.encoder.width;
    float *tokens = p->bank_tokens + done * patches * width;
    memcpy(p->pixels + done * side * side * 3, batch->pixels, batch->count * side * side * 3);
    memcpy(p->samples + done, batch->samples, batch->count * sizeof *p->samples);
    IJ_TRY(frozen_features(frozen, batch->pixels, batch->count, pooled, NULL, tokens, reterr_err));
    for (size_t t = 0; t < batch->count * patches; t++)
        normalize(tokens + t * width, (int64_t)width);
    return add_attention(p, frozen, done, batch->count, reterr_err);
}

static enum ij_status fill_bank(struct panel *p, struct frozen *frozen,
                                struct eval_progress *progress, struct ij_err *reterr_err)
{
    struct loader *loader = NULL;
    struct loader_options options = loader_options_eval(&p->spec->data, p->dataset);
    mem_auto float *pooled = mem_array(float, (size_t)(PANEL_BANK_BATCH * p->config.encoder.width));
    enum ij_status status = IJ_OK;
    options.batch = PANEL_BANK_BATCH;
    options.seed = p->spec->seed;
    if (!pooled)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a batch of features");
    IJ_TRY(loader_new(p->dataset, &options, &loader, reterr_err));
    for (size_t done = 0; status == IJ_OK && done < p->bank;) {
        const struct loader_batch *batch = NULL;
        size_t images = 0;
        status = loader_next(loader, &batch, reterr_err);
        if (status == IJ_OK) {
            images = batch->count;
            status = add_batch(p, frozen, pooled, batch, done, reterr_err);
            loader_release(loader);
        }
        if (status == IJ_OK)
            status = eval_progress_add(progress, images, "evaluating", reterr_err);
        done += images;
    }
    loader_free(loader);
    return status;
}

static enum ij_status make_bank(struct panel *p, struct backend *backend,
                                struct eval_progress *progress, struct ij_err *reterr_err)
{
    struct frozen *frozen = NULL;
    IJ_TRY(frozen_new(backend, &p->config, PANEL_BANK_BATCH, &frozen, reterr_err));
    frozen_set_borrowed(frozen, p->trainer->arenas[TRAINER_TARGET], p->trainer->target_bf16);
    enum ij_status status = fill_bank(p, frozen, progress, reterr_err);
    frozen_free(frozen);
    return status;
}

/* ---- The model's view of the rows ------------------------------------------------------------ */

static void keep_masks(struct panel *p)
{
    const struct masks *m = &p->masks;
    size_t patches = (size_t)p->config.patches;
    for (uint32_t i = 0; i < p->images; i++) {
        for (uint32_t k = 0; k < m->context_count; k++)
            p->context_mask[i * patches + (size_t)m->context[i * m->context_count + k]] = 1;
        for (uint32_t b = 0; b < m->rules.targets; b++)
            for (uint32_t k = 0; k < m->target_count; k++) {
                int32_t patch = m->targets[(b * p->images + i) * m->target_count + k];
                p->target_masks[(i * m->rules.targets + b) * patches + (size_t)patch] = 1;
            }
    }
}

static double cosine(const float *a, const float *b, int64_t width)
{
    double ab = 0, aa = 0, bb = 0;
    for (int64_t i = 0; i < width; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

/* Error and prediction of each patch: the mean over the blocks that cover it. prediction, target:
 * (M * n, K, D). */
static void fill_error(struct panel *p, const float *prediction, const float *target)
{
    const struct masks *m = &p->masks;
    int64_t width = p->config.encoder.width;
    size_t patches = (size_t)p->config.patches;
    for (uint32_t i = 0; i < p->images; i++) {
        for (size_t patch = 0; patch < patches; patch++) {
            double sum = 0;
            int count = 0;
            float *to = p->predicted + (i * patches + patch) * (size_t)width;
            for (uint32_t b = 0; b < m->rules.targets; b++)
                for (uint32_t k = 0; k < m->target_count; k++) {
                    size_t token = (size_t)(b * p->images + i) * m->target_count + k;
                    if ((size_t)m->targets[token] != patch)
                        continue;
                    sum += 1 - cosine(prediction + token * (size_t)width,
                                      target + token * (size_t)width, width);
                    count++;
                    for (int64_t d = 0; d < width; d++)
                        to[d] += prediction[token * (size_t)width + (size_t)d];
                }
            for (int64_t d = 0; count && d < width; d++)
                to[d] /= (float)count;
            p->error[i * patches + patch] = count ? (float)(sum / count) : NAN;
        }
    }
}

uint32_t panel_query(const struct panel *panel, int q)
{
    static const uint32_t quarters[PANEL_QUERIES] = {1, 2, 3};
    uint32_t grid = (uint32_t)panel->config.grid, place = grid * quarters[q] / 4;
    return place * grid + place;
}

/* Cosines of features less their mean over the panel: what all patches share says nothing. */
static enum ij_status fill_similarity(struct panel *p, struct ij_err *reterr_err)
{
    int64_t width = p->config.encoder.width;
    size_t patches = (size_t)p->config.patches;
    mem_auto float *centered = mem_array(float, patches *(size_t)width);
    if (!centered)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for similarities");
    for (uint32_t i = 0; i < p->images; i++) {
        const float *from = p->target + i * patches * (size_t)width;
        for (size_t v = 0; v < patches * (size_t)width; v++)
            centered[v] = (float)((double)from[v] - p->pca.mean[v % (size_t)width]);
        for (int q = 0; q < PANEL_QUERIES; q++)
            for (size_t patch = 0; patch < patches; patch++)
                p->similarity[(i * PANEL_QUERIES + (size_t)q) * patches + patch] =
                    (float)cosine(centered + panel_query(p, q) * (size_t)width,
                                  centered + patch * (size_t)width, width);
    }
    return IJ_OK;
}

static enum ij_status fill_colors(struct panel *p, struct ij_err *reterr_err)
{
    int64_t rows = p->images * p->config.patches, width = p->config.encoder.width;
    IJ_TRY(pca_fit(p->target, rows, width, &p->pca, reterr_err));
    pca_scores(&p->pca, p->target, rows, p->scores);
    if (p->spec->eval.reference[0]) {
        struct safetensors *file = NULL;
        const struct safetensors_tensor *tensor;
        mem_auto float *reference = mem_array(float, (size_t)rows *PCA_COMPONENTS);
        const uint64_t shape[] = {p->images, (uint64_t)p->config.patches, PCA_COMPONENTS};
        if (!reference)
            return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a reference");
        IJ_TRY(safetensors_open(p->spec->eval.reference, &file, reterr_err));
        enum ij_status status =
            safetensors_find_shaped(file, "pca_scores", 3, shape, &tensor, reterr_err);
        if (status == IJ_OK)
            status = safetensors_copy_f32(tensor, reference, tensor->count, reterr_err);
        safetensors_free(file);
        IJ_TRY(status);
        pca_align(&p->pca, p->scores, reference, rows);
    }
    pca_scores(&p->pca, p->context, rows, p->context_scores);
    return IJ_OK;
}

/* ---- Neighbours ------------------------------------------------------------------------------ */

struct panel_box panel_box(const struct panel *panel, uint32_t image)
{
    uint32_t count = panel->masks.target_count, grid = (uint32_t)panel->config.grid;
    const int32_t *patches = panel->masks.targets + (size_t)image * count;
    struct panel_box box = {.row = (uint32_t)patches[0] / grid, .column = grid};
    uint32_t right = 0;
    for (uint32_t k = 0; k < count; k++) {
        uint32_t column = (uint32_t)patches[k] % grid;
        box.column = column < box.column ? column : box.column;
        right = column > right ? column : right;
    }
    box.height = (uint32_t)patches[count - 1] / grid - box.row + 1;
    box.width = right - box.column + 1;
    return box;
}

uint32_t panel_moved(const struct panel *panel, struct panel_box box, uint32_t patch, uint32_t row,
                     uint32_t column)
{
    uint32_t grid = (uint32_t)panel->config.grid;
    return (patch / grid - box.row + row) * grid + patch % grid - box.column + column;
}

/* The first target of image `of`, moved to its best place in one image of the bank. */
static struct panel_neighbor best_place(const struct panel *p, uint32_t image, uint32_t of,
                                        const float *query, float *pooled)
{
    uint32_t grid = (uint32_t)p->config.grid, count = p->masks.target_count;
    const int32_t *target = p->masks.targets + (size_t)of * count;
    size_t width = (size_t)p->config.encoder.width;
    const float *tokens = p->bank_tokens + (size_t)image * grid * grid * width;
    struct panel_box box = panel_box(p, of);
    struct panel_neighbor best = {.image = image, .cosine = -2};
    for (uint32_t y = 0; y + box.height <= grid; y++)
        for (uint32_t x = 0; x + box.width <= grid; x++) {
            memset(pooled, 0, width * sizeof *pooled);
            for (uint32_t k = 0; k < count; k++) {
                size_t patch = panel_moved(p, box, (uint32_t)target[k], y, x);
                for (size_t i = 0; i < width; i++)
                    pooled[i] += tokens[patch * width + i];
            }
            float similarity = (float)cosine(query, pooled, (int64_t)width);
            if (similarity > best.cosine)
                best = (struct panel_neighbor){image, y, x, similarity};
        }
    return best;
}

static void insert(struct panel_neighbor *list, struct panel_neighbor found)
{
    for (int i = 0; i < PANEL_NEIGHBORS; i++)
        if (found.cosine > list[i].cosine) {
            struct panel_neighbor pushed = list[i];
            list[i] = found;
            found = pushed;
        }
}

/* prediction: (M * n, K, D), block-major: the first n sequences are the first blocks. */
static enum ij_status find_neighbors(struct panel *p, const float *prediction,
                                     struct ij_err *reterr_err)
{
    size_t width = (size_t)p->config.encoder.width, count = p->masks.target_count;
    mem_auto float *query = mem_array(float, width);
    mem_auto float *pooled = mem_array(float, width);
    if (!query || !pooled)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for neighbours");
    for (uint32_t i = 0; i < p->images; i++) {
        struct panel_neighbor *list = p->neighbors + (size_t)i * PANEL_NEIGHBORS;
        for (int k = 0; k < PANEL_NEIGHBORS; k++)
            list[k] = (struct panel_neighbor){.image = p->rows[i], .cosine = -2};
        memset(query, 0, width * sizeof *query);
        for (size_t v = 0; v < count * width; v++)
            query[v % width] += prediction[(size_t)i * count * width + v];
        for (uint32_t other = 0; other < p->bank; other++)
            if (other != p->rows[i])
                insert(list, best_place(p, other, i, query, pooled));
    }
    return IJ_OK;
}

/* ---- The whole ------------------------------------------------------------------------------- */

static enum ij_status predict(struct panel *p, const struct block_arena *weights,
                              const struct block_arena *target, struct ij_err *reterr_err)
{
    size_t values = (size_t)p->masks.rules.targets * p->images * p->masks.target_count *
                    (size_t)p->config.encoder.width;
    mem_auto float *predicted = mem_array(float, values);
    mem_auto float *wanted = mem_array(float, values);
    if (!predicted || !wanted)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for predictions");
    IJ_TRY(ijepa_target(p->trainer->ijepa, target, reterr_err));
    IJ_TRY(ijepa_predict(p->trainer->ijepa, weights, reterr_err));
    IJ_TRY(ijepa_copy_prediction(p->trainer->ijepa, predicted, reterr_err));
    IJ_TRY(ijepa_copy_target(p->trainer->ijepa, wanted, reterr_err));
    fill_error(p, predicted, wanted);
    return find_neighbors(p, predicted, reterr_err);
}

static enum ij_status look(struct panel *p, struct ij_err *reterr_err)
{
    size_t bytes = (size_t)(p->config.crop * p->config.crop) * 3;
    struct block_arena weights = trainer_weights(p->trainer, false);
    struct block_arena target = trainer_target(p->trainer);
    mem_auto uint8_t *pixels = mem_alloc_zero(p->images, bytes);
    if (!pixels)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %u images", p->images);
    for (uint32_t i = 0; i < p->images; i++)
        memcpy(pixels + i * bytes, p->pixels + p->rows[i] * bytes, bytes);
    masks_draw(&p->masks, 0, 0, p->images);
    keep_masks(p);
    const struct ijepa_batch batch = {.pixels = pixels,
                                      .images = p->images,
                                      .context_count = p->masks.context_count,
                                      .target_count = p->masks.target_count,
                                      .context = p->masks.context,
                                      .targets = p->masks.targets};
    IJ_TRY(ijepa_load(p->trainer->ijepa, &batch, reterr_err));
    if (p->predictor)
        IJ_TRY(predict(p, &weights, &target, reterr_err));
    IJ_TRY(ijepa_copy_target_features(p->trainer->ijepa, &target, p->target, reterr_err));
    IJ_TRY(ijepa_copy_target_features(p->trainer->ijepa, &weights, p->context, reterr_err));
    IJ_TRY(fill_colors(p, reterr_err));
    return fill_similarity(p, reterr_err);
}

enum ij_status panel_make(struct backend *backend, const struct engine_spec *spec,
                          const struct checkpoint *checkpoint, struct eval_progress *progress,
                          struct panel *ret_panel, struct ij_err *reterr_err)
{
    struct panel *p = ret_panel;
    *p = (struct panel){.spec = spec, .config = vit_config_from_spec(spec)};
    IJ_TRY(open_data(p, reterr_err));
    progress->total = p->bank;
    IJ_TRY(open_model(p, backend, checkpoint, reterr_err));
    IJ_TRY(allocate(p, reterr_err));
    IJ_TRY(make_bank(p, backend, progress, reterr_err));
    return look(p, reterr_err);
}

void panel_done(struct panel *panel)
{
    void *memory[] = {panel->rows,         panel->samples,        panel->pixels,
                      panel->bank_tokens,  panel->target,         panel->context,
                      panel->scores,       panel->context_scores, panel->context_mask,
                      panel->target_masks, panel->error,          panel->predicted,
                      panel->similarity,   panel->attention,      panel->neighbors};
    for (size_t i = 0; i < COUNT_OF(memory); i++)
        mem_free(memory[i]);
    pca_done(&panel->pca);
    masks_done(&panel->masks);
    trainer_free(panel->trainer);
    dataset_free(panel->dataset);
    *panel = (struct panel){.spec = NULL};
}
