/*
 * The mask samplers against reference distributions (tests/golden/masks.json and published
 * figures). All draws are keyed, so a test that passes once passes always.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/model/masks.h"
#include "tests/unit/spec_fixture.h"

#define CELLS_MAX 784

static struct masks open_masks(uint32_t grid, enum engine_sampler sampler, uint32_t images)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 16 * grid, 16);
    spec.masks.sampler = sampler;
    struct mask_sizes_rules rules = mask_sizes_from_spec(&spec);
    struct masks masks;
    cr_assert_eq(masks_init(&masks, &rules, 5, images, NULL), IJ_OK);
    return masks;
}

/* What one sampler gave over many batches. */
struct tally {
    double batches, images;
    double context[CELLS_MAX], target[CELLS_MAX]; /* times a cell was kept, was covered */
    double lengths[CELLS_MAX + 1];                /* images by context length before the cut */
    double sizes[32][32];                         /* batches by target size */
    double untruncated, truncated;                /* sums of context lengths per image */
};

static void add_cells(double *cells, const int32_t *indices, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cells[indices[i]]++;
}

static void tally_draw(struct masks *m, uint64_t batch, uint32_t images, struct tally *t)
{
    uint32_t grid = m->rules.grid;
    masks_draw(m, 0, batch, images);
    const int32_t *first = m->targets, *last = m->targets + m->target_count - 1;
    t->sizes[*last / (int)grid - *first / (int)grid + 1]
            [*last % (int)grid - *first % (int)grid + 1]++;
    add_cells(t->context, m->context, (size_t)images * m->context_count);
    add_cells(t->target, m->targets, (size_t)m->rules.targets * images * m->target_count);
    for (uint32_t i = 0; i < images; i++) {
        t->lengths[m->lengths[i]]++;
        t->untruncated += m->lengths[i];
        t->truncated += m->context_count;
    }
    t->batches++;
    t->images += images;
}

static struct tally *tally_of(uint32_t grid, enum engine_sampler sampler, uint32_t images,
                              uint64_t batches)
{
    struct tally *t = mem_new(struct tally);
    struct masks masks = open_masks(grid, sampler, images);
    cr_assert(t);
    for (uint64_t b = 0; b < batches; b++)
        tally_draw(&masks, b, images, t);
    masks_done(&masks);
    return t;
}

/* How unlikely, in standard deviations, two histograms of one distribution differ so much: the
 * two-sample chi-square with bins merged to 20 counts, by the Wilson-Hilferty approximation. */
static double chi_square_z(const double *a, const double *b, size_t count)
{
    double total_a = 0, total_b = 0, chi = 0, freedom = -1, merged_a = 0, merged_b = 0;
    for (size_t i = 0; i < count; i++) {
        total_a += a[i];
        total_b += b[i];
    }
    for (size_t i = 0; i < count; i++) {
        merged_a += a[i];
        merged_b += b[i];
        if (merged_b < 20)
            continue;
        double delta = sqrt(total_b / total_a) * merged_a - sqrt(total_a / total_b) * merged_b;
        chi += delta * delta / (merged_a + merged_b);
        freedom++;
        merged_a = merged_b = 0;
    }
    cr_assert(freedom >= 1);
    double w = 2 / (9 * freedom);
    return (cbrt(chi / freedom) - (1 - w)) / sqrt(w);
}

/* ---- The published sampler ------------------------------------------------------------------- */

static void read_lengths(const json_t *object, double *ret_lengths)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) ret_lengths[atoi(key)] =
        json_number_value(value);
}

static void read_sizes(const json_t *object, double ret_sizes[32][32])
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        int height, width;
        cr_assert_eq(sscanf(key, "%dx%d", &height, &width), 2);
        ret_sizes[height][width] = json_number_value(value);
    }
}

/* Every cell's share against the reference, each of the two from so many independent draws. */
static void expect_coverage(const double *cells, double images, const json_t *reference,
                            double draws, const char *what)
{
    for (size_t i = 0; i < json_array_size(reference); i++) {
        double p = cells[i] / images, q = json_number_value(json_array_get(reference, i));
        double pooled = (p * images + q * draws) / (images + draws);
        double deviation = sqrt(pooled * (1 - pooled) * (1 / images + 1 / draws));
        /* The reference is rounded to four digits. */
        cr_expect(fabs(p - q) <= 5 * deviation + 1e-4, "%s of cell %zu: %g, reference %g", what, i,
                  p, q);
    }
}

static void compare_published(uint32_t grid, const char *name)
{
    json_t *root = json_load_file("tests/golden/masks.json", 0, NULL);
    cr_assert(root, "run the tests from the root of the repository");
    const json_t *reference = json_object_get(root, name);
    struct tally *theirs = mem_new(struct tally);
    struct tally *ours = tally_of(grid, ENGINE_MASKS_PUBLISHED, 1, 20000);
    double draws = json_number_value(json_object_get(reference, "draws"));
    read_lengths(json_object_get(reference, "context_length"), theirs->lengths);
    read_sizes(json_object_get(reference, "target_size_h_x_w"), theirs->sizes);
    double z = chi_square_z(ours->lengths, theirs->lengths, CELLS_MAX + 1);
    cr_expect(z < 4, "%s: context lengths differ by %g deviations", name, z);
    z = chi_square_z(&ours->sizes[0][0], &theirs->sizes[0][0], 32 * 32);
    cr_expect(z < 4, "%s: target sizes differ by %g deviations", name, z);
    expect_coverage(ours->context, ours->images, json_object_get(reference, "context_coverage"),
                    draws, "context coverage");
    for (size_t i = 0; i < CELLS_MAX; i++)
        ours->target[i] /= 4;
    expect_coverage(ours->target, ours->images, json_object_get(reference, "target_coverage"),
                    draws, "target coverage");
    mem_free(ours);
    mem_free(theirs);
    json_decref(root);
}

/* On this grid the reference lets targets be smaller than min_keep, and the context's relaxation is
 * reached; engine_check would refuse the configuration. */
Test(masks, published_distribution_grid8)
{
    compare_published(8, "grid8");
}
Test(masks, published_distribution_grid14)
{
    compare_published(14, "grid14");
}
Test(masks, published_distribution_grid16)
{
    compare_published(16, "grid16");
}
Test(masks, published_distribution_grid28)
{
    compare_published(28, "grid28");
}

/* Mean context lengths by batch, measured on the official sampler. */
Test(masks, published_cut_lengths, .timeout = 60)
{
    static const struct {
        uint32_t grid, batch;
        double mean;
    } rows[] = {{14, 64, 52.9}, {14, 128, 50.1}, {16, 16, 81.1}, {16, 128, 68.6}, {28, 64, 243.2}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct tally *t = tally_of(rows[i].grid, ENGINE_MASKS_PUBLISHED, rows[i].batch, 400);
        double mean = t->truncated / t->images;
        cr_expect(fabs(mean / rows[i].mean - 1) < 0.02, "grid %u batch %u: %g, expected %g",
                  rows[i].grid, rows[i].batch, mean, rows[i].mean);
        mem_free(t);
    }
}

/* The cut removes the bottom: inclusion by row at grid 16, batch 128, measured on the official
 * one. */
Test(masks, published_cut_removes_the_bottom, .timeout = 60)
{
    static const double rows[16] = {.775, .639, .526, .431, .335, .256, .214, .194,
                                    .188, .191, .192, .168, .112, .052, .015, 0};
    struct tally *t = tally_of(16, ENGINE_MASKS_PUBLISHED, 128, 400);
    for (size_t y = 0; y < 16; y++) {
        double kept = 0;
        for (size_t x = 0; x < 16; x++)
            kept += t->context[y * 16 + x] / t->images / 16;
        cr_expect(fabs(kept - rows[y]) < 0.02, "row %zu: %g, expected %g", y, kept, rows[y]);
    }
    mem_free(t);
}

Test(masks, published_never_reaches_the_last_row_and_column)
{
    struct tally *t = tally_of(14, ENGINE_MASKS_PUBLISHED, 8, 1000);
    for (size_t i = 0; i < 14; i++)
        cr_expect(t->context[13 * 14 + i] + t->target[13 * 14 + i] + t->context[i * 14 + 13] +
                      t->target[i * 14 + 13] ==
                  0);
    mem_free(t);
}

/* ---- The unbiased sampler -------------------------------------------------------------------- */

/* Mean context lengths before the cut and at batch 128, of a corrected sampler (reference
 * values). */
Test(masks, unbiased_lengths, .timeout = 60)
{
    static const struct {
        uint32_t grid;
        double untruncated, cut;
    } rows[] = {{14, 90.6, 59.0}, {16, 117.9, 76.7}, {28, 366.6, 240.1}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct tally *one = tally_of(rows[i].grid, ENGINE_MASKS_UNBIASED, 1, 20000);
        double mean = one->untruncated / one->images;
        cr_expect(fabs(mean / rows[i].untruncated - 1) < 0.01, "grid %u: %g", rows[i].grid, mean);
        mem_free(one);
        struct tally *many = tally_of(rows[i].grid, ENGINE_MASKS_UNBIASED, 128, 300);
        mean = many->truncated / many->images;
        cr_expect(fabs(mean / rows[i].cut - 1) < 0.02, "grid %u cut: %g", rows[i].grid, mean);
        mem_free(many);
    }
}

/* Coverage is the same seen in a mirror, with and without the cut, and reaches every cell. */
static void expect_symmetric(uint32_t grid, uint32_t batch, uint64_t batches)
{
    struct tally *t = tally_of(grid, ENGINE_MASKS_UNBIASED, batch, batches);
    for (size_t y = 0; y < grid; y++)
        for (size_t x = 0; x < grid; x++) {
            size_t cell = y * grid + x, below = (grid - 1 - y) * grid + x;
            size_t beside = y * grid + grid - 1 - x;
            cr_expect(t->context[cell] > 0 && t->target[cell] > 0);
            double p = t->context[cell], q = t->context[below], r = t->context[beside];
            cr_expect(fabs(p - q) <= 5 * sqrt(p + q), "context %zu, %zu: %g, %g", cell, below, p,
                      q);
            cr_expect(fabs(p - r) <= 5 * sqrt(p + r));
            p = t->target[cell], q = t->target[below], r = t->target[beside];
            cr_expect(fabs(p - q) <= 5 * sqrt(p + q), "target %zu, %zu: %g, %g", cell, below, p, q);
            cr_expect(fabs(p - r) <= 5 * sqrt(p + r));
        }
    mem_free(t);
}

Test(masks, unbiased_is_symmetric, .timeout = 60)
{
    expect_symmetric(14, 1, 20000);
    expect_symmetric(14, 32, 600);
    expect_symmetric(16, 128, 200);
}

/* ---- Both ------------------------------------------------------------------------------------ */

/* Every context keeps more than min_keep, ascends and holds no target cell (no relaxation at this
 * size); targets are full blocks. */
static void expect_sound(enum engine_sampler sampler)
{
    struct masks m = open_masks(14, sampler, 16);
    for (uint64_t b = 0; b < 200; b++) {
        masks_draw(&m, 1, b, 16);
        cr_assert(m.context_count > m.rules.min_keep && m.context_count <= m.bounds.context_max);
        cr_assert(m.target_count <= m.bounds.target_max);
        for (uint32_t i = 0; i < 16; i++) {
            bool target[196] = {false};
            for (uint32_t t = 0; t < 4; t++)
                for (uint32_t k = 0; k < m.target_count; k++)
                    target[m.targets[(t * 16 + i) * m.target_count + k]] = true;
            const int32_t *context = m.context + i * m.context_count;
            for (uint32_t k = 0; k < m.context_count; k++) {
                cr_assert(context[k] >= 0 && context[k] < 196 && !target[context[k]]);
                cr_assert(k == 0 || context[k] > context[k - 1]);
            }
        }
    }
    masks_done(&m);
}

Test(masks, contexts_are_sound)
{
    expect_sound(ENGINE_MASKS_PUBLISHED);
    expect_sound(ENGINE_MASKS_UNBIASED);
}

Test(masks, are_a_function_of_epoch_and_batch)
{
    struct masks a = open_masks(14, ENGINE_MASKS_UNBIASED, 16);
    struct masks b = open_masks(14, ENGINE_MASKS_UNBIASED, 16);
    masks_draw(&a, 3, 7, 16);
    masks_draw(&b, 2, 7, 16);
    cr_expect(a.target_count != b.target_count || a.context_count != b.context_count ||
              memcmp(a.targets, b.targets, 64 * a.target_count * sizeof(int32_t)) != 0);
    masks_draw(&b, 3, 7, 16);
    cr_assert(a.target_count == b.target_count && a.context_count == b.context_count);
    cr_expect_arr_eq(a.targets, b.targets, 64 * a.target_count * sizeof(int32_t));
    cr_expect_arr_eq(a.context, b.context, 16 * a.context_count * sizeof(int32_t));
    masks_done(&a);
    masks_done(&b);
}
