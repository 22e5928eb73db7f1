/* Names and classes of run states. */
#include <criterion/criterion.h>

#include "store/run_state.h"

Test(run_state, names_go_both_ways)
{
    for (int i = 0; i < RUN_STATE_COUNT; i++) {
        enum run_state state = RUN_STATE_COUNT;
        cr_assert(run_state_from_name(run_state_name((enum run_state)i), &state));
        cr_assert_eq((int)state, i);
    }
    for (int i = 0; i < RUN_STATE_DESIRE_COUNT; i++) {
        enum run_state_desire desire = RUN_STATE_DESIRE_COUNT;
        cr_assert(
            run_state_desire_from_name(run_state_desire_name((enum run_state_desire)i), &desire));
        cr_assert_eq((int)desire, i);
    }
}

Test(run_state, unknown_names_are_not_taken)
{
    enum run_state state = RUN_STATE_FAILED;
    enum run_state_desire desire = RUN_STATE_DESIRE_KILL;
    cr_assert(!run_state_from_name("Queued", &state));
    cr_assert(!run_state_from_name("", &state));
    cr_assert(!run_state_desire_from_name("stop", &desire));
    cr_assert_eq(state, RUN_STATE_FAILED);
}

Test(run_state, classes)
{
    const enum run_state terminal[] = {RUN_STATE_SUCCEEDED, RUN_STATE_FAILED, RUN_STATE_CANCELED,
                                       RUN_STATE_QUARANTINED};
    uint32_t expected = 0;
    for (int i = 0; i < 4; i++) {
        cr_assert(run_state_is_terminal(terminal[i]));
        cr_assert(!run_state_has_process(terminal[i]));
        expected |= RUN_STATE_BIT(terminal[i]);
    }
    cr_assert_eq(run_state_live_mask(), ~expected & (RUN_STATE_BIT(RUN_STATE_COUNT) - 1));
    const enum run_state process[] = {RUN_STATE_STARTING, RUN_STATE_RUNNING, RUN_STATE_PAUSING,
                                      RUN_STATE_STOPPING};
    int with_process = 0;
    for (int i = 0; i < RUN_STATE_COUNT; i++)
        with_process += run_state_has_process((enum run_state)i);
    cr_assert_eq(with_process, 4);
    for (int i = 0; i < 4; i++)
        cr_assert(run_state_has_process(process[i]) && run_state_is_live(process[i]));
}
