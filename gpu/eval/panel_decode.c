/* See panel_decode.h. */
#include "gpu/eval/panel_decode.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/eval/decoder.h"

#define WORK_MAX 2e10 /* multiplications of the normal equations */
#define ROWS_MAX 16384
#define BLANK    255

/* Sizes of one panel. */
struct sizes {
    size_t crop, patch, grid, patches, width, values; /* values: of a patch, 3 patch^2 */
};

static struct sizes sizes_of(const struct panel *p)
{
    const struct vit_config *c = &p->config;
    return (struct sizes){(size_t)c->crop,    (size_t)c->patch,         (size_t)c->grid,
                          (size_t)c->patches, (size_t)c->encoder.width, (size_t)c->patch_values};
}

/* Pixels of one patch, (patch, patch, 3), 0..1. */
static void cut_patch(const struct sizes *s, const uint8_t *image, size_t patch, float *ret_values)
{
    size_t top = patch / s->grid * s->patch, left = patch % s->grid * s->patch;
    for (size_t y = 0; y < s->patch; y++)
        for (size_t x = 0; x < 3 * s->patch; x++)
            ret_values[y * 3 * s->patch + x] =
                (float)image[((top + y) * s->crop + left) * 3 + x] / 255;
}

static void put_patch(const struct sizes *s, uint8_t *image, size_t patch, const float *values)
{
    size_t top = patch / s->grid * s->patch, left = patch % s->grid * s->patch;
    for (size_t y = 0; y < s->patch; y++)
        for (size_t x = 0; x < 3 * s->patch; x++)
            image[((top + y) * s->crop + left) * 3 + x] =
                (uint8_t)lrint(255 * fmin(1, fmax(0, (double)values[y * 3 * s->patch + x])));
}

static bool is_shown(const struct panel *p, uint32_t image)
{
    for (uint32_t i = 0; i < p->images; i++)
        if (p->rows[i] == image)
            return true;
    return false;
}

/* Every `stride`-th patch of the images that are not shown, as rows to fit on. */
static size_t collect(const struct panel *p, const struct sizes *s, size_t stride, float *x,
                      float *y)
{
    size_t seen = 0, rows = 0;
    for (uint32_t image = 0; image < p->bank; image++) {
        if (is_shown(p, image))
            continue;
        const uint8_t *pixels = p->pixels + image * s->crop * s->crop * 3;
        for (size_t patch = 0; patch < s->patches; patch++, seen++) {
            if (seen % stride)
                continue;
            memcpy(x + rows * s->width, p->bank_tokens + (image * s->patches + patch) * s->width,
                   s->width * sizeof *x);
            cut_patch(s, pixels, patch, y + rows * s->values);
            rows++;
        }
    }
    return rows;
}

static enum ij_status fit(const struct panel *p, const struct sizes *s, struct decoder *ret_decoder,
                          size_t *ret_rows, struct ij_err *reterr_err)
{
    size_t all = (p->bank - p->images) * s->patches;
    double most = WORK_MAX / ((double)s->width * (double)(s->width + s->values));
    most = most < ROWS_MAX ? most : ROWS_MAX;
    size_t stride = (size_t)ceil((double)all / fmax(most, 20));
    stride = stride > 0 ? stride : 1;
    size_t rows = (all + stride - 1) / stride;
    mem_auto float *x = mem_alloc_zero(rows + 1, s->width * sizeof(float));
    mem_auto float *y = mem_alloc_zero(rows + 1, s->values * sizeof(float));
    if (!x || !y)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu patches to decode", rows);
    *ret_rows = collect(p, s, stride, x, y);
    return decoder_fit(x, y, *ret_rows, s->width, s->values, ret_decoder, reterr_err);
}

/* How much of the predicted patches' variance is left, of decoded ones. */
struct tally {
    double missed[2], varied; /* from target features, from predictions */
};

static void tally_add(struct tally *t, const struct sizes *s, const struct decoder *d,
                      const float *own, const float *decoded, int which)
{
    for (size_t v = 0; v < s->values; v++) {
        double gap = (double)own[v] - (double)decoded[v], away = (double)own[v] - d->bias[v];
        t->missed[which] += gap * gap;
        t->varied += which == 0 ? away * away : 0;
    }
}

/* One image: work holds two patches. */
static void draw(const struct panel *p, const struct sizes *s, const struct decoder *d, uint32_t i,
                 struct panel_decode *decoded, float *work, struct tally *tally)
{
    size_t bytes = s->crop * s->crop * 3;
    const uint8_t *pixels = p->pixels + p->rows[i] * bytes;
    const float *tokens = p->bank_tokens + p->rows[i] * s->patches * s->width;
    uint8_t *target = decoded->target + i * bytes, *prediction = decoded->prediction + i * bytes;
    float *own = work, *made = work + s->values;
    memset(target, BLANK, bytes);
    memset(prediction, BLANK, bytes);
    for (size_t patch = 0; patch < s->patches; patch++) {
        bool predicted = !isnan(p->error[i * s->patches + patch]);
        cut_patch(s, pixels, patch, own);
        decoder_apply(d, tokens + patch * s->width, made);
        put_patch(s, target, patch, made);
        if (p->context_mask[i * s->patches + patch])
            put_patch(s, prediction, patch, own);
        if (!predicted)
            continue;
        tally_add(tally, s, d, own, made, 0);
        decoder_apply(d, p->predicted + (i * s->patches + patch) * s->width, made);
        put_patch(s, prediction, patch, made);
        tally_add(tally, s, d, own, made, 1);
    }
}

enum ij_status panel_decode_make(const struct panel *panel, struct panel_decode *ret_decoded,
                                 struct ij_err *reterr_err)
{
    struct sizes s = sizes_of(panel);
    struct decoder d = {0};
    struct tally tally = {.varied = 0};
    struct panel_decode *r = ret_decoded;
    mem_auto float *work = mem_array(float, 2 * s.values);
    *r = (struct panel_decode){.fit = 0};
    if (panel->bank <= panel->images)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "eval.bank",
                            "the bank must have images that are not shown, to fit a decoder on");
    r->target = mem_alloc_zero(panel->images, s.crop * s.crop * 3);
    r->prediction = mem_alloc_zero(panel->images, s.crop * s.crop * 3);
    if (!work || !r->target || !r->prediction)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for decoded images");
    IJ_TRY(fit(panel, &s, &d, &r->patches, reterr_err));
    for (uint32_t i = 0; i < panel->images; i++)
        draw(panel, &s, &d, i, r, work, &tally);
    r->fit = d.fit;
    r->lambda = d.lambda;
    r->target_share = tally.varied > 0 ? 1 - tally.missed[0] / tally.varied : 0;
    r->prediction_share = tally.varied > 0 ? 1 - tally.missed[1] / tally.varied : 0;
    decoder_done(&d);
    return IJ_OK;
}

void panel_decode_done(struct panel_decode *decoded)
{
    mem_free(decoded->target);
    mem_free(decoded->prediction);
    *decoded = (struct panel_decode){.fit = 0};
}
