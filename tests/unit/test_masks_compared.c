/*
 * Rasterized, block and random masking: geometry, coverage, determinism, what is refused; and that
 * multi-block masks stay bit for bit what they were before there were others.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/model/masks.h"
#include "tests/unit/spec_fixture.h"

#define IMAGES  16
#define BATCHES 400
#define CELLS   256

static struct mask_sizes_rules rules_of(uint32_t grid, enum engine_masking masking)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 16 * grid, 16);
    spec.masks.masking = masking;
    spec.masks.masked_share = 0.6;
    spec.masks.min_keep = 1;
    return mask_sizes_from_spec(&spec);
}

static struct masks open_masks(uint32_t grid, enum engine_masking masking,
                               enum engine_sampler sampler)
{
    struct mask_sizes_rules rules = rules_of(grid, masking);
    struct masks masks;
    rules.sampler = sampler;
    cr_assert_eq(mask_sizes_check(&rules, NULL), IJ_OK);
    cr_assert_eq(masks_init(&masks, &rules, 5, IMAGES, NULL), IJ_OK);
    return masks;
}

static const int32_t *target_of(const struct masks *m, uint32_t block, uint32_t image)
{
    return m->targets + (size_t)(block * m->images + image) * m->target_count;
}

/* Every patch of the parts in range, ascending, and in no other part. Returns how many cells of the
 * grid are in some part. */
static uint32_t expect_apart(const struct masks *m, uint32_t image)
{
    bool seen[CELLS] = {false};
    uint32_t cells = m->rules.grid * m->rules.grid, total = 0;
    for (uint32_t part = 0; part <= m->rules.targets; part++) {
        bool context = part == m->rules.targets;
        const int32_t *list =
            context ? m->context + (size_t)image * m->context_count : target_of(m, part, image);
        uint32_t count = context ? m->context_count : m->target_count;
        for (uint32_t k = 0; k < count; k++, total++) {
            cr_assert(list[k] >= 0 && (uint32_t)list[k] < cells && !seen[list[k]]);
            cr_assert(k == 0 || list[k] > list[k - 1]);
            seen[list[k]] = true;
        }
    }
    return total;
}

/* The rectangle between the first and the last patch is what is listed. */
static void expect_rectangle(const struct masks *m, const int32_t *list, uint32_t count)
{
    int32_t grid = (int32_t)m->rules.grid, width = list[count - 1] % grid - list[0] % grid + 1;
    for (int32_t k = 0; k < (int32_t)count; k++)
        cr_assert_eq(list[k], list[0] + k / width * grid + k % width);
}

Test(masks_compared, rasterized_is_four_quadrants)
{
    struct masks m = open_masks(14, ENGINE_MASKING_RASTERIZED, ENGINE_MASKS_PUBLISHED);
    uint32_t quadrants[4] = {0};
    cr_assert_eq(m.rules.targets, 3);
    for (uint64_t b = 0; b < BATCHES; b++) {
        masks_draw(&m, 0, b, IMAGES);
        cr_assert(m.context_count == 49 && m.target_count == 49);
        for (uint32_t i = 0; i < IMAGES; i++) {
            const int32_t *context = m.context + (size_t)i * 49;
            cr_assert_eq(expect_apart(&m, i), 196);
            expect_rectangle(&m, context, 49);
            for (uint32_t t = 0; t < 3; t++)
                expect_rectangle(&m, target_of(&m, t, i), 49);
            quadrants[(context[0] >= 7 * 14 ? 2 : 0) + (context[0] % 14 >= 7)]++;
        }
    }
    for (int q = 0; q < 4; q++) /* 6400 draws: 1600 each, deviation 35 */
        cr_expect(abs((int)quadrants[q] - BATCHES * IMAGES / 4) < 5 * 35, "quadrant %d: %u", q,
                  quadrants[q]);
    masks_done(&m);
}

Test(masks_compared, rasterized_leaves_out_the_middle_of_an_odd_grid)
{
    struct masks m = open_masks(7, ENGINE_MASKING_RASTERIZED, ENGINE_MASKS_PUBLISHED);
    masks_draw(&m, 0, 0, IMAGES);
    cr_assert_eq(m.target_count, 9);
    for (uint32_t i = 0; i < IMAGES; i++) {
        cr_assert_eq(expect_apart(&m, i), 36);
        for (uint32_t t = 0; t < 3; t++)
            for (uint32_t k = 0; k < 9; k++)
                cr_assert(target_of(&m, t, i)[k] / 7 != 3 && target_of(&m, t, i)[k] % 7 != 3);
    }
    masks_done(&m);
}

/* int(196 * 0.6) = 117 patches and an aspect of 0.75 to 1.5, rounded to a block. */
static void expect_blocks(enum engine_sampler sampler, int32_t reached)
{
    struct masks m = open_masks(14, ENGINE_MASKING_BLOCK, sampler);
    int32_t last_row = 0, last_column = 0;
    cr_assert_eq(m.rules.targets, 1);
    for (uint64_t b = 0; b < BATCHES; b++) {
        masks_draw(&m, 0, b, IMAGES);
        cr_assert_eq(m.context_count + m.target_count, 196);
        cr_assert(m.target_count <= m.bounds.target_max && m.context_count <= m.bounds.context_max);
        cr_assert(fabs((double)m.target_count - 117) <= 9, "%u", m.target_count);
        for (uint32_t i = 0; i < IMAGES; i++) {
            const int32_t *target = target_of(&m, 0, i);
            int32_t end = target[m.target_count - 1];
            cr_assert_eq(expect_apart(&m, i), 196);
            expect_rectangle(&m, target, m.target_count);
            last_row = end / 14 > last_row ? end / 14 : last_row;
            last_column = end % 14 > last_column ? end % 14 : last_column;
        }
    }
    cr_expect(last_row == reached && last_column == reached, "%d, %d", last_row, last_column);
    masks_done(&m);
}

Test(masks_compared, block_is_a_block_and_its_complement)
{
    expect_blocks(ENGINE_MASKS_PUBLISHED, 12);
    expect_blocks(ENGINE_MASKS_UNBIASED, 13);
}

Test(masks_compared, random_draws_each_patch_equally_often)
{
    struct masks m = open_masks(14, ENGINE_MASKING_RANDOM, ENGINE_MASKS_PUBLISHED);
    double hits[196] = {0}, draws = BATCHES * IMAGES, share = 117.0 / 196;
    double together = 0; /* patches 0 and 1 both targets */
    for (uint64_t b = 0; b < BATCHES; b++) {
        masks_draw(&m, 0, b, IMAGES);
        cr_assert(m.target_count == 117 && m.context_count == 79);
        for (uint32_t i = 0; i < IMAGES; i++) {
            const int32_t *target = target_of(&m, 0, i);
            cr_assert_eq(expect_apart(&m, i), 196);
            for (uint32_t k = 0; k < 117; k++)
                hits[target[k]]++;
            together += target[0] == 0 && target[1] == 1;
        }
    }
    double deviation = sqrt(share * (1 - share) / draws);
    for (int cell = 0; cell < 196; cell++)
        cr_expect(fabs(hits[cell] / draws - share) < 5 * deviation, "patch %d: %g", cell,
                  hits[cell] / draws);
    cr_expect(fabs(together / draws - share * 116 / 195) < 5 * deviation, "%g", together / draws);
    masks_done(&m);
}

Test(masks_compared, are_a_function_of_seed_epoch_and_place)
{
    for (enum engine_masking k = ENGINE_MASKING_RASTERIZED; k <= ENGINE_MASKING_RANDOM; k++) {
        struct masks a = open_masks(14, k, ENGINE_MASKS_PUBLISHED);
        struct masks b = open_masks(14, k, ENGINE_MASKS_PUBLISHED);
        masks_draw(&a, 3, 7, IMAGES);
        masks_draw(&b, 2, 7, IMAGES);
        size_t size = (size_t)IMAGES * a.context_count * sizeof(int32_t);
        cr_expect(a.context_count != b.context_count || memcmp(a.context, b.context, size) != 0);
        masks_draw(&b, 3, 7, IMAGES);
        cr_assert_eq(a.context_count, b.context_count);
        cr_expect_arr_eq(a.context, b.context, size);
        cr_expect_arr_eq(a.targets, b.targets,
                         (size_t)a.rules.targets * IMAGES * a.target_count * sizeof(int32_t));
        masks_done(&a);
        masks_done(&b);
    }
}

/* ---- Bounds and refusals --------------------------------------------------------------------- */

static void expect_refusal(struct mask_sizes_rules rules, uint32_t least, const char *field)
{
    struct ij_err err = IJ_ERR_INIT;
    rules.min_keep = least - 1;
    cr_expect_eq(mask_sizes_check(&rules, &err), IJ_OK, "%s", err.text);
    rules.min_keep = least;
    cr_assert_eq(mask_sizes_check(&rules, &err), IJ_INVALID);
    cr_expect_str_eq(err.field, field);
}

/* Refused where a part would not have more than min_keep patches. */
Test(masks_compared, min_keep_is_checked_against_the_smallest_part)
{
    expect_refusal(rules_of(6, ENGINE_MASKING_RASTERIZED), 9, "masks.min_keep");
    expect_refusal(rules_of(6, ENGINE_MASKING_RANDOM), 15, "masks.min_keep"); /* 21 and 15 */
    struct mask_sizes_rules block = rules_of(14, ENGINE_MASKING_BLOCK);
    struct mask_sizes_bounds bounds = mask_sizes_bounds(&block);
    cr_assert_eq(bounds.context_smallest.width, 196 - bounds.target_max);
    expect_refusal(block, bounds.context_smallest.width, "masks.min_keep");
}

Test(masks_compared, an_empty_part_is_refused)
{
    struct ij_err err = IJ_ERR_INIT;
    struct mask_sizes_rules rules = rules_of(4, ENGINE_MASKING_RANDOM);
    rules.min_keep = 0;
    rules.masked_share = 0.0625; /* one patch of 16 */
    cr_expect_eq(mask_sizes_check(&rules, NULL), IJ_OK);
    rules.masked_share = 0.06;
    cr_assert_eq(mask_sizes_check(&rules, &err), IJ_INVALID);
    cr_expect_str_eq(err.field, "masks.masked_share");
}

Test(masks_compared, the_engine_checks_and_previews_each)
{
    static const uint32_t blocks[] = {4, 3, 1, 1};
    struct engine_mask_preview *preview = mem_new(struct engine_mask_preview);
    struct ij_err err = IJ_ERR_INIT;
    cr_assert(preview);
    for (enum engine_masking k = ENGINE_MASKING_MULTI_BLOCK; k <= ENGINE_MASKING_RANDOM; k++) {
        struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
        spec.masks.masking = k;
        spec.masks.masked_share = 0.6;
        cr_assert_eq(engine_preview_masks(&spec, 1, preview, &err), IJ_OK, "%s", err.text);
        cr_expect_eq(preview->blocks, blocks[k]);
        for (uint32_t b = 0; b < preview->blocks; b++)
            cr_expect_gt(preview->target_count[b], 0);
    }
    mem_free(preview);
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    spec.masks.masking = ENGINE_MASKING_BLOCK;
    spec.masks.masked_share = 0.995;
    cr_assert_eq(engine_check(&spec, &err), IJ_INVALID);
    cr_expect_str_eq(err.field, "masks.masked_share");
}

/* ---- Multi-block, unchanged ------------------------------------------------------------------ */

static uint64_t hash_more(uint64_t hash, const int32_t *values, size_t count)
{
    const unsigned char *bytes = (const unsigned char *)values;
    for (size_t i = 0; i < count * sizeof *values; i++)
        hash = (hash ^ bytes[i]) * 1099511628211u; /* FNV-1a */
    return hash;
}

/* The hashes were taken from the two samplers at commit a655336, which had no other masking. */
Test(masks_compared, multi_block_is_what_it_was)
{
    static const struct {
        enum engine_sampler sampler;
        uint32_t grid;
        uint64_t hash;
    } rows[] = {{ENGINE_MASKS_PUBLISHED, 14, 0x6ebd2d0bfc250a96},
                {ENGINE_MASKS_PUBLISHED, 16, 0x7444cd9b4dac5529},
                {ENGINE_MASKS_UNBIASED, 14, 0x954637832beff482},
                {ENGINE_MASKS_UNBIASED, 16, 0x66824a698816fa52}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct engine_spec spec = spec_fixture("vit_tiny", 16 * rows[i].grid, 16);
        spec.masks.sampler = rows[i].sampler;
        struct mask_sizes_rules rules = mask_sizes_from_spec(&spec);
        struct masks m;
        uint64_t hash = 14695981039346656037u;
        cr_assert_eq(masks_init(&m, &rules, 5, 32, NULL), IJ_OK);
        for (uint64_t b = 0; b < 50; b++) {
            masks_draw(&m, 2, b, 32);
            hash = hash_more(hash, m.context, (size_t)32 * m.context_count);
            hash = hash_more(hash, m.targets, (size_t)128 * m.target_count);
        }
        cr_expect_eq(hash, rows[i].hash, "row %zu: %#lx", i, (unsigned long)hash);
        masks_done(&m);
    }
}
