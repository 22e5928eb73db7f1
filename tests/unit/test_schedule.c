/* Learning rate, weight decay and momentum against reference values. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "gpu/model/schedule.h"
#include "tests/unit/spec_fixture.h"

/* tests/golden/schedule.csv: 1000 updates, schedules stretched to 1250, warm-up 100. */
Test(schedule, equals_the_reference_table)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    spec.optimizer.epochs = 10;
    spec.optimizer.warmup_epochs = 1;
    spec.optimizer.ipe_scale = 1.25;
    struct schedule s = schedule_new(&spec.optimizer, 100);
    cr_assert(s.steps == 1000 && s.total == 1250 && s.warmup == 100);
    file_auto FILE *file = fopen("tests/golden/schedule.csv", "r");
    cr_assert(file, "run the tests from the root of the repository");
    char line[256];
    cr_assert(fgets(line, sizeof line, file));
    uint64_t rows = 0;
    while (fgets(line, sizeof line, file)) {
        unsigned long long update;
        double lr, decay, ema;
        cr_assert_eq(sscanf(line, "%llu,%lf,%lf,%lf", &update, &lr, &decay, &ema), 4);
        cr_assert(fabs(schedule_lr(&s, update) - lr) < 1e-9, "lr of update %llu", update);
        cr_assert(fabs(schedule_weight_decay(&s, update) - decay) < 1e-9);
        cr_assert(fabs(schedule_ema(&s, update - 1) - ema) < 1e-9);
        rows++;
    }
    cr_assert_eq(rows, 1000);
}

/* Values of the published ViT-H/14 run: 625 steps an epoch, 300 epochs, warm-up 40. */
Test(schedule, published_run)
{
    static const struct {
        uint64_t index;
        double lr, decay, ema;
    } rows[] = {
        {0, 2.00032e-4, 4.000000003e-2, .996},
        {624, 2.2e-4, 4.000986951e-2, .996013312},
        {12499, 6.0e-4, 4.393343187e-2, .996266645},
        {24999, 1e-3, 5.556181762e-2, .996533312},
        {62500, 8.743747150e-4, 1.300026119e-1, .997333333},
        {93749, 6.200381743e-4, .22, .997999979},
        {125000, 3.233658297e-4, 3.100026119e-1, .998666667},
        {187499, 1e-6, .4, .999999979},
    };
    struct engine_spec spec = spec_fixture("vit_huge", 224, 14);
    struct schedule s = schedule_new(&spec.optimizer, 625);
    cr_assert_eq(s.steps, 187500);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        cr_expect(fabs(schedule_lr(&s, rows[i].index + 1) / rows[i].lr - 1) < 1e-9);
        cr_expect(fabs(schedule_weight_decay(&s, rows[i].index + 1) / rows[i].decay - 1) < 1e-8);
        cr_expect(fabs(schedule_ema(&s, rows[i].index) - rows[i].ema) < 1e-9);
    }
}

Test(schedule, stays_at_its_end)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    spec.optimizer.ipe_scale = 0.5;
    struct schedule s = schedule_new(&spec.optimizer, 10);
    cr_assert(s.steps == 3000 && s.total == 1500);
    cr_expect_eq(schedule_lr(&s, 3000), spec.optimizer.final_lr);
    cr_expect(fabs(schedule_weight_decay(&s, 3000) - 0.4) < 1e-15);
    cr_expect_eq(schedule_ema(&s, 2999), 1.0);
}

Test(schedule, counts_whole_steps_only)
{
    struct engine_spec spec = spec_fixture("vit_tiny", 224, 16);
    spec.optimizer.batch = 10;
    spec.optimizer.accumulate = 3;
    cr_expect_eq(schedule_steps_per_epoch(&spec.optimizer, 29), 0);
    cr_expect_eq(schedule_steps_per_epoch(&spec.optimizer, 30), 1);
    cr_expect_eq(schedule_steps_per_epoch(&spec.optimizer, 59), 1);
    spec.optimizer.epochs = 0.3;
    cr_expect_eq(schedule_new(&spec.optimizer, 10).steps, 3);
    spec.optimizer.epochs = 0.01;
    cr_expect_eq(schedule_new(&spec.optimizer, 10).steps, 1);
    spec.optimizer.epochs = 10;
    spec.optimizer.max_steps = 7;
    cr_expect_eq(schedule_new(&spec.optimizer, 10).steps, 7);
}
