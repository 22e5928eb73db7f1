/* See scheduler_pool.h. */
#include "daemon/scheduler_pool.h"

#include <math.h>

#include "base/mem.h"

void scheduler_pool_init(struct scheduler_pool *pool, const struct scheduler_input *input,
                         bool *ending)
{
    IJ_ASSERT(input->device_count <= SCHEDULER_DEVICES_MAX);
    *pool = (struct scheduler_pool){.input = input, .ending = ending};
    for (size_t i = 0; i < input->device_count; i++)
        pool->holder[i] = input->devices[i].run;
    for (size_t i = 0; i < input->active_count; i++)
        ending[i] = input->active[i].ending;
}

/* ---- What a run may take --------------------------------------------------------------------- */

static bool fits(const struct scheduler_device *device, const struct scheduler_run *run)
{
    return !device->absent && device->gpu == run->gpu && device->memory_bytes >= run->memory_bytes;
}

static bool is_usable(const struct scheduler_pool *pool, size_t place,
                      const struct scheduler_run *run)
{
    const struct scheduler_device *device = &pool->input->devices[place];
    return device->usable && fits(device, run);
}

static bool is_open(const struct scheduler_pool *pool, size_t place,
                    const struct scheduler_run *run)
{
    return is_usable(pool, place, run) && !pool->holder[place] && !pool->reserver[place];
}

struct scheduler_pool_count scheduler_pool_count(const struct scheduler_pool *pool,
                                                 const struct scheduler_run *run)
{
    struct scheduler_pool_count count = {0};
    for (size_t i = 0; i < pool->input->device_count; i++) {
        bool usable = is_usable(pool, i, run);
        count.fitting += fits(&pool->input->devices[i], run);
        count.usable += usable;
        count.idle += usable && !pool->holder[i];
        count.open += is_open(pool, i, run);
    }
    return count;
}

void scheduler_pool_take(struct scheduler_pool *pool, const struct scheduler_run *run,
                         uint8_t ret_places[SCHEDULER_WANTED_MAX])
{
    const struct scheduler_device *devices = pool->input->devices;
    for (int32_t n = 0; n < run->slots; n++) {
        size_t best = SCHEDULER_DEVICES_MAX;
        for (size_t i = 0; i < pool->input->device_count; i++)
            if (is_open(pool, i, run) && (best == SCHEDULER_DEVICES_MAX ||
                                          devices[i].memory_bytes < devices[best].memory_bytes))
                best = i;
        IJ_ASSERT(best < SCHEDULER_DEVICES_MAX);
        pool->holder[best] = run->id;
        ret_places[n] = (uint8_t)best;
    }
}

void scheduler_pool_reserve(struct scheduler_pool *pool, const struct scheduler_run *run,
                            int64_t *ret_ahead)
{
    *ret_ahead = 0;
    for (size_t i = 0; i < pool->input->device_count; i++) {
        if (!is_usable(pool, i, run))
            continue;
        if (!pool->reserver[i])
            pool->reserver[i] = run->id;
        else if (!*ret_ahead)
            *ret_ahead = pool->reserver[i];
    }
}

/* ---- Until when ------------------------------------------------------------------------------ */

static size_t find_active(const struct scheduler_pool *pool, int64_t id)
{
    size_t i = 0;
    while (i < pool->input->active_count && pool->input->active[i].id != id)
        i++;
    return i;
}

/* Seconds until the device is free; NaN: unknown. */
static double free_in(const struct scheduler_pool *pool, size_t place)
{
    if (!pool->holder[place])
        return 0;
    size_t active = find_active(pool, pool->holder[place]);
    return active < pool->input->active_count ? pool->input->active[active].eta_s : (double)NAN;
}

/* a before b, where NaN is later than everything. */
static bool sooner(double a, double b)
{
    return !isnan(a) && (isnan(b) || a < b);
}

double scheduler_pool_eta(struct scheduler_pool *pool, const struct scheduler_run *run)
{
    double eta = 0;
    for (int32_t n = 0; n < run->slots; n++) {
        size_t best = SCHEDULER_DEVICES_MAX;
        for (size_t i = 0; i < pool->input->device_count; i++)
            if (is_usable(pool, i, run) && !pool->promised[i] &&
                (best == SCHEDULER_DEVICES_MAX || sooner(free_in(pool, i), free_in(pool, best))))
                best = i;
        if (best == SCHEDULER_DEVICES_MAX)
            return NAN;
        pool->promised[best] = true;
        double one = free_in(pool, best);
        eta = isnan(one) || isnan(eta) ? (double)NAN : one > eta ? one : eta;
    }
    return eta;
}

size_t scheduler_pool_holders(const struct scheduler_pool *pool, const struct scheduler_run *run,
                              int64_t ret_runs[SCHEDULER_BLOCKING_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < pool->input->device_count; i++) {
        bool seen = !is_usable(pool, i, run) || !pool->holder[i];
        for (size_t k = 0; k < count; k++)
            seen |= ret_runs[k] == pool->holder[i];
        if (!seen && count < SCHEDULER_BLOCKING_MAX - 1)
            ret_runs[count++] = pool->holder[i];
    }
    return count;
}

const char *scheduler_pool_trouble(const struct scheduler_pool *pool,
                                   const struct scheduler_run *run)
{
    for (size_t i = 0; i < pool->input->device_count; i++) {
        const struct scheduler_device *device = &pool->input->devices[i];
        if (!device->usable && fits(device, run))
            return device->trouble;
    }
    return NULL;
}

/* ---- Giving way ------------------------------------------------------------------------------ */

/* Devices that `run` would get if this active run ended. */
static int32_t gain(const struct scheduler_pool *pool, const struct scheduler_run *run,
                    size_t active)
{
    int32_t count = 0;
    for (size_t i = 0; i < pool->input->device_count; i++)
        count += pool->holder[i] == pool->input->active[active].id && is_usable(pool, i, run) &&
                 !pool->reserver[i];
    return count;
}

static bool may_be_preempted(const struct scheduler_pool *pool, const struct scheduler_run *run,
                             size_t active)
{
    const struct scheduler_active *victim = &pool->input->active[active];
    return victim->preemptible && !pool->ending[active] && victim->priority < run->priority &&
           victim->preemptions < pool->input->preempt_max &&
           pool->input->now_ms - victim->started_ms >= pool->input->preempt_min_ms &&
           gain(pool, run, active) > 0;
}

/* The one that goes first: lowest priority, then latest start, then largest id. */
static bool goes_before(const struct scheduler_active *a, const struct scheduler_active *b)
{
    if (a->priority != b->priority)
        return a->priority < b->priority;
    if (a->started_ms != b->started_ms)
        return a->started_ms > b->started_ms;
    return a->id > b->id;
}

static size_t next_victim(const struct scheduler_pool *pool, const struct scheduler_run *run)
{
    const struct scheduler_active *active = pool->input->active;
    size_t best = pool->input->active_count;
    for (size_t i = 0; i < pool->input->active_count; i++)
        if (may_be_preempted(pool, run, i) &&
            (best == pool->input->active_count || goes_before(&active[i], &active[best])))
            best = i;
    return best;
}

/* What is open, and what comes free without anybody's doing. */
static int32_t coming(const struct scheduler_pool *pool, const struct scheduler_run *run)
{
    int32_t count = scheduler_pool_count(pool, run).open;
    for (size_t i = 0; i < pool->input->active_count; i++)
        if (pool->ending[i])
            count += gain(pool, run, i);
    return count;
}

void scheduler_pool_preempt(struct scheduler_pool *pool, const struct scheduler_run *run,
                            struct scheduler_plan *plan)
{
    int32_t missing = run->slots - coming(pool, run);
    size_t first = plan->victim_count;
    while (missing > 0) {
        size_t victim = next_victim(pool, run);
        if (victim == pool->input->active_count)
            break;
        pool->ending[victim] = true;
        missing -= gain(pool, run, victim);
        plan->victims[plan->victim_count++] =
            (struct scheduler_victim){.index = victim, .for_run = run->id};
    }
    /* If that is not enough nobody gives way; and nobody whom the later ones made needless. */
    for (size_t i = plan->victim_count; i > first; i--) {
        size_t victim = plan->victims[i - 1].index;
        int32_t share = gain(pool, run, victim);
        if (missing <= 0 && missing + share > 0)
            continue;
        missing += missing <= 0 ? share : 0;
        pool->ending[victim] = false;
        for (size_t k = i; k < plan->victim_count; k++)
            plan->victims[k - 1] = plan->victims[k];
        plan->victim_count--;
    }
}
