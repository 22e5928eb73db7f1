/* See scheduler.h. */
#include "daemon/scheduler.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct plan {
    const struct scheduler_input *input;
    int32_t free_slots;
    int64_t *started; /* sweeps of the runs that start in this pass */
    size_t started_count;
    const struct scheduler_run *first_waiting; /* lacks only slots; everyone behind it waits too */
};

static int by_rank(const void *left, const void *right)
{
    const struct scheduler_run *a = *(const struct scheduler_run *const *)left;
    const struct scheduler_run *b = *(const struct scheduler_run *const *)right;
    if (a->priority != b->priority)
        return a->priority > b->priority ? -1 : 1;
    if (a->queue_pos != b->queue_pos)
        return a->queue_pos < b->queue_pos ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

__attribute__((format(printf, 3, 4))) static void
wait_for(struct scheduler_decision *decision, const char *code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    snprintf(decision->code, sizeof(decision->code), "%s", code);
    vsnprintf(decision->text, sizeof(decision->text), format, arguments);
    va_end(arguments);
}

static double active_eta(const struct scheduler_input *input, int64_t id)
{
    for (size_t i = 0; i < input->active_count; i++)
        if (input->active[i].id == id)
            return input->active[i].eta_s;
    return NAN;
}

/* When the last run that is waited for ends, if each of them says so; else NaN. */
static double dependency_eta(const struct scheduler_input *input, const struct scheduler_run *run)
{
    double eta = 0;
    for (size_t i = 0; i < run->dependency_count; i++) {
        if (run_state_is_terminal(run->dependencies[i].state))
            continue;
        double one = active_eta(input, run->dependencies[i].run);
        if (isnan(one))
            return NAN;
        eta = one > eta ? one : eta;
    }
    return eta;
}

/* Dependencies and back-off: reasons of the run itself. True if there is one. */
static bool waits_by_itself(const struct scheduler_input *input, const struct scheduler_run *run,
                            struct scheduler_decision *decision)
{
    const struct scheduler_dependency *open = NULL;
    for (size_t i = 0; i < run->dependency_count; i++) {
        const struct scheduler_dependency *on = &run->dependencies[i];
        bool ended = run_state_is_terminal(on->state);
        if (ended && !on->any && on->state != RUN_STATE_SUCCEEDED) {
            wait_for(decision, "dependency_failed",
                     "r%lld is %s but must succeed first: requeue it, or cancel this run",
                     (long long)on->run, run_state_name(on->state));
            return true;
        }
        if (!ended && !open)
            open = on;
    }
    if (open) {
        decision->eta_s = dependency_eta(input, run);
        wait_for(decision, "dependency", "waits for r%lld, which is %s", (long long)open->run,
                 run_state_name(open->state));
        return true;
    }
    if (run->state == RUN_STATE_BACKOFF && run->not_before_ms > input->now_ms) {
        decision->eta_s = (double)(run->not_before_ms - input->now_ms) / 1000;
        wait_for(decision, "backoff", "starts again in %.0f s", ceil(decision->eta_s));
        return true;
    }
    return false;
}

/* When `wanted` slots will be free, if those who hold them say when they end; else NaN. */
static double slots_eta(const struct scheduler_input *input, int32_t free_slots, int32_t wanted)
{
    double eta = 0;
    bool counted[64] = {false};
    size_t count = input->active_count < 64 ? input->active_count : 64;
    while (free_slots < wanted) {
        size_t next = count;
        for (size_t i = 0; i < count; i++)
            if (!counted[i] && !isnan(input->active[i].eta_s) &&
                (next == count || input->active[i].eta_s < input->active[next].eta_s))
                next = i;
        if (next == count)
            return NAN;
        counted[next] = true;
        free_slots += input->active[next].slots;
        eta = input->active[next].eta_s;
    }
    return eta;
}

/* Has its sweep as many workers as it may have? */
static bool sweep_is_full(const struct plan *plan, const struct scheduler_run *run)
{
    int32_t count = 0;
    if (!run->sweep)
        return false;
    for (size_t i = 0; i < plan->input->active_count; i++)
        count += plan->input->active[i].sweep == run->sweep;
    for (size_t i = 0; i < plan->started_count; i++)
        count += plan->started[i] == run->sweep;
    return count >= run->sweep_max;
}

static void decide_one(struct plan *plan, const struct scheduler_run *run,
                       struct scheduler_decision *decision)
{
    const struct scheduler_input *input = plan->input;
    *decision = (struct scheduler_decision){
        .id = run->id, .index = (size_t)(run - input->runs), .eta_s = NAN};
    if (waits_by_itself(input, run, decision))
        return;
    if (sweep_is_full(plan, run)) {
        wait_for(decision, "sweep", "its sweep s%lld runs %d at a time", (long long)run->sweep,
                 run->sweep_max);
        return;
    }
    if (input->draining) {
        wait_for(decision, "draining", "the daemon is stopping");
    } else if (input->blocked) {
        wait_for(decision, input->blocked_code, "%s", input->blocked);
    } else if (run->slots > input->slots) {
        wait_for(decision, "too_big", "needs %d slots; this machine has %d", run->slots,
                 input->slots);
    } else if (plan->first_waiting) {
        wait_for(decision, "no_slots", "waits its turn behind other runs");
    } else if (run->slots > plan->free_slots) {
        plan->first_waiting = run;
        decision->eta_s = slots_eta(input, plan->free_slots, run->slots);
        wait_for(decision, "no_slots", "needs %d of %d slots; %d free now", run->slots,
                 input->slots, plan->free_slots > 0 ? plan->free_slots : 0);
    } else {
        plan->free_slots -= run->slots;
        plan->started[plan->started_count++] = run->sweep;
        decision->start = true;
        decision->eta_s = 0;
    }
}

enum ij_status scheduler_decide(const struct scheduler_input *input,
                                struct scheduler_decision *ret_decisions, size_t *ret_count,
                                struct ij_err *reterr_err)
{
    *ret_count = 0;
    if (!input->run_count)
        return IJ_OK;
    mem_auto const struct scheduler_run **order =
        mem_array(const struct scheduler_run *, input->run_count);
    mem_auto int64_t *started = mem_array(int64_t, input->run_count);
    if (!order || !started)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to schedule %zu runs", input->run_count);
    size_t count = 0;
    for (size_t i = 0; i < input->run_count; i++) {
        enum run_state state = input->runs[i].state;
        if (state == RUN_STATE_QUEUED || state == RUN_STATE_BACKOFF)
            order[count++] = &input->runs[i];
    }
    qsort(order, count, sizeof(*order), by_rank);

    struct plan plan = {.input = input, .free_slots = input->slots, .started = started};
    for (size_t i = 0; i < input->active_count; i++)
        plan.free_slots -= input->active[i].slots;
    for (size_t i = 0; i < count; i++)
        decide_one(&plan, order[i], &ret_decisions[i]);
    *ret_count = count;
    return IJ_OK;
}
