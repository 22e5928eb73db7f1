/* The scheduler: its order, its reasons, its choice of devices and of victims. Its invariants
 * through a long life are in test_scheduler_life.c. */
#include "tests/unit/scheduler_fixture.h"

Test(scheduler, priority_then_position_then_id)
{
    struct scheduler_run runs[] = {queued(1, 0, 5), queued(2, 10, 9), queued(3, 10, 2),
                                   queued(4, 0, 5)};
    add_slots(1);
    DECIDE(runs, .age_ms = 0);
    cr_assert_eq(plan.decision_count, 4);
    cr_assert_eq(d[0].id, 3);
    cr_assert_eq(d[1].id, 2);
    cr_assert_eq(d[2].id, 1);
    cr_assert_eq(d[3].id, 4);
    cr_assert(d[0].start);
    cr_assert_not(d[1].start);
    cr_assert_str_eq(d[1].code, "no_slots");
}

Test(scheduler, dependencies_hold_back_only_their_run)
{
    struct scheduler_dependency open = {.run = 7, .state = RUN_STATE_RUNNING};
    struct scheduler_dependency failed = {.run = 8, .state = RUN_STATE_FAILED};
    struct scheduler_dependency any = {.run = 8, .any = true, .state = RUN_STATE_FAILED};
    struct scheduler_run runs[] = {queued(1, 9, 1), queued(2, 8, 1), queued(3, 7, 1)};
    runs[0].dependencies = &open;
    runs[1].dependencies = &failed;
    runs[2].dependencies = &any;
    runs[0].dependency_count = runs[1].dependency_count = runs[2].dependency_count = 1;
    add_slots(1);
    DECIDE(runs, .age_ms = 0);
    cr_assert_str_eq(d[0].code, "dependency");
    cr_assert_not_null(strstr(d[0].text, "r7"));
    cr_assert_eq(d[0].blocking_count, 1);
    cr_assert_eq(d[0].blocking[0], 7);
    cr_assert_str_eq(d[1].code, "dependency_failed");
    cr_assert_not_null(strstr(d[1].text, "r8"));
    cr_assert_eq(d[1].blocking[0], 8);
    cr_assert(d[2].start, "an ended run satisfies \"any\"");
}

Test(scheduler, a_dependency_tells_when_it_will_end_if_all_do)
{
    struct scheduler_dependency open[] = {{.run = 7, .state = RUN_STATE_RUNNING},
                                          {.run = 8, .state = RUN_STATE_RUNNING}};
    struct scheduler_run runs[] = {queued(9, 0, 1)};
    runs[0].dependencies = open;
    runs[0].dependency_count = 2;
    add_slots(2);
    add_active(7, false, 1)->eta_s = 60;
    add_active(8, false, 1)->eta_s = 90;
    DECIDE(runs, .age_ms = 0);
    cr_assert_str_eq(d[0].code, "dependency");
    cr_assert_float_eq(d[0].eta_s, 90, 1e-9);
    active[0].eta_s = NAN;
    DECIDE(runs, .age_ms = 0);
    cr_assert(isnan(d[0].eta_s));
}

Test(scheduler, backoff_ends_at_its_time)
{
    struct scheduler_run runs[] = {queued(1, 0, 1)};
    runs[0].state = RUN_STATE_BACKOFF;
    runs[0].not_before_ms = 1000;
    add_slots(1);
    DECIDE(runs, .now_ms = 999);
    cr_assert_not(d[0].start);
    cr_assert_str_eq(d[0].code, "backoff");
    cr_assert_float_eq(d[0].eta_s, 0.001, 1e-9);
    DECIDE(runs, .now_ms = 1000);
    cr_assert(d[0].start);
}

Test(scheduler, a_big_run_is_not_overtaken_by_small_ones)
{
    struct scheduler_run runs[] = {queued(1, 0, 1), queued(2, 0, 2)};
    add_slots(4);
    add_active(9, false, 3)->eta_s = 60;
    runs[0].slots = 4;
    DECIDE(runs, .age_ms = 0);
    cr_assert_not(d[0].start);
    cr_assert_str_eq(d[0].text, "needs 4 slots; 1 of 4 free now");
    cr_assert_float_eq(d[0].eta_s, 60, 1e-9);
    cr_assert_eq(d[0].blocking_count, 1);
    cr_assert_eq(d[0].blocking[0], 9);
    cr_assert_not(d[1].start, "one slot is free, but r1 waits for it");
    cr_assert_eq(d[1].blocking_count, 2);
    cr_assert_eq(d[1].blocking[1], 1, "who is in front of it");
    cr_assert(isnan(d[1].eta_s), "every slot is counted on by r1");
    runs[0].slots = 5;
    DECIDE(runs, .age_ms = 0);
    cr_assert_str_eq(d[0].code, "too_big");
    cr_assert(d[1].start, "what can never start does not block");
}

Test(scheduler, a_sweep_has_its_limit_and_holds_up_nobody)
{
    struct scheduler_run runs[] = {queued(1, 5, 1), queued(2, 5, 2), queued(3, 5, 3),
                                   queued(4, 0, 4)};
    add_slots(8);
    add_active(9, false, 1)->sweep = 7;
    for (int i = 0; i < 3; i++) {
        runs[i].sweep = 7;
        runs[i].sweep_max = 2;
    }
    DECIDE(runs, .age_ms = 0);
    cr_assert(d[0].start, "one of two has a worker");
    cr_assert_str_eq(d[1].code, "sweep");
    cr_assert_eq(d[1].blocking[0], 9);
    cr_assert_str_eq(d[2].code, "sweep");
    cr_assert(d[3].start, "another run does not wait for a sweep's limit");
}

Test(scheduler, a_user_has_his_limit_and_holds_up_nobody)
{
    struct scheduler_run runs[] = {queued(1, 9, 1), queued(2, 8, 1), queued(3, 7, 1),
                                   queued(4, 6, 1), queued(5, 5, 1)};
    const char *const users[] = {"ann", "ann", "ann", "bob", "bob"};
    for (int i = 0; i < 5; i++)
        runs[i].user = users[i];
    runs[1].slots = 2;
    runs[4].slots = 3;
    add_slots(8);
    struct scheduler_active *one = add_active(9, false, 1);
    one->user = "ann";
    one->slots = 1;
    DECIDE(runs, .user_max = 3);
    cr_assert(d[0].start, "two of three");
    cr_assert_str_eq(d[1].code, "quota");
    cr_assert_not_null(strstr(d[1].text, "ann holds 2 devices and may hold 3"));
    cr_assert(d[1].blocking_count == 1 && d[1].blocking[0] == 9);
    cr_assert(d[2].start && d[3].start, "three of three; others are not held up");
    cr_assert_str_eq(d[4].code, "quota", "one and three are more than three");
    DECIDE(runs, .user_max = 0);
    for (int i = 0; i < 4; i++)
        cr_assert(d[i].start, "no limit");
}

Test(scheduler, blocked_and_draining_start_nothing)
{
    struct scheduler_run runs[] = {queued(1, 0, 1)};
    add_slots(1);
    DECIDE(runs, .blocked = "no space", .blocked_code = "disk");
    cr_assert_str_eq(d[0].code, "disk");
    cr_assert_str_eq(d[0].text, "no space");
    DECIDE(runs, .draining = true);
    cr_assert_str_eq(d[0].code, "draining");
}

/* ---- Devices --------------------------------------------------------------------------------- */

#define GIB ((uint64_t)1 << 30)

Test(scheduler, each_run_gets_the_smallest_devices_that_do)
{
    struct scheduler_run runs[] = {queued(1, 9, 1), queued(2, 8, 1), queued(3, 7, 1)};
    add_slots(2);
    add_device(true, 80 * GIB);
    add_device(true, 24 * GIB);
    add_device(true, 24 * GIB);
    for (int i = 0; i < 2; i++)
        runs[i].gpu = true;
    runs[0].slots = 2;
    runs[0].memory_bytes = 24 * GIB;
    DECIDE(runs, .age_ms = 0);
    cr_assert(d[0].start && d[1].start && d[2].start);
    cr_assert_eq(d[0].devices[0], 3, "memory at the limit is enough");
    cr_assert_eq(d[0].devices[1], 4);
    cr_assert_eq(d[1].devices[0], 2);
    cr_assert_eq(d[2].devices[0], 0, "a host run takes no GPU");
}

Test(scheduler, a_run_that_waits_for_big_gpus_leaves_the_small_ones)
{
    struct scheduler_run runs[] = {queued(1, 9, 1), queued(2, 8, 1), queued(3, 8, 2)};
    add_device(true, 80 * GIB);
    add_device(true, 24 * GIB);
    add_active(9, true, 1)->eta_s = 30;
    for (int i = 0; i < 3; i++)
        runs[i].gpu = true;
    runs[0].memory_bytes = 24 * GIB + 1;
    DECIDE(runs, .age_ms = 0);
    cr_assert_str_eq(d[0].code, "no_gpus");
    cr_assert_float_eq(d[0].eta_s, 30, 1e-9);
    cr_assert(d[1].start);
    cr_assert_eq(d[1].devices[0], 1);
    cr_assert_str_eq(d[2].code, "no_gpus");
    runs[0].memory_bytes = 80 * GIB + 1;
    DECIDE(runs, .age_ms = 0);
    cr_assert_str_eq(d[0].code, "too_big");
}

Test(scheduler, what_may_not_be_used_is_named_and_given_to_nobody)
{
    struct scheduler_run runs[] = {queued(1, 9, 1), queued(2, 0, 1)};
    add_device(true, GIB);
    add_device(true, GIB);
    machine[1].usable = false;
    machine[1].trouble = "GPU-1 is used by process 4711 (python)";
    runs[0].gpu = runs[1].gpu = true;
    runs[0].slots = 2;
    DECIDE(runs, .age_ms = 0);
    cr_assert_str_eq(d[0].code, "unavailable");
    cr_assert_not_null(strstr(d[0].text, "process 4711 (python)"), "%s", d[0].text);
    cr_assert(d[1].start, "nobody waits behind one that a person keeps from starting");
    cr_assert_eq(d[1].devices[0], 0);
}

Test(scheduler, an_estimate_counts_each_device_once)
{
    struct scheduler_run runs[] = {queued(1, 9, 1), queued(2, 8, 1), queued(3, 7, 1)};
    add_slots(2);
    add_active(8, false, 1)->eta_s = 50;
    add_active(9, false, 1)->eta_s = 20;
    DECIDE(runs, .age_ms = 0);
    cr_assert_float_eq(d[0].eta_s, 20, 1e-9);
    cr_assert_float_eq(d[1].eta_s, 50, 1e-9);
    cr_assert(isnan(d[2].eta_s));
}

/* ---- Age ------------------------------------------------------------------------------------- */

Test(scheduler, waiting_counts_as_priority)
{
    struct scheduler_run runs[] = {queued(1, 0, 1), queued(2, 2, 2)};
    runs[1].queued_ms = 10000;
    add_slots(1);
    DECIDE(runs, .now_ms = 10999, .age_ms = 5500);
    cr_assert_eq(d[0].id, 2, "one short of two ages");
    DECIDE(runs, .now_ms = 11000, .age_ms = 5500);
    cr_assert_eq(d[0].id, 2, "the larger priority wins a tie");
    DECIDE(runs, .now_ms = 16500, .age_ms = 5500);
    cr_assert_eq(d[0].id, 2, "both have aged since: three against two and one");
    runs[1].queued_ms = 16500;
    DECIDE(runs, .now_ms = 16500, .age_ms = 5500);
    cr_assert_eq(d[0].id, 1);
    DECIDE(runs, .now_ms = 16500, .age_ms = 0);
    cr_assert_eq(d[0].id, 2, "age can be turned off");
}

Test(scheduler, age_keeps_the_order_that_people_made)
{
    struct scheduler_run runs[] = {queued(1, 0, 5), queued(2, 0, 1), queued(3, 1, 1)};
    runs[1].queued_ms = runs[2].queued_ms = 9000; /* r2 is young and was moved before r1 */
    add_slots(1);
    DECIDE(runs, .now_ms = 10000, .age_ms = 2000);
    cr_assert_eq(d[0].id, 2, "lifted by r1 behind it");
    cr_assert_eq(d[1].id, 1);
    cr_assert_eq(d[2].id, 3);
}

Test(scheduler, who_cannot_start_lifts_nobody)
{
    struct scheduler_dependency open = {.run = 7, .state = RUN_STATE_RUNNING};
    struct scheduler_run runs[] = {queued(1, 0, 5), queued(2, 1, 1)};
    runs[0].dependencies = &open;
    runs[0].dependency_count = 1;
    runs[1].queued_ms = 10000;
    add_slots(1);
    DECIDE(runs, .now_ms = 10000, .age_ms = 1000);
    cr_assert_eq(d[0].id, 2);
}

/* ---- Preemption ------------------------------------------------------------------------------ */

static struct scheduler_active *add_preemptible(int64_t id, int32_t priority, int64_t started_ms)
{
    struct scheduler_active *one = add_active(id, false, 1);
    one->preemptible = true;
    one->priority = priority;
    one->started_ms = started_ms;
    return one;
}

#define LIMITS .now_ms = 1000, .preempt_min_ms = 100, .preempt_max = 2

Test(scheduler, the_lowest_and_latest_gives_way)
{
    struct scheduler_run runs[] = {queued(1, 5, 1)};
    add_slots(3);
    add_preemptible(7, 1, 100);
    add_preemptible(8, 0, 100);
    add_preemptible(9, 0, 200);
    DECIDE(runs, LIMITS);
    cr_assert_not(d[0].start, "only when the device is free");
    cr_assert_eq(plan.victim_count, 1);
    cr_assert_eq(active[victims[0].index].id, 9);
    cr_assert_eq(victims[0].for_run, 1);
    cr_assert_not_null(strstr(d[0].text, "r9"), "%s", d[0].text);
    active[2].ending = true;
    DECIDE(runs, LIMITS);
    cr_assert_eq(plan.victim_count, 0, "one is on its way");
}

Test(scheduler, who_may_not_be_preempted_is_not)
{
    struct scheduler_run runs[] = {queued(1, 5, 1)};
    add_slots(1);
    struct scheduler_active *one = add_preemptible(7, 4, 900);
    DECIDE(runs, LIMITS);
    cr_assert_eq(plan.victim_count, 1, "it ran for just long enough");
    one->started_ms = 901;
    DECIDE(runs, LIMITS);
    cr_assert_eq(plan.victim_count, 0, "too young");
    one->started_ms = 0;
    one->preemptions = 1;
    DECIDE(runs, LIMITS);
    cr_assert_eq(plan.victim_count, 1);
    one->preemptions = 2;
    DECIDE(runs, LIMITS);
    cr_assert_eq(plan.victim_count, 0, "often enough");
    one->preemptions = 0;
    one->priority = 5;
    DECIDE(runs, LIMITS);
    cr_assert_eq(plan.victim_count, 0, "an equal");
    one->priority = 0;
    one->preemptible = false;
    DECIDE(runs, LIMITS);
    cr_assert_eq(plan.victim_count, 0, "it does not allow it");
}

Test(scheduler, age_does_not_preempt)
{
    struct scheduler_run runs[] = {queued(1, 0, 1)};
    add_slots(1);
    add_preemptible(7, 1, 0);
    DECIDE(runs, LIMITS, .age_ms = 10);
    cr_assert_eq(plan.victim_count, 0, "r1 stands at 100, but its priority is 0");
}

Test(scheduler, nobody_gives_way_for_nothing)
{
    struct scheduler_run runs[] = {queued(1, 5, 1)};
    add_slots(3);
    add_preemptible(7, 0, 0);
    add_active(8, false, 1);
    add_active(9, false, 1);
    runs[0].slots = 2;
    DECIDE(runs, LIMITS);
    cr_assert_eq(plan.victim_count, 0);
    active[1].ending = true;
    DECIDE(runs, LIMITS);
    cr_assert_eq(plan.victim_count, 1, "with the one that comes free it is enough");
}

Test(scheduler, no_more_give_way_than_needed)
{
    struct scheduler_run runs[] = {queued(1, 5, 1), queued(2, 4, 1)};
    add_slots(5);
    add_preemptible(7, 0, 0); /* lowest: picked first, and needless once r8 goes too */
    struct scheduler_active *big = add_active(8, false, 4);
    big->preemptible = true;
    big->priority = 1;
    runs[0].slots = 4;
    DECIDE(runs, LIMITS);
    cr_assert_eq(plan.victim_count, 1);
    cr_assert_eq(active[victims[0].index].id, 8);
    cr_assert_not(d[1].start, "r2 waits behind r1");
}

Test(scheduler, what_is_kept_for_one_in_front_is_not_preempted_for_one_behind)
{
    struct scheduler_run runs[] = {queued(1, 0, 1), queued(2, 5, 1)};
    runs[0].slots = 2;
    runs[1].queued_ms = 1000;
    add_slots(2);
    add_preemptible(7, -1, 0);
    add_active(8, false, 1);
    DECIDE(runs, LIMITS, .age_ms = 100);
    cr_assert_eq(d[0].id, 1, "it has waited long");
    cr_assert_eq(plan.victim_count, 0, "r7 would give way to r2, but r1 would have its slot");
}

Test(scheduler, details_are_told_of_the_first_in_line_only)
{
    static struct scheduler_run runs[SCHEDULER_DETAILS_MAX + 2];
    for (int i = 0; i < SCHEDULER_DETAILS_MAX + 2; i++)
        runs[i] = queued(i + 1, 0, i);
    add_slots(1);
    DECIDE(runs, .age_ms = 0);
    cr_assert(d[0].start);
    cr_assert_eq(d[SCHEDULER_DETAILS_MAX].blocking_count, 2, "r1, which starts, and r2");
    cr_assert_eq(d[SCHEDULER_DETAILS_MAX + 1].blocking_count, 0);
    cr_assert_str_eq(d[SCHEDULER_DETAILS_MAX + 1].text, "waits its turn behind other runs");
}
