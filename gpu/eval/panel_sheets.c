/* Contact sheets of a panel. See panel_sheets.h. */
#include "gpu/eval/panel_sheets.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/eval/sheet.h"

#define TILE_MIN    128u
#define CLIPPED     0.02 /* share of scores beyond each end of the colour scale */
#define HEADS_SHOWN 8u
#define ERROR_SCALE 1.0f /* cosine 0: the brightest colour */

static enum ij_status begin(const struct panel_sheets *v, struct sheet *sheet, uint32_t columns,
                            struct ij_err *reterr_err)
{
    uint32_t crop = (uint32_t)v->panel->config.crop;
    uint32_t tile = crop * (crop < TILE_MIN ? TILE_MIN / crop : 1);
    return sheet_init(sheet, columns, v->panel->images, tile, (uint32_t)v->panel->config.grid,
                      reterr_err);
}

static enum ij_status end(const struct panel_sheets *v, struct sheet *sheet, const char *name,
                          struct ij_err *reterr_err)
{
    char path[ENGINE_PATH_MAX + 96];
    snprintf(path, sizeof path, "%s/%s%s.png", v->folder, name, v->suffix);
    enum ij_status status = sheet_save(sheet, path, reterr_err);
    sheet_done(sheet);
    json_array_append_new(v->files, json_sprintf("%s%s.png", name, v->suffix));
    return status;
}

static void put_image(const struct panel_sheets *v, struct sheet *sheet, struct sheet_place at,
                      uint32_t bank_index)
{
    size_t side = (size_t)v->panel->config.crop;
    sheet_image(sheet, at, v->panel->pixels + bank_index * side * side * 3, (uint32_t)side);
}

static enum ij_status draw_masks(const struct panel_sheets *v, struct ij_err *reterr_err)
{
    const struct panel *p = v->panel;
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
    return end(v, &sheet, "masks", reterr_err);
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

enum ij_status panel_sheets_range(const struct panel *p, float low[PCA_COMPONENTS],
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

static enum ij_status draw_pca(const struct panel_sheets *v, struct ij_err *reterr_err)
{
    const struct panel *p = v->panel;
    size_t values = (size_t)p->config.patches * PCA_COMPONENTS;
    float low[PCA_COMPONENTS], high[PCA_COMPONENTS];
    struct sheet sheet;
    mem_auto float *colors = mem_array(float, values);
    if (!colors)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a sheet");
    IJ_TRY(panel_sheets_range(p, low, high, reterr_err));
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
    return end(v, &sheet, "pca", reterr_err);
}

static enum ij_status draw_error(const struct panel_sheets *v, struct ij_err *reterr_err)
{
    const struct panel *p = v->panel;
    size_t patches = (size_t)p->config.patches;
    struct sheet sheet;
    IJ_TRY(begin(v, &sheet, 3, reterr_err));
    for (uint32_t i = 0; i < p->images; i++) {
        put_image(v, &sheet, (struct sheet_place){i, 0}, p->rows[i]);
        put_image(v, &sheet, (struct sheet_place){i, 1}, p->rows[i]);
        sheet_fade(&sheet, (struct sheet_place){i, 1}, p->context_mask + i * patches);
        sheet_heat(&sheet, (struct sheet_place){i, 2}, p->error + i * patches, 0, ERROR_SCALE);
    }
    return end(v, &sheet, "error", reterr_err);
}

static enum ij_status draw_similarity(const struct panel_sheets *v, struct ij_err *reterr_err)
{
    const struct panel *p = v->panel;
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
    return end(v, &sheet, "similarity", reterr_err);
}

static float largest(const float *values, size_t count)
{
    float most = 0;
    for (size_t i = 0; i < count; i++)
        most = values[i] > most ? values[i] : most;
    return most;
}

/* Each map from 0 to its own largest value. */
static enum ij_status draw_attention(const struct panel_sheets *v, struct ij_err *reterr_err)
{
    const struct panel *p = v->panel;
    size_t patches = (size_t)p->config.patches, heads = (size_t)p->config.encoder.heads;
    uint32_t shown = heads < HEADS_SHOWN ? (uint32_t)heads : HEADS_SHOWN;
    struct sheet sheet;
    mem_auto float *mean = mem_array(float, patches);
    if (!mean)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a sheet");
    IJ_TRY(begin(v, &sheet, 2 + shown, reterr_err));
    for (uint32_t i = 0; i < p->images; i++) {
        const float *maps = p->attention + i * heads * patches;
        for (size_t k = 0; k < patches; k++) {
            mean[k] = 0;
            for (size_t h = 0; h < heads; h++)
                mean[k] += maps[h * patches + k] / (float)heads;
        }
        put_image(v, &sheet, (struct sheet_place){i, 0}, p->rows[i]);
        sheet_heat(&sheet, (struct sheet_place){i, 1}, mean, 0, largest(mean, patches));
        for (uint32_t h = 0; h < shown; h++)
            sheet_heat(&sheet, (struct sheet_place){i, 2 + h}, maps + h * patches, 0,
                       largest(maps + h * patches, patches));
    }
    return end(v, &sheet, "attention", reterr_err);
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

static enum ij_status draw_neighbors(const struct panel_sheets *v, struct ij_err *reterr_err)
{
    const struct panel *p = v->panel;
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
    return end(v, &sheet, "neighbors", reterr_err);
}

static void put_pixels(const struct panel_sheets *v, struct sheet *sheet, struct sheet_place at,
                       const uint8_t *pixels)
{
    size_t side = (size_t)v->panel->config.crop;
    sheet_image(sheet, at, pixels + at.row * side * side * 3, (uint32_t)side);
}

static enum ij_status draw_decoded(const struct panel_sheets *v, struct ij_err *reterr_err)
{
    const struct panel *p = v->panel;
    struct sheet sheet;
    IJ_TRY(begin(v, &sheet, 4, reterr_err));
    for (uint32_t i = 0; i < p->images; i++) {
        put_image(v, &sheet, (struct sheet_place){i, 0}, p->rows[i]);
        put_image(v, &sheet, (struct sheet_place){i, 1}, p->rows[i]);
        sheet_fade(&sheet, (struct sheet_place){i, 1},
                   p->context_mask + i * (size_t)p->config.patches);
        put_pixels(v, &sheet, (struct sheet_place){i, 2}, v->decoded->prediction);
        put_pixels(v, &sheet, (struct sheet_place){i, 3}, v->decoded->target);
    }
    return end(v, &sheet, "decoder", reterr_err);
}

enum ij_status panel_sheets_draw(const struct panel_sheets *v, struct ij_err *reterr_err)
{
    IJ_TRY(draw_masks(v, reterr_err));
    IJ_TRY(draw_pca(v, reterr_err));
    IJ_TRY(draw_similarity(v, reterr_err));
    IJ_TRY(draw_attention(v, reterr_err));
    if (!v->panel->predictor)
        return IJ_OK;
    IJ_TRY(draw_error(v, reterr_err));
    IJ_TRY(draw_neighbors(v, reterr_err));
    return v->decoded ? draw_decoded(v, reterr_err) : IJ_OK;
}
