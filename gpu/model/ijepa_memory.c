/* See ijepa_memory.h. */
#include "gpu/model/ijepa_memory.h"

#include <stdlib.h>

#include "base/mem.h"
#include "gpu/model/ijepa_views.h"
#include "gpu/model/lanes.h"
#include "gpu/model/mask_tail.h"
#include "gpu/ops/cuda_plan.h"

enum ij_status ijepa_limits(const struct mask_sizes_rules *rules, uint32_t images,
                            struct predictor_limits *ret_limits, struct ij_err *reterr_err)
{
    struct mask_sizes_bounds bounds = mask_sizes_bounds(rules);
    int64_t whole = images < IJEPA_WHOLE ? images : IJEPA_WHOLE, rows;
    IJ_TRY(mask_tail_rows(rules, images, &rows, reterr_err));
    if (rows < whole * bounds.context_max)
        rows = whole * bounds.context_max;
    *ret_limits = (struct predictor_limits){.images = images,
                                            .blocks = rules->targets,
                                            .context_count = bounds.context_max,
                                            .target_count = bounds.target_max,
                                            .context_rows = rows};
    return IJ_OK;
}

struct ijepa_scratch ijepa_scratch(const struct vit_config *c, const struct predictor_limits *l)
{
    int64_t sequence_rows = l->blocks * (l->context_rows + l->images * l->target_count);
    int64_t widths[] = {3 * c->encoder.width, c->encoder.hidden, 3 * c->predictor.width,
                        c->predictor.hidden, c->patch_values};
    struct ijepa_scratch s = {.rows = l->images * c->patches, .heads = c->encoder.heads};
    if (s.rows < sequence_rows)
        s.rows = sequence_rows;
    for (size_t i = 0; i < COUNT_OF(widths); i++)
        s.width = widths[i] > s.width ? widths[i] : s.width;
    if (s.heads < c->predictor.heads)
        s.heads = c->predictor.heads;
    if (c->target_e4m3) /* sums of float8 products before they are scaled: a number per value */
        s.heads = c->encoder.width;
    return s;
}

enum ij_status ijepa_measure(const struct vit_config *config, const struct predictor_limits *limits,
                             enum tensor_type pixels, struct ijepa_bytes *ret_bytes,
                             struct ij_err *reterr_err)
{
    struct ijepa_views v;
    struct carve activations = {.base = NULL};
    enum ij_status status = ijepa_views_init(&v, config, reterr_err);
    if (status == IJ_OK) {
        ijepa_views_carve(&v, &activations, config, limits);
        ret_bytes->input = OPS_LANES * lanes_measure(config, limits, pixels);
        ret_bytes->activations = activations.peak;
        struct ijepa_scratch s = ijepa_scratch(config, limits);
        ret_bytes->scratch = cuda_plan_scratch(s.rows, s.width, s.heads);
    }
    ijepa_views_done(&v);
    return status;
}

/* ---- What is written ------------------------------------------------------------------------- */

/* The model's views as a batch fills them, or as they were carved. */
static size_t list_views(struct ijepa_views *v, const struct vit_config *config,
                         const struct predictor_limits *limits, struct carve_view *ret_views)
{
    struct carve carve = {.views = ret_views};
    ijepa_views_carve(v, &carve, config, limits);
    return carve.count;
}

/* A batch that is worked on in parts writes no more than has room. */
static struct predictor_limits limits_of(const struct predictor_limits *most,
                                         const struct ijepa_lengths *lengths)
{
    struct predictor_limits l = *most;
    l.context_count = lengths->context_count;
    l.target_count = lengths->target_count;
    if (l.images * l.context_count < most->context_rows)
        l.context_rows = l.images * l.context_count;
    return l;
}

static int by_place(const void *a, const void *b)
{
    const struct carve_view *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Bytes that lie in at least one view; sorts them. */
static uint64_t bytes_covered(struct carve_view *views, size_t count)
{
    uint64_t sum = 0, end = 0;
    qsort(views, count, sizeof *views, by_place);
    for (size_t i = 0; i < count; i++) {
        uint64_t begin = views[i].begin > end ? views[i].begin : end;
        uint64_t to = views[i].begin + views[i].bytes;
        sum += to > begin ? to - begin : 0;
        end = to > end ? to : end;
    }
    return sum;
}

enum ij_status ijepa_written(const struct vit_config *config, const struct predictor_limits *limits,
                             const struct ijepa_lengths *lengths, size_t count, uint64_t *ret_bytes,
                             struct ij_err *reterr_err)
{
    struct ijepa_views v;
    enum ij_status status;
    struct carve_view *views = NULL;
    IJ_TRY_GOTO(status, ijepa_views_init(&v, config, reterr_err), out);
    size_t all = list_views(&v, config, limits, NULL);
    views = mem_array(struct carve_view, 2 * all);
    if (!views) {
        status = IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to look at views");
        goto out;
    }
    (void)list_views(&v, config, limits, views);
    for (size_t i = 0; i < all; i++)
        views[i].bytes = 0;
    for (size_t b = 0; b < count; b++) {
        struct predictor_limits batch = limits_of(limits, &lengths[b]);
        (void)list_views(&v, config, &batch, views + all);
        for (size_t i = 0; i < all; i++)
            if (views[i].bytes < views[all + i].bytes)
                views[i].bytes = views[all + i].bytes;
    }
    *ret_bytes = bytes_covered(views, all);
out:
    mem_free(views);
    ijepa_views_done(&v);
    return status;
}
