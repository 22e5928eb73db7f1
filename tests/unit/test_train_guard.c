/* Which losses end a step: NaN and infinity at once, a jump only where it is asked for. */
#include <criterion/criterion.h>
#include <math.h>

#include "base/mem.h"
#include "gpu/train/train_guard.h"

static void note_many(struct train_guard *guard, int steps, double loss)
{
    for (int i = 0; i < steps; i++)
        train_guard_note(guard, loss);
}

Test(train_guard, what_is_not_finite_ends_a_step_from_the_first_on)
{
    struct train_guard guard = {0};
    struct engine_guard rules = {0};
    cr_assert_str_eq(train_guard_fault(&guard, &rules, NAN), "nonfinite");
    cr_assert_str_eq(train_guard_fault(&guard, &rules, INFINITY), "nonfinite");
    cr_assert_null(train_guard_fault(&guard, &rules, 1e30));
}

Test(train_guard, a_jump_is_seen_after_a_hundred_steps_and_above_the_factor)
{
    struct train_guard guard = {0};
    struct engine_guard rules = {.spike_factor = 3};
    note_many(&guard, TRAIN_GUARD_STEPS - 1, 0.5);
    cr_assert_null(train_guard_fault(&guard, &rules, 100), "nothing is known yet");
    train_guard_note(&guard, 0.5);
    cr_assert_null(train_guard_fault(&guard, &rules, 1.5));
    cr_assert_str_eq(train_guard_fault(&guard, &rules, 1.5000001), "spike");
    rules.spike_factor = 0;
    cr_assert_null(train_guard_fault(&guard, &rules, 100), "nobody asked");
}

Test(train_guard, a_slow_rise_is_no_jump)
{
    struct train_guard guard = {0};
    struct engine_guard rules = {.spike_factor = 2};
    for (double loss = 0.1; loss < 5; loss *= 1.002) {
        cr_assert_null(train_guard_fault(&guard, &rules, loss));
        train_guard_note(&guard, loss);
    }
}

Test(train_guard, a_checkpoint_gives_it_back_to_the_bit)
{
    struct train_guard guard = {0}, again;
    struct engine_guard rules = {.spike_factor = 2};
    note_many(&guard, 7, 1.0 / 3);
    train_guard_note(&guard, 0.1);
    mem_auto char *text = train_guard_write(&guard, &rules);
    cr_assert_not_null(text);
    train_guard_read(text, &again);
    cr_assert(again.mean == guard.mean && again.steps == guard.steps);
    rules.spike_factor = 0;
    cr_assert_null(train_guard_write(&guard, &rules), "checkpoints stay as they are");
    train_guard_read(NULL, &again);
    cr_assert_eq(again.steps, 0);
    train_guard_read("{\"loss_mean\": \"x\"}", &again);
    cr_assert_eq(again.steps, 0);
}
