/*
 * The scheduler over a simulated life: thousands of random events (submissions, ends, failures with
 * back-off, holds, releases, changes of priority, moves, drains) under a simulated clock. After
 * each event a pass decides; what it starts is checked against rules that are stated here anew:
 *
 *   - no slot is given out twice, and no run has two workers;
 *   - nothing that could start is overtaken by a run that ranks behind it;
 *   - a run of a sweep starts only below the sweep's limit;
 *   - once submissions end, everything that is not held starts and ends: nobody starves.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "daemon/scheduler.h"

#define RUNS_MAX   160
#define EVENTS     1500
#define SLOTS      4
#define SWEEPS     3
#define SWEEP_MAX  2
#define BACKOFF_MS 5000

struct life {
    struct rng rng;
    struct scheduler_run runs[RUNS_MAX]; /* run i has id i + 1; its state is the truth */
    struct scheduler_dependency dependencies[RUNS_MAX];
    size_t count;
    int64_t now_ms;
    bool draining;
    size_t starts;
    uint64_t seed;
};

static bool has_worker(const struct scheduler_run *run)
{
    return run->state == RUN_STATE_RUNNING;
}

static int32_t used_slots(const struct life *life)
{
    int32_t used = 0;
    for (size_t i = 0; i < life->count; i++)
        used += has_worker(&life->runs[i]) ? life->runs[i].slots : 0;
    return used;
}

static int32_t workers_of(const struct life *life, int64_t sweep)
{
    int32_t count = 0;
    for (size_t i = 0; i < life->count; i++)
        count += has_worker(&life->runs[i]) && life->runs[i].sweep == sweep;
    return count;
}

static bool ranks_before(const struct scheduler_run *a, const struct scheduler_run *b)
{
    if (a->priority != b->priority)
        return a->priority > b->priority;
    if (a->queue_pos != b->queue_pos)
        return a->queue_pos < b->queue_pos;
    return a->id < b->id;
}

/* Nothing but slots keeps it from starting. */
static bool is_ready(const struct life *life, const struct scheduler_run *run)
{
    bool waits = run->state == RUN_STATE_QUEUED ||
                 (run->state == RUN_STATE_BACKOFF && run->not_before_ms <= life->now_ms);
    if (!waits || life->draining || run->slots > SLOTS)
        return false;
    if (run->sweep && workers_of(life, run->sweep) >= SWEEP_MAX)
        return false;
    for (size_t i = 0; i < run->dependency_count; i++) {
        enum run_state state = life->runs[run->dependencies[i].run - 1].state;
        if (!run_state_is_terminal(state) ||
            (!run->dependencies[i].any && state != RUN_STATE_SUCCEEDED))
            return false;
    }
    return true;
}

/* The run that must start next by the rules; NULL: none may. One that lacks only slots bars all. */
static const struct scheduler_run *next_by_rules(const struct life *life)
{
    const struct scheduler_run *first = NULL;
    for (size_t i = 0; i < life->count; i++)
        if (is_ready(life, &life->runs[i]) && (!first || ranks_before(&life->runs[i], first)))
            first = &life->runs[i];
    return first && first->slots <= SLOTS - used_slots(life) ? first : NULL;
}

/* ---- A pass ---------------------------------------------------------------------------------- */

static void tell_dependencies(struct life *life)
{
    for (size_t i = 0; i < life->count; i++)
        for (size_t k = 0; k < life->runs[i].dependency_count; k++)
            life->dependencies[i].state = life->runs[life->dependencies[i].run - 1].state;
}

static void start_checked(struct life *life, const struct scheduler_decision *decision)
{
    struct scheduler_run *run = &life->runs[decision->id - 1];
    cr_assert_not(has_worker(run), "seed %llu: r%lld has a worker", (unsigned long long)life->seed,
                  (long long)run->id);
    const struct scheduler_run *due = next_by_rules(life);
    cr_assert_eq(due, run, "seed %llu: r%lld starts, r%lld is due", (unsigned long long)life->seed,
                 (long long)run->id, due ? (long long)due->id : 0);
    run->state = RUN_STATE_RUNNING;
    life->starts++;
    cr_assert_leq(used_slots(life), SLOTS);
}

static void pass(struct life *life)
{
    struct scheduler_active active[RUNS_MAX];
    struct scheduler_decision decisions[RUNS_MAX];
    size_t active_count = 0, count = 0;
    tell_dependencies(life);
    for (size_t i = 0; i < life->count; i++)
        if (has_worker(&life->runs[i]))
            active[active_count++] = (struct scheduler_active){.id = life->runs[i].id,
                                                               .slots = life->runs[i].slots,
                                                               .sweep = life->runs[i].sweep,
                                                               .eta_s = NAN};
    struct scheduler_input input = {.runs = life->runs,
                                    .run_count = life->count,
                                    .active = active,
                                    .active_count = active_count,
                                    .slots = SLOTS,
                                    .draining = life->draining,
                                    .now_ms = life->now_ms};
    cr_assert_eq(scheduler_decide(&input, decisions, &count, NULL), IJ_OK);
    for (size_t i = 0; i < count; i++)
        if (decisions[i].start)
            start_checked(life, &decisions[i]);
        else
            cr_assert(decisions[i].code[0] && decisions[i].text[0], "a run waits without a reason");
    cr_assert_null(next_by_rules(life), "seed %llu: somebody could start and did not",
                   (unsigned long long)life->seed);
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void submit(struct life *life)
{
    if (life->count == RUNS_MAX)
        return;
    size_t i = life->count++;
    struct scheduler_run *run = &life->runs[i];
    *run = (struct scheduler_run){.id = (int64_t)i + 1,
                                  .state = RUN_STATE_QUEUED,
                                  .priority = (int32_t)rng_below(&life->rng, 5) - 2,
                                  .queue_pos = (double)i,
                                  .slots = 1 + (int32_t)rng_below(&life->rng, SLOTS)};
    run->sweep = rng_below(&life->rng, 2) ? 1 + (int64_t)rng_below(&life->rng, SWEEPS) : 0;
    run->sweep_max = run->sweep ? SWEEP_MAX : 0;
    if (i && rng_below(&life->rng, 4) == 0) {
        life->dependencies[i] = (struct scheduler_dependency){
            .run = 1 + (int64_t)rng_below(&life->rng, (uint32_t)i), .any = true};
        run->dependencies = &life->dependencies[i];
        run->dependency_count = 1;
    }
}

static void end_one(struct life *life, struct scheduler_run *run)
{
    uint32_t kind = rng_below(&life->rng, 4);
    if (!has_worker(run))
        return;
    run->state = kind == 0 ? RUN_STATE_BACKOFF : kind == 1 ? RUN_STATE_FAILED : RUN_STATE_SUCCEEDED;
    run->not_before_ms = life->now_ms + 1 + rng_below(&life->rng, BACKOFF_MS);
}

static void happen(struct life *life)
{
    struct scheduler_run *run =
        life->count ? &life->runs[rng_below(&life->rng, (uint32_t)life->count)] : NULL;
    life->now_ms += rng_below(&life->rng, 1000);
    switch (rng_below(&life->rng, 10)) {
    case 0:
    case 1:
        submit(life);
        break;
    case 2:
        if (run && run->state == RUN_STATE_QUEUED)
            run->state = RUN_STATE_HELD;
        break;
    case 3:
        if (run && run->state == RUN_STATE_HELD)
            run->state = RUN_STATE_QUEUED;
        break;
    case 4:
        if (run)
            run->priority = (int32_t)rng_below(&life->rng, 5) - 2;
        break;
    case 5:
        if (run)
            run->queue_pos = rng_uniform(&life->rng) * RUNS_MAX;
        break;
    case 6:
        life->draining = rng_below(&life->rng, 8) == 0;
        break;
    default:
        if (run)
            end_one(life, run);
    }
}

/* No more submissions; held runs are released. Every worker ends in finite time. */
static void run_dry(struct life *life)
{
    life->draining = false;
    for (int turn = 0; turn < 20 * RUNS_MAX; turn++) {
        bool live = false;
        life->now_ms += BACKOFF_MS;
        for (size_t i = 0; i < life->count; i++) {
            struct scheduler_run *run = &life->runs[i];
            if (run->state == RUN_STATE_HELD)
                run->state = RUN_STATE_QUEUED;
            end_one(life, run);
            live |= !run_state_is_terminal(run->state);
        }
        if (!live)
            return;
        pass(life);
    }
    cr_assert_fail("seed %llu: somebody starves", (unsigned long long)life->seed);
}

Test(scheduler_life, rules_hold_through_thousands_of_events)
{
    static struct life life;
    size_t starts = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        life = (struct life){.seed = seed};
        rng_init(&life.rng, seed, RNG_TEST, 0, 0);
        for (int event = 0; event < EVENTS; event++) {
            happen(&life);
            pass(&life);
        }
        run_dry(&life);
        starts += life.starts;
    }
    cr_assert_gt(starts, 20 * 100, "the lives must be lively: %zu starts", starts);
}

/* A run for every slot, behind small ones of its own priority that never stop coming. */
Test(scheduler_life, a_big_run_starts_though_small_ones_keep_coming)
{
    static struct life life;
    life = (struct life){.count = 0};
    rng_init(&life.rng, 1, RNG_TEST, 0, 0);
    for (size_t i = 0; i < RUNS_MAX; i++) {
        life.runs[i] = (struct scheduler_run){.id = (int64_t)i + 1,
                                              .state = RUN_STATE_QUEUED,
                                              .queue_pos = (double)i,
                                              .slots = i == SLOTS ? SLOTS : 1};
        life.count = i + 1;
        pass(&life);
        for (size_t k = 0; k < i; k++) /* each small one works for three turns */
            if (has_worker(&life.runs[k]) && k + 3 <= i)
                life.runs[k].state = RUN_STATE_SUCCEEDED;
        if (life.runs[SLOTS].state != RUN_STATE_QUEUED && i >= SLOTS) {
            cr_assert_leq(i, SLOTS + 4, "it waited only for those before it");
            return;
        }
    }
    cr_assert_fail("the big run never started");
}
