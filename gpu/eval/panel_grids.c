/* See panel_grids.h. */
#include "gpu/eval/panel_grids.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/eval/panel_sheets.h"

#define NOT_PREDICTED (-1.0f)
#define TENSORS_MAX   20

/* Everything that is made for the file, owned. */
struct grids {
    float *error, *basis;  /* (n, N); (1 + 3, D): mean and basis */
    uint8_t *pixels;       /* (n, crop, crop, 3) */
    uint8_t *colors[2];    /* (n, N, 3) target, context */
    uint8_t *similarities; /* (n, N, N); NULL: too many */
    struct safetensors_tensor tensors[TENSORS_MAX];
    size_t count;
};

static void add(struct grids *g, const char *name, enum safetensors_type type, const void *data,
                uint32_t dims, const uint64_t *shape)
{
    struct safetensors_tensor *t = &g->tensors[g->count++];
    IJ_ASSERT(g->count <= TENSORS_MAX);
    *t = (struct safetensors_tensor){.name = name, .type = type, .dims = dims, .data = data};
    for (uint32_t i = 0; i < dims; i++)
        t->shape[i] = shape[i];
}
#define ADD(name, type, data, ...)                                                                 \
    add(g, name, SAFETENSORS_##type, data,                                                         \
        (uint32_t)(sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t)),                          \
        (uint64_t[]){__VA_ARGS__})

static enum ij_status allocate(struct grids *g, const struct panel *p, struct ij_err *reterr_err)
{
    size_t n = p->images, patches = (size_t)p->config.patches;
    size_t bytes = (size_t)(p->config.crop * p->config.crop) * 3;
    g->error = mem_array(float, n *patches);
    g->basis = mem_array(float, (PCA_COMPONENTS + 1) * (size_t)p->config.encoder.width);
    g->pixels = mem_alloc_zero(n, bytes);
    bool colors = true;
    for (int c = 0; c < 2; c++) {
        g->colors[c] = mem_alloc_zero(n * patches, PCA_COMPONENTS);
        colors = colors && g->colors[c];
    }
    bool few = n * patches * patches <= PANEL_GRIDS_SIMILARITY_MAX;
    if (few)
        g->similarities = mem_alloc_zero(n * patches, patches);
    if (g->error && g->basis && g->pixels && colors && (g->similarities || !few))
        return IJ_OK;
    return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the grids");
}

static void release(struct grids *g)
{
    mem_free(g->error);
    mem_free(g->basis);
    mem_free(g->pixels);
    mem_free(g->colors[0]);
    mem_free(g->colors[1]);
    mem_free(g->similarities);
}

static uint8_t byte_of(double share)
{
    return (uint8_t)lrint(255 * fmin(1, fmax(0, share)));
}

static enum ij_status fill_colors(struct grids *g, const struct panel *p, struct ij_err *reterr_err)
{
    const float *scores[] = {p->scores, p->context_scores};
    float low[PCA_COMPONENTS], high[PCA_COMPONENTS];
    size_t values = p->images * (size_t)p->config.patches * PCA_COMPONENTS;
    IJ_TRY(panel_sheets_range(p, low, high, reterr_err));
    for (int c = 0; c < 2; c++)
        for (size_t i = 0; i < values; i++) {
            size_t k = i % PCA_COMPONENTS;
            g->colors[c][i] = byte_of((double)(scores[c][i] - low[k]) / (double)(high[k] - low[k]));
        }
    return IJ_OK;
}

/* Cosines of all pairs of one image's patches, of unit vectors u (N, D). */
static void fill_pairs(const float *u, size_t patches, size_t width, uint8_t *ret)
{
    for (size_t a = 0; a < patches; a++)
        for (size_t b = 0; b <= a; b++) {
            float sum = 0;
            for (size_t d = 0; d < width; d++)
                sum += u[a * width + d] * u[b * width + d];
            ret[a * patches + b] = ret[b * patches + a] = byte_of(((double)sum + 1) / 2);
        }
}

/* Features less their mean over the panel, as on the sheet, and scaled to length 1. */
static enum ij_status fill_similarities(struct grids *g, const struct panel *p,
                                        struct ij_err *reterr_err)
{
    size_t patches = (size_t)p->config.patches, width = (size_t)p->config.encoder.width;
    mem_auto float *unit = mem_array(float, patches *width);
    if (!unit)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for similarities");
    for (size_t i = 0; g->similarities && i < p->images; i++) {
        for (size_t t = 0; t < patches; t++) {
            const float *from = p->target + (i * patches + t) * width;
            double square = 0;
            for (size_t d = 0; d < width; d++) {
                unit[t * width + d] = (float)((double)from[d] - p->pca.mean[d]);
                square += (double)unit[t * width + d] * (double)unit[t * width + d];
            }
            for (size_t d = 0; d < width && square > 0; d++)
                unit[t * width + d] /= (float)sqrt(square);
        }
        fill_pairs(unit, patches, width, g->similarities + i * patches * patches);
    }
    return IJ_OK;
}

static enum ij_status fill(struct grids *g, const struct panel *p, struct ij_err *reterr_err)
{
    size_t width = (size_t)p->config.encoder.width;
    size_t bytes = (size_t)(p->config.crop * p->config.crop) * 3;
    for (size_t i = 0; i < p->images * (size_t)p->config.patches; i++)
        g->error[i] = !p->predictor || isnan(p->error[i]) ? NOT_PREDICTED : p->error[i];
    for (size_t i = 0; i < width; i++)
        g->basis[i] = (float)p->pca.mean[i];
    for (size_t i = 0; i < PCA_COMPONENTS * width; i++)
        g->basis[width + i] = (float)p->pca.basis[i];
    for (size_t i = 0; i < p->images; i++)
        memcpy(g->pixels + i * bytes, p->pixels + p->rows[i] * bytes, bytes);
    IJ_TRY(fill_colors(g, p, reterr_err));
    return fill_similarities(g, p, reterr_err);
}

static void list(struct grids *g, const struct panel *p, const struct panel_decode *decoded)
{
    uint64_t n = p->images, patches = (uint64_t)p->config.patches, crop = (uint64_t)p->config.crop;
    uint64_t width = (uint64_t)p->config.encoder.width;
    ADD("images", U8, g->pixels, n, crop, crop, 3);
    ADD("pca_rgb", U8, g->colors[0], n, patches, 3);
    ADD("pca_context_rgb", U8, g->colors[1], n, patches, 3);
    ADD("pca_scores", F32, p->scores, n, patches, PCA_COMPONENTS);
    ADD("pca_context_scores", F32, p->context_scores, n, patches, PCA_COMPONENTS);
    ADD("pca_mean", F32, g->basis, width);
    ADD("pca_basis", F32, g->basis + width, PCA_COMPONENTS, width);
    ADD("similarity", F32, p->similarity, n, PANEL_QUERIES, patches);
    ADD("attention", F32, p->attention, n, (uint64_t)p->config.encoder.heads, patches);
    ADD("context_mask", U8, p->context_mask, n, patches);
    ADD("target_masks", U8, p->target_masks, n, p->masks.rules.targets, patches);
    ADD("error", F32, g->error, n, patches);
    if (g->similarities)
        ADD("similarity_all", U8, g->similarities, n, patches, patches);
    if (decoded) {
        ADD("decoded_prediction", U8, decoded->prediction, n, crop, crop, 3);
        ADD("decoded_target", U8, decoded->target, n, crop, crop, 3);
    }
}

enum ij_status panel_grids_write(const struct panel *panel, const struct panel_decode *decoded,
                                 const char *path, struct ij_err *reterr_err)
{
    struct grids g = {.count = 0};
    enum ij_status status = allocate(&g, panel, reterr_err);
    if (status == IJ_OK)
        status = fill(&g, panel, reterr_err);
    if (status == IJ_OK) {
        list(&g, panel, decoded);
        const struct safetensors_content content = {g.tensors, g.count, NULL, 0};
        fd_auto int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        status = fd < 0 ? IJ_ERR_SYS(reterr_err, errno, path, "cannot create %s", path)
                        : safetensors_write(fd, path, &content, NULL, reterr_err);
    }
    release(&g);
    return status;
}
