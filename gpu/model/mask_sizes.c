/*
 * The set of block sizes that can be drawn. See mask_sizes.h.
 *
 * An area k = int(grid^2 * scale) and an aspect a give a block of height round(sqrt(k a)) and width
 * round(sqrt(k / a)). For each k that can be drawn the aspects that go with it form an interval:
 * all of it for the unbiased sampler, the part drawn with the same uniform for the published one.
 * The interval is cut where the rounding of height or width changes; each piece of positive length
 * is a size.
 */
#include "gpu/model/mask_sizes.h"

#include <math.h>
#include <string.h>

#define SIDES (MASK_SIZES_GRID_MAX + 1)

static const double square[2] = {1.0, 1.0};

/* reach[h][w]: a block of this size can be drawn. */
struct reach {
    bool block[SIDES][SIDES];
};

struct mask_sizes_rules mask_sizes_from_spec(const struct engine_spec *spec)
{
    const struct engine_masks *m = &spec->masks;
    struct mask_sizes_rules r = {
        .masking = m->masking,
        .sampler = m->sampler,
        .grid = spec->data.crop / spec->model.patch,
        .targets = m->targets,
        .min_keep = m->min_keep,
        .target_scale = {m->target_scale[0], m->target_scale[1]},
        .target_aspect = {m->target_aspect[0], m->target_aspect[1]},
        .context_scale = {m->context_scale[0], m->context_scale[1]},
        .masked_share = m->masked_share,
    };
    if (r.masking == ENGINE_MASKING_RASTERIZED)
        r.targets = 3;
    if (r.masking == ENGINE_MASKING_BLOCK || r.masking == ENGINE_MASKING_RANDOM)
        r.targets = 1;
    if (r.masking == ENGINE_MASKING_BLOCK)
        r.target_scale[0] = r.target_scale[1] = m->masked_share;
    return r;
}

uint32_t mask_sizes_random(const struct mask_sizes_rules *rules)
{
    return (uint32_t)(rules->masked_share * rules->grid * rules->grid);
}

uint32_t mask_sizes_extent(const struct mask_sizes_rules *rules)
{
    return rules->sampler == ENGINE_MASKS_PUBLISHED ? rules->grid - 1 : rules->grid;
}

static uint32_t side(double exact, uint32_t cap)
{
    double rounded = nearbyint(exact); /* half to even */
    return rounded < (double)cap ? (uint32_t)rounded : cap;
}

struct mask_sizes_block mask_sizes_draw(const struct mask_sizes_rules *rules, const double scale[2],
                                        const double aspect[2], double u_scale, double u_aspect)
{
    double cells = (double)rules->grid * rules->grid;
    double area = floor(cells * (scale[0] + u_scale * (scale[1] - scale[0])));
    double ratio = aspect[0] + u_aspect * (aspect[1] - aspect[0]);
    uint32_t cap = mask_sizes_extent(rules);
    struct mask_sizes_block b = {side(sqrt(area * ratio), cap), side(sqrt(area / ratio), cap)};
    return b;
}

/* Sizes of area `area` with an aspect in [low, high]; a single aspect counts where low == high. */
static void reach_area(struct reach *reach, double area, double low, double high, uint32_t cap)
{
    double h_last = nearbyint(sqrt(area * high)), w_last = nearbyint(sqrt(area / low));
    for (double h = nearbyint(sqrt(area * low)); h <= h_last; h++) {
        double h_low = fmax(low, h > 0 ? (h - 0.5) * (h - 0.5) / area : 0);
        double h_high = fmin(high, (h + 0.5) * (h + 0.5) / area);
        for (double w = nearbyint(sqrt(area / high)); w <= w_last; w++) {
            double a_low = fmax(h_low, area / ((w + 0.5) * (w + 0.5)));
            double a_high = w > 0 ? fmin(h_high, area / ((w - 0.5) * (w - 0.5))) : h_high;
            bool one = low == high && a_low <= a_high;
            if (one || a_high - a_low > 1e-12)
                reach->block[side(h, cap)][side(w, cap)] = true;
        }
    }
}

static void reach_all(const struct mask_sizes_rules *rules, const double scale[2],
                      const double aspect[2], struct reach *ret_reach)
{
    double cells = (double)rules->grid * rules->grid, spread = scale[1] - scale[0];
    uint32_t cap = mask_sizes_extent(rules);
    memset(ret_reach, 0, sizeof *ret_reach);
    for (double k = floor(cells * scale[0]); k <= cells * scale[1]; k++) {
        double u_low = spread > 0 ? fmax(0, (k / cells - scale[0]) / spread) : 0;
        double u_high = spread > 0 ? fmin(1, ((k + 1) / cells - scale[0]) / spread) : 1;
        if (u_high - u_low <= 1e-12)
            continue;
        if (k == 0) {
            ret_reach->block[0][0] = true;
            continue;
        }
        if (rules->sampler == ENGINE_MASKS_UNBIASED)
            u_low = 0, u_high = 1;
        double range = aspect[1] - aspect[0];
        reach_area(ret_reach, k, aspect[0] + u_low * range, aspect[0] + u_high * range, cap);
    }
}

static void extremes(const struct reach *reach, struct mask_sizes_block *ret_smallest,
                     uint32_t *ret_max)
{
    uint32_t least = UINT32_MAX, most = 0;
    for (uint32_t h = 0; h < SIDES; h++)
        for (uint32_t w = 0; w < SIDES; w++) {
            if (!reach->block[h][w])
                continue;
            if (h * w < least) {
                least = h * w;
                *ret_smallest = (struct mask_sizes_block){h, w};
            }
            most = h * w > most ? h * w : most;
        }
    *ret_max = most;
}

/* Patches that blocks of sides a and b along one axis share wherever they lie. */
static uint32_t overlap(uint32_t a, uint32_t b, uint32_t extent)
{
    return a + b > extent ? a + b - extent : 0;
}

/* Most patches of a context of h x w that cannot avoid every target. */
static uint32_t kept_at_most(const struct reach *target, uint32_t h, uint32_t w, uint32_t extent)
{
    uint32_t most = 0;
    for (uint32_t th = 0; th < SIDES; th++)
        for (uint32_t tw = 0; tw < SIDES; tw++)
            if (target->block[th][tw]) {
                uint32_t kept = h * w - overlap(h, th, extent) * overlap(w, tw, extent);
                most = kept > most ? kept : most;
            }
    return most;
}

static struct mask_sizes_bounds bounds_of_parts(struct mask_sizes_block target, uint32_t target_max,
                                                struct mask_sizes_block context,
                                                uint32_t context_max)
{
    struct mask_sizes_bounds b = {.target_smallest = target,
                                  .context_smallest = context,
                                  .target_max = target_max,
                                  .context_max = context_max};
    return b;
}

/* Rasterized, block and random: the context is all that is not a target, or a quadrant. */
static struct mask_sizes_bounds bounds_of_compared(const struct mask_sizes_rules *rules)
{
    uint32_t cells = rules->grid * rules->grid, half = rules->grid / 2, most;
    struct mask_sizes_block smallest = {half, half};
    if (rules->masking == ENGINE_MASKING_RASTERIZED)
        return bounds_of_parts(smallest, half * half, smallest, half * half);
    if (rules->masking == ENGINE_MASKING_RANDOM) {
        most = mask_sizes_random(rules);
        smallest = (struct mask_sizes_block){1, most};
    } else {
        struct reach target;
        reach_all(rules, rules->target_scale, rules->target_aspect, &target);
        extremes(&target, &smallest, &most);
    }
    struct mask_sizes_block context = {1, cells - most};
    return bounds_of_parts(smallest, most, context, cells - smallest.height * smallest.width);
}

struct mask_sizes_bounds mask_sizes_bounds(const struct mask_sizes_rules *rules)
{
    if (rules->masking != ENGINE_MASKING_MULTI_BLOCK)
        return bounds_of_compared(rules);

    struct reach target, context;
    struct mask_sizes_bounds b = {.context_max = 0};
    reach_all(rules, rules->target_scale, rules->target_aspect, &target);
    reach_all(rules, rules->context_scale, square, &context);
    extremes(&target, &b.target_smallest, &b.target_max);
    extremes(&context, &b.context_smallest, &b.context_max);
    /* The first target is given up only after a context that avoids it alone has failed. */
    uint32_t least = b.context_smallest.height * b.context_smallest.width;
    if (least <= b.target_max + rules->min_keep)
        return b;
    b.context_max = 0;
    for (uint32_t h = 0; h < SIDES; h++)
        for (uint32_t w = 0; w < SIDES; w++)
            if (context.block[h][w]) {
                uint32_t kept = kept_at_most(&target, h, w, mask_sizes_extent(rules));
                b.context_max = kept > b.context_max ? kept : b.context_max;
            }
    return b;
}

static enum ij_status check_block(struct mask_sizes_block b, uint32_t min_keep, const char *what,
                                  const char *field, struct ij_err *reterr_err)
{
    uint32_t area = b.height * b.width;
    if (area > min_keep)
        return IJ_OK;
    if (area == 0)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field,
                            "a %s block of %u x %u patches can be drawn: nothing would be kept and "
                            "sampling would never end; raise %s",
                            what, b.height, b.width, field);
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "masks.min_keep",
                        "a %s block of %u x %u patches can be drawn, which does not keep more than "
                        "min_keep = %u patches: sampling would never end; set masks.min_keep to %u "
                        "or less, or raise %s or the patch grid",
                        what, b.height, b.width, min_keep, area - 1, field);
}

/* A target or context of rasterized, block or random masking: there is nothing to redraw. */
static enum ij_status check_part(uint32_t patches, const struct mask_sizes_rules *rules,
                                 const char *what, const char *cure, struct ij_err *reterr_err)
{
    if (patches > rules->min_keep)
        return IJ_OK;
    if (patches == 0)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "masks.masked_share",
                            "the %s would have no patches; %s masks.masked_share", what, cure);
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "masks.min_keep",
                        "with this masking a %s can have %u patches, which is not more than "
                        "min_keep = %u; set masks.min_keep to %u or less",
                        what, patches, rules->min_keep, patches - 1);
}

static enum ij_status check_compared(const struct mask_sizes_rules *rules,
                                     const struct mask_sizes_bounds *b, struct ij_err *reterr_err)
{
    IJ_TRY(check_part(b->target_smallest.height * b->target_smallest.width, rules, "target",
                      "raise", reterr_err));
    return check_part(b->context_smallest.height * b->context_smallest.width, rules, "context",
                      "lower", reterr_err);
}

enum ij_status mask_sizes_check(const struct mask_sizes_rules *rules, struct ij_err *reterr_err)
{
    struct mask_sizes_bounds b = mask_sizes_bounds(rules);
    if (rules->masking != ENGINE_MASKING_MULTI_BLOCK)
        return check_compared(rules, &b, reterr_err);
    IJ_TRY(check_block(b.target_smallest, rules->min_keep, "target", "masks.target_scale",
                       reterr_err));
    return check_block(b.context_smallest, rules->min_keep, "context", "masks.context_scale",
                       reterr_err);
}
