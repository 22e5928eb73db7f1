/* The heads of a linear probe: what each one is, and the rates of its recipe. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "gpu/eval/probe_heads.h"
#include "tests/unit/eval_golden.h"

static const struct engine_probe recipe = {.rates = {2, {0.1, 0.01}},
                                           .weight_decays = {2, {5e-4, 0}}};

Test(probe_heads, names_say_what_a_head_is)
{
    char names[16][PROBE_HEADS_NAME_SIZE];
    cr_assert_eq(probe_heads_count(&recipe), 16);
    for (size_t h = 0; h < 16; h++) {
        char expected[PROBE_HEADS_NAME_SIZE];
        probe_heads_name(&recipe, h, names[h]);
        for (size_t i = 0; i < h; i++)
            cr_assert_str_neq(names[i], names[h]);
        snprintf(expected, sizeof expected, "%s.%s.lr%g.wd%g",
                 probe_heads_is_concat(&recipe, h) ? "concat4" : "last",
                 probe_heads_has_norm(&recipe, h) ? "bn" : "plain", probe_heads_rate(&recipe, h),
                 probe_heads_weight_decay(&recipe, h));
        cr_assert_str_eq(names[h], expected);
    }
    cr_assert_str_eq(names[0], "last.bn.lr0.1.wd0.0005");
    cr_assert_str_eq(names[3], "last.bn.lr0.01.wd0");
    cr_assert_str_eq(names[15], "concat4.plain.lr0.01.wd0");
}

/* Steps as published: 50 epochs, a tenth at epochs 15, 30 and 45. */
Test(probe_heads, steps_at_the_milestones)
{
    struct engine_probe step = recipe;
    step.schedule = ENGINE_PROBE_STEP;
    step.milestones = (struct engine_list){3, {15, 30, 45}};
    static const struct {
        uint64_t step;
        double factor;
    } expected[] = {{0, 1},      {149, 1},    {150, 0.1},   {299, 0.1},
                    {300, 0.01}, {449, 0.01}, {450, 0.001}, {499, 0.001}};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        cr_assert_float_eq(probe_heads_factor(&step, 50, 10, expected[i].step), expected[i].factor,
                           1e-15, "step %d", (int)expected[i].step);
}

/* torch.optim.lr_scheduler.CosineAnnealingLR: eta_min + (1 - eta_min) (1 + cos(pi t / T)) / 2. */
Test(probe_heads, cosine_falls_to_its_share)
{
    struct engine_probe cosine = recipe;
    cosine.final_share = 0.01;
    cr_assert_float_eq(probe_heads_factor(&cosine, 4, 25, 0), 1, 1e-15);
    cr_assert_float_eq(probe_heads_factor(&cosine, 4, 25, 50), 0.505, 1e-12);
    cr_assert_float_eq(probe_heads_factor(&cosine, 4, 25, 100), 0.01, 1e-12);
    cr_assert_float_eq(probe_heads_factor(&cosine, 4, 25, 25), 0.01 + 0.99 * 0.5 * (1 + sqrt(0.5)),
                       1e-12);
}

Test(probe_heads, warms_up_linearly)
{
    struct engine_probe warm = recipe;
    warm.warmup_epochs = 2;
    cr_assert_float_eq(probe_heads_factor(&warm, 10, 5, 0), 0, 1e-15);
    cr_assert_float_eq(probe_heads_factor(&warm, 10, 5, 5), 0.5, 1e-15);
    cr_assert_float_eq(probe_heads_factor(&warm, 10, 5, 10), 1, 1e-15);
    cr_assert_float_eq(probe_heads_factor(&warm, 10, 5, 30), 0.5, 1e-12);
}

/* torch's MultiStepLR and CosineAnnealingLR (tests/golden/eval/make_probe.py). */
Test(probe_heads, schedules_agree_with_pytorch)
{
    enum { EPOCHS = 6, STEPS = 7 };
    double step[EPOCHS * STEPS], cosine[EPOCHS * STEPS];
    struct safetensors *file = golden_open("heads.safetensors");
    struct engine_probe stepped = recipe, smooth = recipe;
    stepped.schedule = ENGINE_PROBE_STEP;
    stepped.milestones = (struct engine_list){3, {2, 3, 5}};
    smooth.final_share = 0.01;
    golden_f64(file, "", "schedule.step", step, EPOCHS * STEPS);
    golden_f64(file, "", "schedule.cosine", cosine, EPOCHS * STEPS);
    for (uint64_t s = 0; s < EPOCHS * STEPS; s++) {
        cr_assert_float_eq(probe_heads_factor(&stepped, EPOCHS, STEPS, s), step[s], 1e-12);
        cr_assert_float_eq(probe_heads_factor(&smooth, EPOCHS, STEPS, s), cosine[s], 1e-12);
    }
    safetensors_free(file);
}
