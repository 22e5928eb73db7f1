/* Parameters and work of the named shapes against published counts; memory and steps. */
#include <criterion/criterion.h>
#include <math.h>

#include "base/mem.h"
#include "gpu/engine.h"
#include "tests/unit/spec_fixture.h"

/* Parameters in millions; GFLOP per training image with contexts cut at batch 128 (reference
 * values). */
static const struct {
    const char *name;
    uint32_t crop, patch, pred_depth;
    double encoder, predictor, gflop;
} rows[] = {
    {"vit_tiny", 224, 16, 6, 5.486, 10.80, 26.4},
    {"vit_small", 224, 16, 6, 21.590, 10.94, 38.1},
    {"vit_base", 224, 16, 6, 85.647, 11.24, 83.6},
    {"vit_large", 224, 16, 12, 303.099, 22.08, 259.3},
    {"vit_huge", 224, 14, 12, 630.435, 22.28, 656.4},
    {"vit_giant", 224, 16, 16, 1011.093, 29.48, 770},
    {"vit_huge", 448, 16, 12, 630.665, 22.28, 2219},
};

static struct engine_plan plan_of(const struct engine_spec *spec, uint64_t images)
{
    struct engine_plan plan;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(engine_plan(spec, images, &plan, &err), IJ_OK, "%s: %s", err.field, err.text);
    return plan;
}

Test(engine_plan, published_sizes_and_work, .timeout = 60)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct engine_spec spec = spec_fixture(rows[i].name, rows[i].crop, rows[i].patch);
        cr_expect_eq(spec.model.pred_depth, rows[i].pred_depth);
        struct engine_plan plan = plan_of(&spec, 1281167);
        double encoder = (double)plan.parameters_encoder / 1e6;
        double predictor = (double)plan.parameters_predictor / 1e6;
        cr_expect(fabs(encoder - rows[i].encoder) < 6e-4, "%s: %g M", rows[i].name, encoder);
        cr_expect(fabs(predictor - rows[i].predictor) < 6e-3, "%s: %g M", rows[i].name, predictor);
        cr_expect(fabs(plan.flop_per_image / 1e9 / rows[i].gflop - 1) < 0.015,
                  "%s: %g GFLOP, expected %g", rows[i].name, plan.flop_per_image / 1e9,
                  rows[i].gflop);
        cr_expect_eq(plan.steps, 1281167 / 128 * 300);
    }
}

Test(engine_plan, is_repeatable_and_adds_up)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    struct engine_plan a = plan_of(&spec, 5000), b = plan_of(&spec, 5000);
    cr_expect_arr_eq(&a, &b, sizeof a);
    cr_expect_eq(a.bytes_total, a.bytes_parameters + a.bytes_optimizer + a.bytes_activations +
                                    a.bytes_input + a.bytes_scratch);
    /* Two moments beside encoder and predictor, target encoder and gradients. */
    uint64_t trained = a.parameters_encoder + a.parameters_predictor;
    cr_expect(a.bytes_optimizer >= 8 * trained && a.bytes_optimizer < 8 * trained + (1 << 20));
    cr_expect(a.bytes_checkpoint == 4 * (3 * trained + a.parameters_encoder));
}

Test(engine_plan, activations_grow_with_the_batch)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    uint64_t at_128 = plan_of(&spec, 5000).bytes_activations;
    spec.optimizer.batch = 256;
    uint64_t at_256 = plan_of(&spec, 5000).bytes_activations;
    cr_expect(at_256 > at_128 * 19 / 10 && at_256 <= at_128 * 2 + (1 << 20));
}

Test(engine_plan, no_steps_where_the_images_do_not_fill_one)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    cr_expect_eq(plan_of(&spec, 127).steps, 0);
    cr_expect_eq(plan_of(&spec, 128).steps, 300);
}

Test(engine_plan, refuses_what_engine_check_refuses)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    struct engine_plan plan;
    struct ij_err err = IJ_ERR_INIT;
    spec.masks.min_keep = 100;
    cr_expect_eq(engine_plan(&spec, 1000, &plan, &err), IJ_INVALID);
    cr_expect_str_eq(err.field, "masks.min_keep");
}

/* Fine-tuning keeps parameters, gradients and both moments of the encoder, and every activation. */
Test(engine_plan, finetuning)
{
    struct engine_spec spec = spec_fixture("vit_small", 224, 16);
    struct engine_plan tune, look;
    spec.kind = ENGINE_FINETUNE;
    spec.eval.augment_scale[0] = 0.08;
    spec.eval.augment_scale[1] = 1;
    spec.finetune = (struct engine_finetune){
        .batch = 32, .accumulate = 2, .epochs = 3, .lr = 1e-4, .layer_decay = 0.75};
    cr_assert_eq(engine_plan(&spec, 1000, &tune, NULL), IJ_OK);
    cr_assert_eq(tune.steps, 45, "3 epochs of 15 whole steps of 64");
    cr_assert_eq(tune.bytes_parameters, 2 * 4 * tune.parameters_encoder);
    cr_assert_eq(tune.bytes_optimizer, 2 * 4 * tune.parameters_encoder);
    cr_assert_eq(tune.bytes_checkpoint, 3 * 4 * tune.parameters_encoder);
    spec.kind = ENGINE_KNN;
    spec.eval.batch = 32;
    spec.eval.seeds = 1;
    spec.eval.neighbors = 20;
    spec.eval.temperature = 0.07;
    cr_assert_eq(engine_plan(&spec, 1000, &look, NULL), IJ_OK);
    cr_assert_gt(tune.bytes_activations, 12 * look.bytes_activations / 2,
                 "each of twelve blocks keeps its own");
}

Test(engine_plan, says_what_fits_a_memory)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    struct engine_fit fit;
    struct engine_plan plan;
    char text[160];
    spec.optimizer.batch = 96;
    cr_assert_eq(engine_plan_memory(&spec, &plan, NULL), IJ_OK);
    cr_assert_eq(engine_fit(&spec, plan.bytes_total, &fit, NULL), IJ_OK);
    cr_expect(fit.fits && fit.batch == 96 && fit.split == 0 && fit.bytes == plan.bytes_total);
    cr_assert_eq(engine_fit(&spec, plan.bytes_total - 1, &fit, NULL), IJ_OK);
    cr_expect(!fit.fits && fit.batch == 95 && fit.split == 48 && fit.accumulate == 2);
    engine_fit_text(&fit, text, sizeof text);
    cr_expect_str_eq(text,
                     "a batch of 95 would fit, and batch 48 with accumulate 2 keeps the images "
                     "of a step");
    cr_assert_eq(engine_fit(&spec, 1 << 20, &fit, NULL), IJ_OK);
    cr_expect(!fit.fits && fit.batch == 0 && fit.split == 0);
    engine_fit_text(&fit, text, sizeof text);
    cr_expect_str_eq(text, "not even a batch of 1 would fit");
    /* On the host there is no backend's memory to count. */
    uint64_t scratch = plan.bytes_scratch;
    spec.device = ENGINE_DEVICE_HOST;
    cr_assert_eq(engine_plan_memory(&spec, &plan, NULL), IJ_OK);
    cr_expect(scratch > 64 << 20 && plan.bytes_scratch == 0);
}

/* ---- Of it resident -------------------------------------------------------------------------- */

static uint64_t resident_of(const struct engine_spec *spec, uint32_t batches)
{
    struct engine_plan plan;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(engine_plan_memory(spec, &plan, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(plan.bytes_resident, 0, "not asked for");
    cr_assert_eq(engine_plan_resident(spec, batches, &plan, &err), IJ_OK, "%s", err.text);
    cr_assert_leq(plan.bytes_resident, plan.bytes_total);
    return plan.bytes_resident;
}

Test(engine_plan, more_is_resident_after_more_batches)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    spec.device = ENGINE_DEVICE_HOST;
    spec.optimizer.batch = 16;
    struct engine_plan plan = plan_of(&spec, 5000);
    uint64_t last = 0, first = resident_of(&spec, 1);
    for (uint32_t batches = 1; batches <= 256; batches *= 4) {
        uint64_t resident = resident_of(&spec, batches);
        cr_expect_geq(resident, last);
        last = resident;
    }
    cr_expect_gt(last, first);
    cr_expect_lt(last, plan.bytes_total, "the longest contexts of all have not come");
    cr_expect_gt(first, plan.bytes_parameters + plan.bytes_optimizer + plan.bytes_input);
    cr_expect_eq(plan.bytes_resident, resident_of(&spec, ENGINE_PLAN_BATCHES));
}

/* A GPU's memory is taken when it is allocated; a quadrant has as many patches as any other. */
Test(engine_plan, all_is_resident_where_nothing_varies)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    struct ij_err err = IJ_ERR_INIT;
    struct engine_plan plan = plan_of(&spec, 5000);
    cr_expect_eq(plan.bytes_resident, plan.bytes_total);
    spec.device = ENGINE_DEVICE_HOST;
    plan = plan_of(&spec, 5000);
    cr_expect_lt(plan.bytes_resident, plan.bytes_total);
    spec.masks.masking = ENGINE_MASKING_RASTERIZED;
    plan = plan_of(&spec, 5000);
    cr_expect(plan.bytes_total - plan.bytes_resident < 4096, "%llu of %llu",
              (unsigned long long)plan.bytes_resident, (unsigned long long)plan.bytes_total);
    cr_expect_eq(engine_plan_resident(&spec, 0, &plan, &err), IJ_INVALID);
    cr_expect_str_eq(err.field, "batches");
    cr_expect_eq(engine_plan_resident(&spec, ENGINE_PLAN_BATCHES_MAX + 1, &plan, &err), IJ_INVALID);
}
