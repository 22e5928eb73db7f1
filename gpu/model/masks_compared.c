/* Rasterized, block and random masks. See masks_compared.h. */
#include "gpu/model/masks_compared.h"

#include <string.h>

#define QUADRANTS 4

/* One image: where its context and its targets go, and its own randomness. */
struct image {
    const struct mask_sizes_rules *rules;
    struct rng *rng;
    uint32_t target_count;
    int32_t *context, *target; /* target: of block 0 */
    size_t target_stride;      /* from one block to the next */
};

/* A block's patches, ascending. */
static void list_block(uint32_t grid, uint32_t top, uint32_t left, struct mask_sizes_block size,
                       int32_t *out)
{
    for (uint32_t y = top; y < top + size.height; y++)
        for (uint32_t x = left; x < left + size.width; x++)
            *out++ = (int32_t)(y * grid + x);
}

/* Returns the number of patches in the context. */
static uint32_t draw_quadrants(const struct image *image)
{
    uint32_t grid = image->rules->grid, half = grid / 2;
    uint32_t context = rng_below(image->rng, QUADRANTS), targets = 0;
    struct mask_sizes_block size = {half, half};
    for (uint32_t q = 0; q < QUADRANTS; q++) {
        uint32_t top = q / 2 * (grid - half), left = q % 2 * (grid - half);
        int32_t *out =
            q == context ? image->context : image->target + targets++ * image->target_stride;
        list_block(grid, top, left, size, out);
    }
    return half * half;
}

/* All patches that are not the target's; both ascend. */
static uint32_t list_complement(const struct image *image)
{
    uint32_t cells = image->rules->grid * image->rules->grid, next = 0, kept = 0;
    for (uint32_t cell = 0; cell < cells; cell++)
        if (next < image->target_count && (uint32_t)image->target[next] == cell)
            next++;
        else
            image->context[kept++] = (int32_t)cell;
    return kept;
}

static uint32_t draw_block(const struct image *image, struct mask_sizes_block size)
{
    uint32_t extent = mask_sizes_extent(image->rules);
    uint32_t top = rng_below(image->rng, extent - size.height + 1);
    uint32_t left = rng_below(image->rng, extent - size.width + 1);
    list_block(image->rules->grid, top, left, size, image->target);
    return list_complement(image);
}

/* Each set equally likely (selection sampling). */
static uint32_t draw_random(const struct image *image)
{
    uint32_t cells = image->rules->grid * image->rules->grid, chosen = 0;
    for (uint32_t cell = 0; chosen < image->target_count; cell++)
        if (rng_below(image->rng, cells - cell) < image->target_count - chosen)
            image->target[chosen++] = (int32_t)cell;
    return list_complement(image);
}

static uint32_t count_of_targets(const struct mask_sizes_rules *rules,
                                 struct mask_sizes_block block)
{
    if (rules->masking == ENGINE_MASKING_RASTERIZED)
        return rules->grid / 2 * (rules->grid / 2);
    return rules->masking == ENGINE_MASKING_BLOCK ? block.height * block.width
                                                  : mask_sizes_random(rules);
}

void masks_compared_draw(struct masks *masks, struct mask_sizes_block block, uint64_t epoch,
                         uint64_t batch)
{
    const struct mask_sizes_rules *r = &masks->rules;
    uint32_t count = count_of_targets(r, block), cells = r->grid * r->grid;
    masks->target_count = count;
    masks->context_count = r->masking == ENGINE_MASKING_RASTERIZED ? count : cells - count;
    for (uint32_t i = 0; i < masks->images; i++) {
        struct image image = {.rules = r,
                              .rng = &masks->rngs[i],
                              .target_count = count,
                              .context = masks->context + (size_t)i * masks->context_count,
                              .target = masks->targets + (size_t)i * count,
                              .target_stride = (size_t)masks->images * count};
        rng_init(image.rng, masks->seed, RNG_MASK_PLACE, epoch, batch * masks->images + i);
        if (r->masking == ENGINE_MASKING_RASTERIZED)
            masks->lengths[i] = draw_quadrants(&image);
        else if (r->masking == ENGINE_MASKING_BLOCK)
            masks->lengths[i] = draw_block(&image, block);
        else
            masks->lengths[i] = draw_random(&image);
        IJ_ASSERT(masks->lengths[i] == masks->context_count);
    }
}
