/* The mask samplers. See masks.h. */
#include "gpu/model/masks.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/model/masks_compared.h"

#define TRIES_PER_TARGET 20

static const double square[2] = {1.0, 1.0};

enum ij_status masks_init(struct masks *masks, const struct mask_sizes_rules *rules, uint64_t seed,
                          uint32_t images_max, struct ij_err *reterr_err)
{
    IJ_ASSERT(rules->grid >= 2 && rules->grid <= MASK_SIZES_GRID_MAX);
    memset(masks, 0, sizeof *masks);
    masks->rules = *rules;
    masks->bounds = mask_sizes_bounds(rules);
    masks->seed = seed;
    masks->images_max = images_max;
    size_t images = images_max;
    masks->context = mem_array(int32_t, images * masks->bounds.context_max);
    masks->targets = mem_array(int32_t, images * rules->targets * masks->bounds.target_max);
    masks->lengths = mem_array(uint32_t, images);
    masks->rngs = mem_array(struct rng, images);
    if (masks->context && masks->targets && masks->lengths && masks->rngs)
        return IJ_OK;
    masks_done(masks);
    return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the masks of %u images", images_max);
}

void masks_done(struct masks *masks)
{
    mem_free(masks->context);
    mem_free(masks->targets);
    mem_free(masks->lengths);
    mem_free(masks->rngs);
    memset(masks, 0, sizeof *masks);
}

/* A top-left corner. The extent already leaves out what the published sampler never reaches: its
 * bound grid - size is exclusive. */
static void place(const struct masks *masks, struct mask_sizes_block size, struct rng *rng,
                  uint32_t *ret_top, uint32_t *ret_left)
{
    uint32_t extent = mask_sizes_extent(&masks->rules);
    *ret_top = rng_below(rng, extent - size.height + 1);
    *ret_left = rng_below(rng, extent - size.width + 1);
}

/* first[cell]: the lowest target that covers the cell, or the number of targets. */
static void place_targets(struct masks *masks, struct mask_sizes_block size, uint32_t image,
                          uint8_t *first)
{
    uint32_t grid = masks->rules.grid, top, left;
    memset(first, (int)masks->rules.targets, (size_t)grid * grid);
    for (uint32_t m = 0; m < masks->rules.targets; m++) {
        int32_t *out = masks->targets + ((size_t)m * masks->images + image) * masks->target_count;
        place(masks, size, &masks->rngs[image], &top, &left);
        for (uint32_t y = top; y < top + size.height; y++)
            for (uint32_t x = left; x < left + size.width; x++) {
                uint32_t cell = y * grid + x;
                *out++ = (int32_t)cell;
                if (first[cell] > m)
                    first[cell] = (uint8_t)m;
            }
    }
}

/* Returns the number of patches kept, written ascending to `out`. */
static uint32_t place_context(struct masks *masks, struct mask_sizes_block size, uint32_t image,
                              const uint8_t *first, int32_t *out)
{
    uint32_t grid = masks->rules.grid, targets = masks->rules.targets, top, left;
    for (uint32_t tries = 0;; tries++) {
        uint32_t dropped = tries / TRIES_PER_TARGET;
        uint32_t avoided = dropped < targets ? targets - dropped : 0, kept = 0;
        place(masks, size, &masks->rngs[image], &top, &left);
        for (uint32_t y = top; y < top + size.height; y++)
            for (uint32_t x = left; x < left + size.width; x++)
                kept += first[y * grid + x] >= avoided;
        if (kept <= masks->rules.min_keep)
            continue;
        IJ_ASSERT(kept <= masks->bounds.context_max);
        for (uint32_t y = top; y < top + size.height; y++)
            for (uint32_t x = left; x < left + size.width; x++)
                if (first[y * grid + x] >= avoided)
                    *out++ = (int32_t)(y * grid + x);
        return kept;
    }
}

/* Keeps `keep` of `length` indices in order, each set equally likely (selection sampling). */
static void cut_at_random(const int32_t *from, uint32_t length, uint32_t keep, struct rng *rng,
                          int32_t *to)
{
    uint32_t chosen = 0;
    for (uint32_t i = 0; chosen < keep; i++)
        if (rng_below(rng, length - i) < keep - chosen)
            to[chosen++] = from[i];
}

/* Cuts every context to the shortest and closes the gaps between them. */
static void cut(struct masks *masks)
{
    uint32_t shortest = UINT32_MAX;
    for (uint32_t i = 0; i < masks->images; i++)
        shortest = masks->lengths[i] < shortest ? masks->lengths[i] : shortest;
    masks->context_count = shortest;
    for (uint32_t i = 0; i < masks->images; i++) {
        int32_t *from = masks->context + (size_t)i * masks->bounds.context_max;
        int32_t *to = masks->context + (size_t)i * shortest;
        if (masks->rules.sampler == ENGINE_MASKS_UNBIASED)
            cut_at_random(from, masks->lengths[i], shortest, &masks->rngs[i], to);
        else
            memmove(to, from, shortest * sizeof *to);
    }
}

/* Multi-block: the places of blocks of given sizes. */
static void place_all(struct masks *masks, struct mask_sizes_block target,
                      struct mask_sizes_block context, uint64_t epoch, uint64_t batch,
                      uint32_t images)
{
    const struct mask_sizes_rules *r = &masks->rules;
    IJ_ASSERT(images >= 1 && images <= masks->images_max);
    IJ_ASSERT(context.height * context.width > r->min_keep); /* else placing would never end */
    masks->images = images;
    masks->target_count = target.height * target.width;
    for (uint32_t i = 0; i < images; i++) {
        uint8_t first[MASK_SIZES_GRID_MAX * MASK_SIZES_GRID_MAX];
        rng_init(&masks->rngs[i], masks->seed, RNG_MASK_PLACE, epoch, batch * images + i);
        place_targets(masks, target, i, first);
        masks->lengths[i] = place_context(masks, context, i, first,
                                          masks->context + (size_t)i * masks->bounds.context_max);
    }
    cut(masks);
}

void masks_draw_longest(struct masks *masks, uint64_t batch, uint32_t images)
{
    const struct mask_sizes_rules *r = &masks->rules;
    double last = nextafter(1, 0);
    struct mask_sizes_block context = mask_sizes_draw(r, r->context_scale, square, last, last);
    place_all(masks, masks->bounds.target_smallest, context, 0, batch, images);
}

void masks_draw(struct masks *masks, uint64_t epoch, uint64_t batch, uint32_t images)
{
    const struct mask_sizes_rules *r = &masks->rules;
    IJ_ASSERT(images >= 1 && images <= masks->images_max);
    struct rng sizes;
    rng_init(&sizes, masks->seed, RNG_MASK_SIZE, epoch, batch);
    double u_target = rng_uniform(&sizes), u_context = rng_uniform(&sizes);
    double u_aspect = r->sampler == ENGINE_MASKS_PUBLISHED ? u_target : rng_uniform(&sizes);
    struct mask_sizes_block target =
        mask_sizes_draw(r, r->target_scale, r->target_aspect, u_target, u_aspect);
    struct mask_sizes_block context =
        mask_sizes_draw(r, r->context_scale, square, u_context, u_context);
    if (r->masking == ENGINE_MASKING_MULTI_BLOCK) {
        place_all(masks, target, context, epoch, batch, images);
        return;
    }
    masks->images = images;
    masks_compared_draw(masks, target, epoch, batch);
}

void masks_keep(struct masks *masks, uint32_t first, uint32_t count)
{
    IJ_ASSERT(count >= 1 && first + count <= masks->images);
    size_t length = masks->context_count, block = masks->target_count;
    memmove(masks->context, masks->context + first * length,
            count * length * sizeof *masks->context);
    memmove(masks->lengths, masks->lengths + first, count * sizeof *masks->lengths);
    for (uint32_t m = 0; m < masks->rules.targets; m++)
        memmove(masks->targets + m * count * block,
                masks->targets + ((size_t)m * masks->images + first) * block,
                count * block * sizeof *masks->targets);
    masks->images = count;
}
