/*
 * The scheduler over a simulated life: thousands of random events (submissions, ends, failures with
 * back-off, holds, releases, cancels, changes of priority, moves, requeues, drains, cordons,
 * foreign processes) under a simulated clock. After each event a pass decides; what it does is
 * checked against rules that are stated here anew:
 *
 *   - no device is held twice; each run gets as many as it asks for, of its kind and size;
 *   - a device that is cordoned or used by others is given to nobody;
 *   - nothing that could start is overtaken on a device that it could use, and no such device is
 *     left idle;
 *   - a run of a sweep starts only below the sweep's limit;
 *   - only those who allow it are preempted, by higher priorities, not too young, not too often,
 *     and only where it helps;
 *   - once submissions end, everything ends; and a run waits for a bounded time under a stream of
 *     runs of higher priority: nobody starves.
 *
 * IJEPAD_SEED replays a life; a failure prints its seed.
 */
#include "base/mem.h"
#include "base/clock.h"
#include "base/rng.h"
#include "base/text.h"
#include "tests/unit/scheduler_fixture.h"

#define RUNS_MAX       160
#define EVENTS         1500
#define LIVES          20
#define SWEEPS         3
#define SWEEP_MAX      2
#define BACKOFF_MS     5000
#define AGE_MS         7000
#define PREEMPT_MIN_MS 3000
#define PREEMPT_MAX    2
#define GIB            ((uint64_t)1 << 30)

struct life {
    struct rng rng;
    struct scheduler_run runs[RUNS_MAX]; /* run i has id i + 1; its state is the truth */
    struct scheduler_dependency dependencies[RUNS_MAX];
    struct scheduler_active workers[RUNS_MAX]; /* of run i while it has one */
    size_t count;
    int64_t now_ms;
    bool draining;
    size_t starts, preemptions;
    uint64_t seed;
};

static struct life life;

#define CHECK(condition, ...)                                                                      \
    cr_assert(condition, "IJEPAD_SEED=%llu: %s", (unsigned long long)life.seed, __VA_ARGS__)

static bool has_worker(const struct scheduler_run *run)
{
    return run->state == RUN_STATE_RUNNING || run->state == RUN_STATE_PAUSING;
}

/* ---- The rules, anew ------------------------------------------------------------------------- */

static bool fits(const struct scheduler_run *run, size_t device)
{
    return machine[device].gpu == run->gpu && machine[device].memory_bytes >= run->memory_bytes;
}

static int32_t count_devices(const struct scheduler_run *run, bool only_usable, bool only_free)
{
    int32_t count = 0;
    for (size_t i = 0; i < machine_count; i++)
        count +=
            fits(run, i) && (!only_usable || machine[i].usable) && (!only_free || !machine[i].run);
    return count;
}

static int32_t workers_of(int64_t sweep)
{
    int32_t count = 0;
    for (size_t i = 0; i < life.count; i++)
        count += has_worker(&life.runs[i]) && life.runs[i].sweep == sweep;
    return count;
}

static bool dependencies_are_met(const struct scheduler_run *run)
{
    for (size_t i = 0; i < run->dependency_count; i++) {
        enum run_state state = life.runs[run->dependencies[i].run - 1].state;
        if (!run_state_is_terminal(state) ||
            (!run->dependencies[i].any && state != RUN_STATE_SUCCEEDED))
            return false;
    }
    return true;
}

/* Nothing but free devices keeps it from starting. */
static bool is_ready(const struct scheduler_run *run)
{
    bool waits = run->state == RUN_STATE_QUEUED ||
                 (run->state == RUN_STATE_BACKOFF && run->not_before_ms <= life.now_ms);
    return waits && !life.draining && dependencies_are_met(run) &&
           !(run->sweep && workers_of(run->sweep) >= SWEEP_MAX) &&
           count_devices(run, true, false) >= run->slots;
}

static bool is_placed_before(const struct scheduler_run *a, const struct scheduler_run *b)
{
    return a->queue_pos != b->queue_pos ? a->queue_pos < b->queue_pos : a->id < b->id;
}

/* Priority and the longest wait among itself and those behind it in its priority. */
static int64_t standing(const struct scheduler_run *run)
{
    int64_t longest = 0;
    for (size_t i = 0; i < life.count; i++) {
        const struct scheduler_run *one = &life.runs[i];
        bool waits = one->state == RUN_STATE_QUEUED || one->state == RUN_STATE_BACKOFF;
        int64_t age = (life.now_ms - one->queued_ms) / AGE_MS;
        if (waits && one->priority == run->priority && !is_placed_before(one, run) &&
            dependencies_are_met(one) && age > longest)
            longest = age;
    }
    return run->priority + longest;
}

static bool ranks_before(const struct scheduler_run *a, const struct scheduler_run *b)
{
    int64_t left = standing(a), right = standing(b);
    if (left != right)
        return left > right;
    return a->priority != b->priority ? a->priority > b->priority : is_placed_before(a, b);
}

/* Somebody in front of `run` waits for this device. */
static bool is_kept(const struct scheduler_run *run, size_t device)
{
    for (size_t i = 0; i < life.count; i++) {
        const struct scheduler_run *one = &life.runs[i];
        if (one != run && is_ready(one) && fits(one, device) && ranks_before(one, run))
            return true;
    }
    return false;
}

/* ---- A pass ---------------------------------------------------------------------------------- */

/* In the order of the decisions, so that whoever is still ready in front of it did not start. */
static void start_checked(const struct scheduler_decision *decision)
{
    struct scheduler_run *run = &life.runs[decision->id - 1];
    CHECK(!has_worker(run) && is_ready(run), "started though it must not");
    for (int32_t i = 0; i < run->slots; i++) {
        size_t place = decision->devices[i];
        CHECK(place < machine_count && fits(run, place), "a device that is not what it asked for");
        CHECK(machine[place].usable, "a device that is out of use");
        CHECK(!machine[place].run, "a device that is held");
        CHECK(!is_kept(run, place), "a device that somebody in front waits for");
    }
    for (int32_t i = 0; i < run->slots; i++)
        machine[decision->devices[i]].run = run->id;
    for (size_t i = 0, held = 0; i <= machine_count; i++) {
        if (i == machine_count)
            CHECK(held == (size_t)run->slots, "one device twice");
        else
            held += machine[i].run == run->id;
    }
    run->state = RUN_STATE_RUNNING;
    struct scheduler_active *worker = &life.workers[run->id - 1];
    *worker = (struct scheduler_active){.id = run->id,
                                        .eta_s = NAN,
                                        .sweep = run->sweep,
                                        .preemptible = worker->preemptible,
                                        .preemptions = worker->preemptions,
                                        .started_ms = life.now_ms};
    life.starts++;
}

static void check_nothing_is_idle(void)
{
    for (size_t i = 0; i < life.count; i++) {
        const struct scheduler_run *run = &life.runs[i];
        int32_t open = 0;
        if (!is_ready(run))
            continue;
        for (size_t k = 0; k < machine_count; k++)
            open += fits(run, k) && machine[k].usable && !machine[k].run && !is_kept(run, k);
        CHECK(open < run->slots, "somebody could start and did not");
    }
}

/* Runs before the starts are carried out: the machine is as the scheduler saw it. */
static void check_victims(void)
{
    for (size_t i = 0; i < plan.victim_count; i++) {
        struct scheduler_active *victim = &life.workers[active[victims[i].index].id - 1];
        const struct scheduler_run *run = &life.runs[victims[i].for_run - 1];
        struct scheduler_run *loser = &life.runs[victim->id - 1];
        CHECK(loser->state == RUN_STATE_RUNNING && victim->preemptible, "it may not be preempted");
        CHECK(is_ready(run) && loser->priority < run->priority, "for one that may not");
        CHECK(life.now_ms - victim->started_ms >= PREEMPT_MIN_MS, "too young");
        CHECK(++victim->preemptions <= PREEMPT_MAX, "too often");
        loser->state = RUN_STATE_PAUSING;
        life.preemptions++;
    }
    for (size_t i = 0; i < plan.victim_count; i++) {
        const struct scheduler_run *run = &life.runs[victims[i].for_run - 1];
        int32_t coming = 0;
        for (size_t k = 0; k < machine_count; k++) {
            int64_t holder = machine[k].run;
            coming += fits(run, k) && machine[k].usable &&
                      (!holder || life.runs[holder - 1].state == RUN_STATE_PAUSING);
        }
        CHECK(coming >= run->slots, "for nothing");
    }
}

static void tell_dependencies(void)
{
    for (size_t i = 0; i < life.count; i++)
        for (size_t k = 0; k < life.runs[i].dependency_count; k++)
            life.dependencies[i].state = life.runs[life.dependencies[i].run - 1].state;
}

/* Carries out one decision; how many started. */
static size_t pass_once(void)
{
    size_t before = life.starts;
    tell_dependencies();
    active_count = 0;
    for (size_t i = 0; i < life.count; i++)
        if (has_worker(&life.runs[i])) {
            active[active_count] = life.workers[i];
            active[active_count].priority = life.runs[i].priority;
            active[active_count++].ending = life.runs[i].state == RUN_STATE_PAUSING;
        }
    decide((struct scheduler_input){.runs = life.runs,
                                    .run_count = life.count,
                                    .draining = life.draining,
                                    .now_ms = life.now_ms,
                                    .age_ms = AGE_MS,
                                    .preempt_min_ms = PREEMPT_MIN_MS,
                                    .preempt_max = PREEMPT_MAX});
    check_victims();
    for (size_t i = 0; i < plan.decision_count; i++)
        if (d[i].start)
            start_checked(&d[i]);
        else
            CHECK(d[i].code[0] && d[i].text[0], "a run waits without a reason");
    return life.starts - before;
}

/* A start may fill a sweep, so that one of its runs in front keeps no device any more: the next
 * decision sees that. */
static void pass(void)
{
    while (pass_once() > 0)
        ;
    check_nothing_is_idle();
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void submit(void)
{
    if (life.count == RUNS_MAX)
        return;
    size_t i = life.count++;
    struct scheduler_run *run = &life.runs[i];
    *run = queued((int64_t)i + 1, (int32_t)rng_below(&life.rng, 5) - 2, (double)i);
    run->slots = 1 + (int32_t)rng_below(&life.rng, 3);
    run->queued_ms = life.now_ms;
    run->gpu = rng_below(&life.rng, 2);
    if (run->gpu && rng_below(&life.rng, 3) == 0) {
        run->memory_bytes = 24 * GIB + rng_below(&life.rng, 2);
        run->slots = 1;
    }
    run->sweep = rng_below(&life.rng, 2) ? 1 + (int64_t)rng_below(&life.rng, SWEEPS) : 0;
    run->sweep_max = run->sweep ? SWEEP_MAX : 0;
    life.workers[i] = (struct scheduler_active){.preemptible = rng_below(&life.rng, 2)};
    if (i && rng_below(&life.rng, 4) == 0) {
        life.dependencies[i] = (struct scheduler_dependency){
            .run = 1 + (int64_t)rng_below(&life.rng, (uint32_t)i), .any = true};
        run->dependencies = &life.dependencies[i];
        run->dependency_count = 1;
    }
}

static void queue_again(struct scheduler_run *run, bool first)
{
    run->state = RUN_STATE_QUEUED;
    run->queued_ms = life.now_ms;
    for (size_t i = 0; i < life.count && first; i++)
        if (life.runs[i].priority == run->priority && life.runs[i].queue_pos <= run->queue_pos)
            run->queue_pos = life.runs[i].queue_pos - 1;
}

static void end_one(struct scheduler_run *run)
{
    uint32_t kind = rng_below(&life.rng, 4);
    if (!has_worker(run))
        return;
    for (size_t i = 0; i < machine_count; i++)
        if (machine[i].run == run->id)
            machine[i].run = 0;
    if (run->state == RUN_STATE_PAUSING) {
        queue_again(run, true);
        return;
    }
    run->state = kind == 0 ? RUN_STATE_BACKOFF : kind == 1 ? RUN_STATE_FAILED : RUN_STATE_SUCCEEDED;
    run->not_before_ms = life.now_ms + 1 + rng_below(&life.rng, BACKOFF_MS);
}

static void happen_to(struct scheduler_run *run)
{
    switch (rng_below(&life.rng, 14)) {
    case 0:
        if (run->state == RUN_STATE_QUEUED)
            run->state = RUN_STATE_HELD;
        break;
    case 1:
        if (run->state == RUN_STATE_HELD)
            queue_again(run, false);
        break;
    case 2:
        run->priority = (int32_t)rng_below(&life.rng, 5) - 2;
        break;
    case 3:
        run->queue_pos = rng_uniform(&life.rng) * RUNS_MAX;
        break;
    case 4:
        if (run->state == RUN_STATE_QUEUED)
            run->state = RUN_STATE_CANCELED;
        break;
    case 5:
        if (run_state_is_terminal(run->state) && rng_below(&life.rng, 4) == 0)
            queue_again(run, false);
        break;
    default:
        end_one(run);
    }
}

static void happen(void)
{
    life.now_ms += rng_below(&life.rng, 1000);
    switch (rng_below(&life.rng, 10)) {
    case 0:
    case 1:
        submit();
        break;
    case 2: { /* cordoned, uncordoned, taken by a foreign process, left by it */
        struct scheduler_device *device = &machine[rng_below(&life.rng, (uint32_t)machine_count)];
        device->usable = rng_below(&life.rng, 3) != 0;
        device->trouble = "out of use";
        break;
    }
    case 3:
        life.draining = rng_below(&life.rng, 8) == 0;
        break;
    default:
        if (life.count)
            happen_to(&life.runs[rng_below(&life.rng, (uint32_t)life.count)]);
    }
}

static void begin(uint64_t seed)
{
    life = (struct life){.seed = seed};
    rng_init(&life.rng, seed, RNG_TEST, 0, 0);
    machine_count = 0;
    add_slots(3);
    add_device(true, 24 * GIB);
    add_device(true, 24 * GIB);
    add_device(true, 80 * GIB);
}

/* No more submissions; devices come back, held runs are released. Every worker ends in time. */
static void run_dry(void)
{
    life.draining = false;
    for (size_t i = 0; i < machine_count; i++)
        machine[i].usable = true;
    for (int turn = 0; turn < 40 * RUNS_MAX; turn++) {
        bool is_live = false;
        life.now_ms += BACKOFF_MS;
        for (size_t i = 0; i < life.count; i++) {
            struct scheduler_run *run = &life.runs[i];
            if (run->state == RUN_STATE_HELD)
                queue_again(run, false);
            end_one(run);
            is_live |= !run_state_is_terminal(run->state);
        }
        if (!is_live)
            return;
        pass();
    }
    CHECK(false, "somebody starves");
}

Test(scheduler_life, rules_hold_through_thousands_of_events, .timeout = 120)
{
    size_t starts = 0, preemptions = 0;
    uint64_t seed = (uint64_t)clock_monotonic_ns();
    const char *given = getenv("IJEPAD_SEED");
    if (given)
        cr_assert(text_to_u64(given, &seed), "IJEPAD_SEED is not a number");
    fprintf(stderr, "scheduler_life: IJEPAD_SEED=%llu and the %d after it\n",
            (unsigned long long)seed, LIVES - 1);
    for (uint64_t i = 0; i < LIVES; i++) {
        begin(seed + i);
        for (int event = 0; event < EVENTS; event++) {
            happen();
            pass();
        }
        run_dry();
        starts += life.starts;
        preemptions += life.preemptions;
    }
    cr_assert_gt(starts, LIVES * 50, "the lives must be lively: %zu starts", starts);
    cr_assert_gt(preemptions, LIVES, "and merciless: %zu preemptions", preemptions);
}

/* ---- Nobody starves -------------------------------------------------------------------------- */

/* One slot; every ten seconds a run of priority 5 comes that takes ten seconds. A run of priority 0
 * has stood as high as a newcomer after five ages, and then waits for nobody but those who came
 * before that. */
Test(scheduler_life, a_low_priority_waits_for_a_bounded_time)
{
    begin(1);
    machine_count = 1;
    life.count = 1;
    life.runs[0] = queued(1, 0, 0);
    int64_t bound_ms = 5 * AGE_MS + AGE_MS + 2 * 10000;
    for (size_t i = 1; i < RUNS_MAX && life.runs[0].state != RUN_STATE_RUNNING; i++) {
        life.count = i + 1;
        life.runs[i] = queued((int64_t)i + 1, 5, (double)i);
        life.runs[i].queued_ms = life.now_ms;
        pass();
        cr_assert_leq(life.now_ms, bound_ms);
        life.now_ms += 10000;
        for (size_t k = 1; k < life.count; k++)
            if (has_worker(&life.runs[k])) {
                life.runs[k].state = RUN_STATE_SUCCEEDED;
                machine[0].run = 0;
            }
    }
    cr_assert_eq(life.runs[0].state, RUN_STATE_RUNNING, "it never came to its turn");
}

/* A run for every slot, behind small ones of its own priority that never stop coming. */
Test(scheduler_life, a_big_run_starts_though_small_ones_keep_coming)
{
    begin(1);
    machine_count = 3;
    life.count = 1;
    life.runs[0] = queued(1, 0, 0);
    life.runs[0].slots = 3;
    machine[0].run = 2;
    life.count = 2;
    life.runs[1] = queued(2, 0, 0);
    life.runs[1].state = RUN_STATE_RUNNING;
    for (size_t i = 2; i < 10; i++) {
        life.count = i + 1;
        life.runs[i] = queued((int64_t)i + 1, 0, (double)i);
        pass();
        cr_assert_eq(life.runs[i].state, RUN_STATE_QUEUED, "it would overtake");
    }
    machine[0].run = 0;
    life.runs[1].state = RUN_STATE_SUCCEEDED;
    pass();
    cr_assert_eq(life.runs[0].state, RUN_STATE_RUNNING);
}
