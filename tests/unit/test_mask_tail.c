/* The context tokens that are planned for: enough for what is drawn, less than the worst case. */
#include <criterion/criterion.h>

#include "base/mem.h"
#include "gpu/model/mask_tail.h"
#include "gpu/model/masks.h"
#include "tests/unit/spec_fixture.h"

static struct mask_sizes_rules rules_of(uint32_t grid, enum engine_sampler sampler)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 16 * grid, 16);
    spec.masks.sampler = sampler;
    return mask_sizes_from_spec(&spec);
}

static int64_t rows_of(const struct mask_sizes_rules *rules, uint32_t images)
{
    struct ij_err err = IJ_ERR_INIT;
    int64_t rows = 0;
    cr_assert_eq(mask_tail_rows(rules, images, &rows, &err), IJ_OK, "%s", err.text);
    return rows;
}

/* As many batches as a short run has: none is beyond the plan. */
static void expect_enough(uint32_t grid, enum engine_sampler sampler, uint32_t images,
                          uint32_t batches)
{
    struct mask_sizes_rules rules = rules_of(grid, sampler);
    int64_t rows = rows_of(&rules, images), most = 0;
    struct masks masks;
    cr_assert_eq(masks_init(&masks, &rules, 77, images, NULL), IJ_OK);
    for (uint32_t i = 0; i < batches; i++) {
        masks_draw(&masks, 0, i, images);
        most = masks.context_count > most ? masks.context_count : most;
    }
    masks_done(&masks);
    cr_expect(most * images <= rows, "grid %u, %u images: %lld of %.1f", grid, images,
              (long long)most, (double)rows / images);
}

Test(mask_tail, is_not_exceeded, .timeout = 120)
{
    static const uint32_t images[] = {2, 4, 16, 64, 128, 512};
    for (size_t i = 0; i < COUNT_OF(images); i++) {
        expect_enough(14, ENGINE_MASKS_PUBLISHED, images[i], 20000 / images[i]);
        expect_enough(16, ENGINE_MASKS_UNBIASED, images[i], 20000 / images[i]);
    }
}

/* Published masks at 128 images: far below the longest context, above what 4,000 simulated batches
 * brought (reference: 25 to 67 of 196 patches, 36 to 99 of 256). */
Test(mask_tail, of_published_masks)
{
    static const struct {
        uint32_t grid, longest_seen;
    } rows[] = {{14, 67}, {16, 99}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct mask_sizes_rules rules = rules_of(rows[i].grid, ENGINE_MASKS_PUBLISHED);
        double worst = mask_sizes_bounds(&rules).context_max;
        double planned = (double)rows_of(&rules, 128) / 128;
        cr_expect(planned >= rows[i].longest_seen && planned < 0.75 * worst,
                  "grid %u: %.1f, longest %g", rows[i].grid, planned, worst);
        cr_expect(rows_of(&rules, 512) < 512 * planned, "larger batches are cut to less");
    }
}

/* What fits a memory is found by halving, which more images that need less would upset. */
Test(mask_tail, never_falls_with_the_images)
{
    struct mask_sizes_rules rules = rules_of(10, ENGINE_MASKS_UNBIASED);
    int64_t before = 0;
    for (uint32_t images = 1; images < 200; images++) {
        int64_t rows = rows_of(&rules, images);
        cr_assert(rows >= before, "%u images", images);
        before = rows;
    }
}

Test(mask_tail, few_images_and_other_maskings_have_none)
{
    static const enum engine_masking maskings[] = {ENGINE_MASKING_RASTERIZED, ENGINE_MASKING_BLOCK,
                                                   ENGINE_MASKING_RANDOM};
    struct mask_sizes_rules rules = rules_of(14, ENGINE_MASKS_PUBLISHED);
    uint32_t longest = mask_sizes_bounds(&rules).context_max;
    for (uint32_t images = 1; images < 4; images++)
        cr_expect_eq(rows_of(&rules, images), images * longest);
    for (size_t i = 0; i < COUNT_OF(maskings); i++) {
        struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
        spec.masks.masking = maskings[i];
        spec.masks.masked_share = 0.6;
        rules = mask_sizes_from_spec(&spec);
        cr_expect_eq(rows_of(&rules, 128), 128 * mask_sizes_bounds(&rules).context_max);
    }
}

Test(mask_tail, without_memory_says_so)
{
    struct mask_sizes_rules rules = rules_of(14, ENGINE_MASKS_PUBLISHED);
    int64_t rows;
    for (long n = 0; n < 5; n++) {
        mem_fail_after(n);
        enum ij_status status = mask_tail_rows(&rules, 8, &rows, NULL);
        mem_fail_after(-1);
        cr_expect_eq(status, IJ_NO_MEMORY, "allocation %ld", n);
    }
    cr_expect_eq(mask_tail_rows(&rules, 8, &rows, NULL), IJ_OK);
}
