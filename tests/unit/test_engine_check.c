/* Refusals before a run starts: each names the parameter; limits at and beyond. Named shapes. */
#include <criterion/criterion.h>
#include <math.h>

#include "base/mem.h"
#include "gpu/engine.h"
#include "tests/unit/spec_fixture.h"

static void expect_refused(const struct engine_spec *spec, const char *field)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_expect_eq(engine_check(spec, &err), IJ_INVALID, "%s should be refused", field);
    cr_expect_str_eq(err.field, field);
    cr_expect(err.text[0] != '\0');
}

static void expect_good(const struct engine_spec *spec)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_expect_eq(engine_check(spec, &err), IJ_OK, "%s: %s", err.field, err.text);
}

Test(engine_check, named_shapes_are_good)
{
    static const char *const names[] = {"vit_tiny",  "vit_small", "vit_base",
                                        "vit_large", "vit_huge",  "vit_giant"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct engine_spec spec = spec_fixture(names[i], 224, 16);
        expect_good(&spec);
    }
    struct engine_model model = {.width = 7};
    cr_expect(!engine_model_by_name("vit_gigantic", &model) && model.width == 7);
}

/* Each row changes one value of a good spec; the first value is still good. */
#define AT_LIMIT(member, good, bad, field)                                                         \
    do {                                                                                           \
        struct engine_spec s_ = spec_fixture("vit_tiny", 224, 16);                                 \
        s_.member = (good);                                                                        \
        expect_good(&s_);                                                                          \
        s_.member = (bad);                                                                         \
        expect_refused(&s_, (field));                                                              \
    } while (0)

Test(engine_check, limits)
{
    AT_LIMIT(threads, 1024, 1025, "threads");
    AT_LIMIT(data.crop, 1024, 1025, "data.crop");
    AT_LIMIT(data.crop_scale[0], 1.0, 1.0001, "data.crop_scale");
    AT_LIMIT(data.mean[1], 1.0, 1.1, "data.mean");
    AT_LIMIT(data.std[2], 0.001, 0.0, "data.std");
    AT_LIMIT(data.bad_image_limit, 1.0, NAN, "data.bad_image_limit");
    AT_LIMIT(model.depth, 128, 129, "model.depth");
    AT_LIMIT(model.depth, 1, 0, "model.depth");
    AT_LIMIT(model.heads, 6, 5, "model.heads");
    AT_LIMIT(model.width, 192, 194, "model.width");
    AT_LIMIT(model.pred_heads, 4, 7, "model.pred_heads");
    AT_LIMIT(model.mlp_ratio, 0.25, 0.2, "model.mlp_ratio");
    AT_LIMIT(masks.targets, ENGINE_TARGETS_MAX, ENGINE_TARGETS_MAX + 1, "masks.targets");
    AT_LIMIT(masks.target_scale[0], 0.2, 0.21, "masks.target_scale");
    AT_LIMIT(masks.target_aspect[0], 1.5, 1.51, "masks.target_aspect");
    AT_LIMIT(masks.min_keep, 29, 30, "masks.min_keep");
    AT_LIMIT(optimizer.batch, 1, 0, "optimizer.batch");
    AT_LIMIT(optimizer.accumulate, 1, 0, "optimizer.accumulate");
    AT_LIMIT(optimizer.epochs, 40, 0.0, "optimizer.epochs");
    AT_LIMIT(optimizer.warmup_epochs, 300, 300.1, "optimizer.warmup_epochs");
    AT_LIMIT(optimizer.lr, 1.0, NAN, "optimizer.lr");
    AT_LIMIT(optimizer.ema_end, 1.0, 1.01, "optimizer.ema_end");
    AT_LIMIT(optimizer.clip_grad, 0.0, -1.0, "optimizer.clip_grad");
}

Test(engine_check, a_dataset_must_be_named)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    spec.data.path[0] = '\0';
    expect_refused(&spec, "data.path");
}

Test(engine_check, the_grid_has_two_to_sixty_four_patches_a_side)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 1024, 16);
    expect_good(&spec); /* 64 */
    spec.model.patch = 15;
    expect_refused(&spec, "model.patch"); /* 68 */
    spec = spec_fixture("vit_tiny", 224, 113);
    expect_refused(&spec, "model.patch"); /* 1 */
}

/* An evaluation need not repeat the shape of what it evaluates. */
Test(engine_check, a_checkpoint_brings_its_own_grid)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 24, 16);
    spec.kind = ENGINE_FEATURES;
    spec.eval.batch = 1;
    expect_refused(&spec, "model.patch");
    strcpy(spec.eval.checkpoint, "/runs/1");
    expect_good(&spec);
    spec.kind = ENGINE_PRETRAIN;
    expect_refused(&spec, "model.patch");
}

/* The published recipe on 32-pixel images with 4-pixel patches: the sampler would never end. */
Test(engine_check, a_sampler_that_never_ends_is_refused_with_a_remedy)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 32, 4);
    struct ij_err err = IJ_ERR_INIT;
    expect_refused(&spec, "masks.min_keep");
    cr_assert_eq(engine_check(&spec, &err), IJ_INVALID);
    cr_expect(strstr(err.text, "set masks.min_keep to 8"), "%s", err.text);
    spec.masks.min_keep = 8;
    expect_good(&spec);
}

Test(engine_check, evaluations_do_not_need_masks)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 32, 4);
    spec.kind = ENGINE_KNN;
    spec.eval = (struct engine_eval){.batch = 1, .seeds = 1, .neighbors = 1, .temperature = 0.1};
    expect_good(&spec);
    spec.eval.neighbors = 0;
    expect_refused(&spec, "eval.neighbors");
}

Test(engine_check, preview_shows_what_a_run_draws)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    static struct engine_mask_preview a, b;
    cr_assert_eq(engine_preview_masks(&spec, 3, &a, NULL), IJ_OK);
    cr_assert_eq(engine_preview_masks(&spec, 3, &b, NULL), IJ_OK);
    cr_expect_arr_eq(&a, &b, sizeof a);
    cr_expect(a.grid == 14 && a.context_count > 10 && a.target_count[3] >= 30);
    cr_expect(a.target_count[3] <= 40 && a.target_count[4] == 0);
    spec.masks.min_keep = 30;
    cr_expect_eq(engine_preview_masks(&spec, 3, &a, NULL), IJ_INVALID);
}
