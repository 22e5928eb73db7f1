/* Block sizes: published draws, bounds against many draws, refusal of what could never end. */
#include <criterion/criterion.h>

#include "base/rng.h"
#include "gpu/model/mask_sizes.h"
#include "tests/unit/spec_fixture.h"

static struct mask_sizes_rules rules_of(uint32_t grid, enum engine_sampler sampler)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 16 * grid, 16);
    spec.masks.sampler = sampler;
    return mask_sizes_from_spec(&spec);
}

/* Draws of the official sampler for its generator's seeds 0 to 4 (reference values). */
Test(mask_sizes, published_draws)
{
    static const struct {
        double target, context;
        uint32_t size14[2], size16[2], size28[2], context28;
    } rows[] = {
        {.496256590, .768221796, {6, 6}, {7, 6}, {12, 11}, 27},
        {.757631600, .279310882, {7, 5}, {8, 6}, {14, 11}, 26},
        {.614695072, .381012857, {7, 5}, {7, 6}, {13, 11}, 27},
        {.004263520, .105569363, {5, 6}, {5, 7}, {9, 12}, 26},
        {.559638619, .559092402, {6, 5}, {7, 6}, {13, 11}, 27},
    };
    static const uint32_t grids[] = {14, 16, 28};
    static const double square[2] = {1, 1};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t g = 0; g < 3; g++) {
            struct mask_sizes_rules r = rules_of(grids[g], ENGINE_MASKS_PUBLISHED);
            const uint32_t *want = g == 0   ? rows[i].size14
                                   : g == 1 ? rows[i].size16
                                            : rows[i].size28;
            struct mask_sizes_block t = mask_sizes_draw(&r, r.target_scale, r.target_aspect,
                                                        rows[i].target, rows[i].target);
            cr_expect(t.height == want[0] && t.width == want[1], "seed %zu grid %u: %ux%u", i,
                      grids[g], t.height, t.width);
            struct mask_sizes_block c =
                mask_sizes_draw(&r, r.context_scale, square, rows[i].context, rows[i].context);
            uint32_t side = grids[g] == 28 ? rows[i].context28 : grids[g] - 1;
            cr_expect(c.height == side && c.width == side);
        }
}

static void expect_bounds(struct mask_sizes_rules r)
{
    struct mask_sizes_bounds b = mask_sizes_bounds(&r);
    uint32_t least = UINT32_MAX, most = 0;
    struct rng rng;
    rng_init(&rng, 1, RNG_TEST, r.grid, r.sampler);
    for (int i = 0; i < 200000; i++) {
        double u = rng_uniform(&rng);
        double v = r.sampler == ENGINE_MASKS_PUBLISHED ? u : rng_uniform(&rng);
        struct mask_sizes_block t = mask_sizes_draw(&r, r.target_scale, r.target_aspect, u, v);
        uint32_t area = t.height * t.width;
        least = area < least ? area : least;
        most = area > most ? area : most;
    }
    uint32_t smallest = b.target_smallest.height * b.target_smallest.width;
    cr_expect(smallest == least, "grid %u: smallest %u, drawn %u", r.grid, smallest, least);
    cr_expect(b.target_max == most, "grid %u: largest %u, drawn %u", r.grid, b.target_max, most);
}

Test(mask_sizes, bounds_are_those_of_many_draws)
{
    static const uint32_t grids[] = {6, 8, 10, 14, 16, 28};
    for (size_t g = 0; g < sizeof grids / sizeof grids[0]; g++) {
        expect_bounds(rules_of(grids[g], ENGINE_MASKS_PUBLISHED));
        expect_bounds(rules_of(grids[g], ENGINE_MASKS_UNBIASED));
    }
}

/* Target lengths of the published sampler: 30-40, 35-54, 108-154 (reference values). */
Test(mask_sizes, published_target_lengths)
{
    static const uint32_t want[][3] = {{14, 30, 40}, {16, 35, 54}, {28, 108, 154}};
    for (size_t i = 0; i < 3; i++) {
        struct mask_sizes_rules r = rules_of(want[i][0], ENGINE_MASKS_PUBLISHED);
        struct mask_sizes_bounds b = mask_sizes_bounds(&r);
        cr_expect_eq(b.target_smallest.height * b.target_smallest.width, want[i][1]);
        cr_expect_eq(b.target_max, want[i][2]);
    }
}

/* The grids on which the official sampler hangs with its default parameters. */
Test(mask_sizes, refuses_what_could_never_end)
{
    for (uint32_t grid = 6; grid <= 8; grid++) {
        struct ij_err err = IJ_ERR_INIT;
        struct mask_sizes_rules r = rules_of(grid, ENGINE_MASKS_PUBLISHED);
        cr_expect_eq(mask_sizes_check(&r, &err), IJ_INVALID);
        cr_expect_str_eq(err.field, "masks.min_keep");
    }
    for (uint32_t grid = 10; grid <= 64; grid++) {
        struct mask_sizes_rules r = rules_of(grid, ENGINE_MASKS_PUBLISHED);
        cr_expect_eq(mask_sizes_check(&r, NULL), IJ_OK, "grid %u", grid);
    }
}

Test(mask_sizes, min_keep_at_its_limit)
{
    struct ij_err err = IJ_ERR_INIT;
    struct mask_sizes_rules r = rules_of(14, ENGINE_MASKS_PUBLISHED);
    r.min_keep = 29; /* the smallest target has 30 patches */
    cr_expect_eq(mask_sizes_check(&r, NULL), IJ_OK);
    r.min_keep = 30;
    cr_expect_eq(mask_sizes_check(&r, &err), IJ_INVALID);
    cr_expect(strstr(err.text, "set masks.min_keep to 29"), "%s", err.text);
}

Test(mask_sizes, a_scale_that_gives_nothing_is_named)
{
    struct ij_err err = IJ_ERR_INIT;
    struct mask_sizes_rules r = rules_of(14, ENGINE_MASKS_PUBLISHED);
    r.min_keep = 0;
    r.target_scale[0] = 0.001;
    cr_expect_eq(mask_sizes_check(&r, &err), IJ_INVALID);
    cr_expect_str_eq(err.field, "masks.target_scale");
    r = rules_of(14, ENGINE_MASKS_PUBLISHED);
    r.context_scale[0] = 0.001;
    cr_expect_eq(mask_sizes_check(&r, &err), IJ_INVALID);
    cr_expect_str_eq(err.field, "masks.context_scale");
}
