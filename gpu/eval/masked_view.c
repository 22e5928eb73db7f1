/* See masked_view.h. */
#include "gpu/eval/masked_view.h"

#include <math.h>

#include "base/mem.h"
#include "gpu/eval/explained.h"
#include "gpu/eval/lidar.h"
#include "gpu/model/masks.h"

#define EPOCH_FIRST (((uint64_t)1 << 40) - MASKED_VIEW_DRAWS) /* the last that a key can hold */

enum spread { SPREAD_CONTEXT, SPREAD_PREDICTION, SPREAD_COUNT };

struct masked_view {
    struct trainer *trainer; /* borrowed */
    const uint8_t *pixels;   /* borrowed */
    size_t images;
    uint32_t chunk; /* images looked at at once */
    struct masks masks;
    struct rankme_spread spreads[SPREAD_COUNT];
    struct explained explained;           /* of the first draw */
    float *target, *prediction, *context; /* owned; of one chunk */
    float *pooled;                        /* owned; (images, draws, width) */
};

static enum ij_status allocate(struct masked_view *view, struct ij_err *reterr_err)
{
    size_t width = (size_t)view->trainer->config.encoder.width;
    size_t targets =
        (size_t)view->masks.rules.targets * view->chunk * view->masks.bounds.target_max;
    for (int i = 0; i < SPREAD_COUNT; i++)
        IJ_TRY(rankme_spread_init(&view->spreads[i], (int64_t)width, reterr_err));
    IJ_TRY(explained_init(&view->explained, (int64_t)width, reterr_err));
    view->target = mem_alloc_zero(targets, width * sizeof(float));
    view->prediction = mem_alloc_zero(targets, width * sizeof(float));
    view->context =
        mem_alloc_zero((size_t)view->chunk * view->masks.bounds.context_max, width * sizeof(float));
    view->pooled = mem_alloc_zero(view->images * MASKED_VIEW_DRAWS, width * sizeof(float));
    if (view->target && view->prediction && view->context && view->pooled)
        return IJ_OK;
    return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to watch %zu masked images", view->images);
}

enum ij_status masked_view_new(struct trainer *trainer, const struct engine_spec *spec,
                               const uint8_t *pixels, size_t images, struct masked_view **ret_view,
                               struct ij_err *reterr_err)
{
    struct mask_sizes_rules rules = mask_sizes_from_spec(spec);
    struct masked_view *view = mem_new(struct masked_view);
    if (!view)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to watch masked images");
    view->trainer = trainer;
    view->pixels = pixels;
    view->images = images < MASKED_VIEW_IMAGES ? images : MASKED_VIEW_IMAGES;
    view->chunk = spec->optimizer.batch < IJEPA_WHOLE ? spec->optimizer.batch : IJEPA_WHOLE;
    enum ij_status status;
    IJ_TRY_GOTO(status, masks_init(&view->masks, &rules, spec->seed, view->chunk, reterr_err), out);
    IJ_TRY_GOTO(status, allocate(view, reterr_err), out);
    *ret_view = MEM_TAKE(view);
out:
    masked_view_free(view);
    return status;
}

void masked_view_free(struct masked_view *view)
{
    if (!view)
        return;
    for (int i = 0; i < SPREAD_COUNT; i++)
        rankme_spread_done(&view->spreads[i]);
    explained_done(&view->explained);
    masks_done(&view->masks);
    mem_free(view->target);
    mem_free(view->prediction);
    mem_free(view->context);
    mem_free(view->pooled);
    mem_free(view);
}

/* The chunk that begins at image `first`, masked for one draw. Returns its number of images. */
static enum ij_status load(struct masked_view *view, uint64_t draw, size_t first, uint32_t *ret_n,
                           struct ij_err *reterr_err)
{
    const struct vit_config *c = &view->trainer->config;
    size_t left = view->images - first;
    uint32_t n = left < view->chunk ? (uint32_t)left : view->chunk;
    masks_draw(&view->masks, EPOCH_FIRST + draw, first / view->chunk, n);
    struct ijepa_batch batch = {.pixels = view->pixels + first * (size_t)(c->crop * c->crop * 3),
                                .images = n,
                                .context_count = view->masks.context_count,
                                .target_count = view->masks.target_count,
                                .context = view->masks.context,
                                .targets = view->masks.targets};
    *ret_n = n;
    return ijepa_load(view->trainer->ijepa, &batch, reterr_err);
}

static void pool(struct masked_view *view, uint64_t draw, size_t first, uint32_t n)
{
    size_t width = (size_t)view->trainer->config.encoder.width, kept = view->masks.context_count;
    for (size_t i = 0; i < n; i++) {
        float *to = view->pooled + ((first + i) * MASKED_VIEW_DRAWS + draw) * width;
        for (size_t d = 0; d < width; d++) {
            double sum = 0;
            for (size_t k = 0; k < kept; k++)
                sum += (double)view->context[(i * kept + k) * width + d];
            to[d] = (float)(sum / (double)kept);
        }
    }
}

/* Predictions of the first draw against their targets. */
static enum ij_status compare(struct masked_view *view, uint32_t n, struct ij_err *reterr_err)
{
    struct ijepa *ijepa = view->trainer->ijepa;
    struct block_arena target = trainer_target(view->trainer);
    struct block_arena weights = trainer_weights(view->trainer, false);
    size_t rows = (size_t)view->masks.rules.targets * n * view->masks.target_count;
    IJ_TRY(ijepa_target(ijepa, &target, reterr_err));
    IJ_TRY(ijepa_copy_target(ijepa, view->target, reterr_err));
    IJ_TRY(ijepa_predict(ijepa, &weights, reterr_err));
    IJ_TRY(ijepa_copy_prediction(ijepa, view->prediction, reterr_err));
    explained_add(&view->explained, view->prediction, view->target, rows);
    rankme_spread_add(&view->spreads[SPREAD_PREDICTION], view->prediction, rows, -1);
    return IJ_OK;
}

static enum ij_status look(struct masked_view *view, uint64_t draw, size_t first,
                           struct ij_err *reterr_err)
{
    struct block_arena weights = trainer_weights(view->trainer, false);
    uint32_t n = 0;
    IJ_TRY(load(view, draw, first, &n, reterr_err));
    IJ_TRY(draw == 0 ? compare(view, n, reterr_err)
                     : ijepa_encode(view->trainer->ijepa, &weights, reterr_err));
    IJ_TRY(ijepa_copy_context_features(view->trainer->ijepa, view->context, reterr_err));
    if (draw == 0)
        rankme_spread_add(&view->spreads[SPREAD_CONTEXT], view->context,
                          (size_t)n * view->masks.context_count, (double)VIT_CONFIG_TARGET_EPS);
    pool(view, draw, first, n);
    return IJ_OK;
}

enum ij_status masked_view_measure(struct masked_view *view, struct masked_view_result *ret_result,
                                   struct ij_err *reterr_err)
{
    int64_t width = view->trainer->config.encoder.width;
    explained_clear(&view->explained);
    for (int i = 0; i < SPREAD_COUNT; i++)
        rankme_spread_clear(&view->spreads[i]);
    for (uint64_t draw = 0; draw < MASKED_VIEW_DRAWS; draw++)
        for (size_t first = 0; first < view->images; first += view->chunk)
            IJ_TRY(look(view, draw, first, reterr_err));
    *ret_result = (struct masked_view_result){
        .explained = explained_share(&view->explained),
        .context = rankme_spread_summary(&view->spreads[SPREAD_CONTEXT]),
        .prediction = rankme_spread_summary(&view->spreads[SPREAD_PREDICTION]),
        .lidar = (double)NAN};
    if (view->images < 2)
        return IJ_OK;
    return lidar_compute(view->pooled, view->images, MASKED_VIEW_DRAWS, width, &ret_result->lidar,
                         reterr_err);
}
