/* The scheduler: its order, its reasons, and its invariants under thousands of random queues. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "daemon/scheduler.h"

#define RUNS_MAX 40

static struct scheduler_run queued(int64_t id, int32_t priority, double pos)
{
    return (struct scheduler_run){
        .id = id, .state = RUN_STATE_QUEUED, .priority = priority, .queue_pos = pos, .slots = 1};
}

static size_t decide(const struct scheduler_input *input, struct scheduler_decision *decisions)
{
    size_t count = 0;
    cr_assert_eq(scheduler_decide(input, decisions, &count, NULL), IJ_OK);
    return count;
}

Test(scheduler, priority_then_position_then_id)
{
    struct scheduler_run runs[] = {queued(1, 0, 5), queued(2, 10, 9), queued(3, 10, 2),
                                   queued(4, 0, 5)};
    struct scheduler_decision d[4];
    cr_assert_eq(decide(&(struct scheduler_input){.runs = runs, .run_count = 4, .slots = 1}, d), 4);
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
    struct scheduler_decision d[3];
    decide(&(struct scheduler_input){.runs = runs, .run_count = 3, .slots = 1}, d);
    cr_assert_str_eq(d[0].code, "dependency");
    cr_assert_not_null(strstr(d[0].text, "r7"));
    cr_assert_str_eq(d[1].code, "dependency_failed");
    cr_assert_not_null(strstr(d[1].text, "r8"));
    cr_assert(d[2].start, "an ended run satisfies \"any\"");
}

Test(scheduler, a_dependency_tells_when_it_will_end_if_all_do)
{
    struct scheduler_dependency open[] = {{.run = 7, .state = RUN_STATE_RUNNING},
                                          {.run = 8, .state = RUN_STATE_RUNNING}};
    struct scheduler_active active[] = {{.id = 7, .slots = 1, .eta_s = 60},
                                        {.id = 8, .slots = 1, .eta_s = 90}};
    struct scheduler_run run = queued(9, 0, 1);
    struct scheduler_decision d;
    run.dependencies = open;
    run.dependency_count = 2;
    struct scheduler_input input = {
        .runs = &run, .run_count = 1, .active = active, .active_count = 2, .slots = 2};
    decide(&input, &d);
    cr_assert_str_eq(d.code, "dependency");
    cr_assert_float_eq(d.eta_s, 90, 1e-9);
    active[0].eta_s = NAN;
    decide(&input, &d);
    cr_assert(isnan(d.eta_s));
}

Test(scheduler, backoff_ends_at_its_time)
{
    struct scheduler_run run = queued(1, 0, 1);
    struct scheduler_decision d;
    run.state = RUN_STATE_BACKOFF;
    run.not_before_ms = 1000;
    struct scheduler_input input = {.runs = &run, .run_count = 1, .slots = 1, .now_ms = 999};
    decide(&input, &d);
    cr_assert_not(d.start);
    cr_assert_str_eq(d.code, "backoff");
    cr_assert_float_eq(d.eta_s, 0.001, 1e-9);
    input.now_ms = 1000;
    decide(&input, &d);
    cr_assert(d.start);
}

Test(scheduler, a_big_run_is_not_overtaken_by_small_ones)
{
    struct scheduler_run runs[] = {queued(1, 0, 1), queued(2, 0, 2)};
    struct scheduler_active active = {.id = 9, .slots = 3, .eta_s = 60};
    struct scheduler_decision d[2];
    runs[0].slots = 4;
    decide(
        &(struct scheduler_input){
            .runs = runs, .run_count = 2, .active = &active, .active_count = 1, .slots = 4},
        d);
    cr_assert_not(d[0].start);
    cr_assert_float_eq(d[0].eta_s, 60, 1e-9);
    cr_assert_not(d[1].start, "one slot is free, but r1 waits for it");
    runs[0].slots = 5;
    decide(
        &(struct scheduler_input){
            .runs = runs, .run_count = 2, .active = &active, .active_count = 1, .slots = 4},
        d);
    cr_assert_str_eq(d[0].code, "too_big");
    cr_assert(d[1].start, "what can never start does not block");
}

Test(scheduler, a_sweep_has_its_limit_and_holds_up_nobody)
{
    struct scheduler_run runs[] = {queued(1, 5, 1), queued(2, 5, 2), queued(3, 5, 3),
                                   queued(4, 0, 4)};
    struct scheduler_active active = {.id = 9, .slots = 1, .eta_s = NAN, .sweep = 7};
    struct scheduler_decision d[4];
    for (int i = 0; i < 3; i++) {
        runs[i].sweep = 7;
        runs[i].sweep_max = 2;
    }
    decide(
        &(struct scheduler_input){
            .runs = runs, .run_count = 4, .active = &active, .active_count = 1, .slots = 8},
        d);
    cr_assert(d[0].start, "one of two has a worker");
    cr_assert_str_eq(d[1].code, "sweep");
    cr_assert_str_eq(d[2].code, "sweep");
    cr_assert(d[3].start, "another run does not wait for a sweep's limit");
}

Test(scheduler, blocked_and_draining_start_nothing)
{
    struct scheduler_run run = queued(1, 0, 1);
    struct scheduler_decision d;
    decide(&(struct scheduler_input){.runs = &run,
                                     .run_count = 1,
                                     .slots = 1,
                                     .blocked = "no space",
                                     .blocked_code = "disk"},
           &d);
    cr_assert_str_eq(d.code, "disk");
    cr_assert_str_eq(d.text, "no space");
    decide(&(struct scheduler_input){.runs = &run, .run_count = 1, .slots = 1, .draining = true},
           &d);
    cr_assert_str_eq(d.code, "draining");
}

/* ---- Random queues --------------------------------------------------------------------------- */

struct world {
    struct scheduler_run runs[RUNS_MAX];
    struct scheduler_dependency dependencies[RUNS_MAX];
    struct scheduler_active active[4];
    struct scheduler_input input;
};

static void make_world(struct world *world, uint64_t seed)
{
    struct rng rng;
    rng_init(&rng, seed, RNG_TEST, 0, 0);
    *world = (struct world){0};
    size_t count = rng_below(&rng, RUNS_MAX + 1);
    for (size_t i = 0; i < count; i++) {
        struct scheduler_run *run = &world->runs[i];
        *run = queued((int64_t)i + 1, (int32_t)rng_below(&rng, 5) - 2, rng_below(&rng, 6));
        run->state = (enum run_state)rng_below(&rng, RUN_STATE_COUNT);
        run->slots = 1 + (int32_t)rng_below(&rng, 3);
        run->not_before_ms = rng_below(&rng, 2000);
        world->dependencies[i] = (struct scheduler_dependency){
            .run = 100,
            .any = rng_below(&rng, 2),
            .state = (enum run_state)rng_below(&rng, RUN_STATE_COUNT)};
        run->dependencies = &world->dependencies[i];
        run->dependency_count = rng_below(&rng, 4) == 0;
    }
    world->input = (struct scheduler_input){.runs = world->runs,
                                            .run_count = count,
                                            .active = world->active,
                                            .active_count = rng_below(&rng, 4),
                                            .slots = 1 + (int32_t)rng_below(&rng, 6),
                                            .draining = rng_below(&rng, 20) == 0,
                                            .now_ms = 1000};
    for (size_t i = 0; i < world->input.active_count; i++)
        world->active[i] = (struct scheduler_active){
            .id = 200 + (int64_t)i, .slots = 1, .eta_s = rng_below(&rng, 2) ? NAN : 10};
}

/* Whether nothing but slots keeps it from starting. */
static bool could_start(const struct world *world, const struct scheduler_run *run)
{
    const struct scheduler_dependency *on = run->dependencies;
    bool free = !run->dependency_count || on->state == RUN_STATE_SUCCEEDED ||
                (on->any && run_state_is_terminal(on->state));
    bool due = run->state == RUN_STATE_QUEUED ||
               (run->state == RUN_STATE_BACKOFF && run->not_before_ms <= world->input.now_ms);
    return free && due && !world->input.draining && run->slots <= world->input.slots;
}

static void check_world(const struct world *world, uint64_t seed)
{
    struct scheduler_decision d[RUNS_MAX];
    size_t count = decide(&world->input, d), expected = 0;
    int32_t used = (int32_t)world->input.active_count;
    bool seen[RUNS_MAX] = {false}, blocked = false;
    for (size_t i = 0; i < world->input.run_count; i++)
        expected +=
            world->runs[i].state == RUN_STATE_QUEUED || world->runs[i].state == RUN_STATE_BACKOFF;
    cr_assert_eq(count, expected, "seed %llu", (unsigned long long)seed);
    for (size_t i = 0; i < count; i++) {
        const struct scheduler_run *run = &world->runs[d[i].index];
        cr_assert_eq(run->id, d[i].id);
        cr_assert_not(seen[d[i].index], "seed %llu: decided twice", (unsigned long long)seed);
        seen[d[i].index] = true;
        cr_assert_neq(d[i].start, d[i].code[0] != '\0', "a start or a reason, never both");
        if (i) {
            const struct scheduler_run *before = &world->runs[d[i - 1].index];
            cr_assert_geq(before->priority, run->priority);
        }
        bool wants = could_start(world, run);
        bool fits = run->slots <= world->input.slots - used;
        cr_assert_eq(d[i].start, wants && fits && !blocked, "seed %llu run %lld",
                     (unsigned long long)seed, (long long)run->id);
        blocked |= wants && !d[i].start;
        used += d[i].start ? run->slots : 0;
    }
    cr_assert_leq(used, world->input.slots > (int32_t)world->input.active_count
                            ? world->input.slots
                            : (int32_t)world->input.active_count);
}

Test(scheduler, invariants_hold_in_random_queues)
{
    for (uint64_t seed = 0; seed < 20000; seed++) {
        struct world world;
        make_world(&world, seed);
        check_world(&world, seed);
    }
}
