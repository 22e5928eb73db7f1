/* See scheduler.h. */
#include "daemon/scheduler.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/scheduler_pool.h"
#include "daemon/scheduler_rank.h"

struct pass {
    const struct scheduler_input *input;
    struct scheduler_plan *plan;
    struct scheduler_pool pool;
    const struct scheduler_run **started; /* runs that start in this pass */
    size_t started_count;
    size_t lacking; /* runs so far that only lack devices */
};

__attribute__((format(printf, 3, 4))) static void
wait_for(struct scheduler_decision *decision, const char *code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    snprintf(decision->code, sizeof(decision->code), "%s", code);
    vsnprintf(decision->text, sizeof(decision->text), format, arguments);
    va_end(arguments);
}

static void block(struct scheduler_decision *decision, int64_t run)
{
    if (run && decision->blocking_count < SCHEDULER_BLOCKING_MAX)
        decision->blocking[decision->blocking_count++] = run;
}

/* ---- Reasons of the run itself --------------------------------------------------------------- */

static double active_eta(const struct scheduler_input *input, int64_t id)
{
    for (size_t i = 0; i < input->active_count; i++)
        if (input->active[i].id == id)
            return input->active[i].eta_s;
    return NAN;
}

/* The dependency that keeps it from starting: one that failed, else one that is open, else NULL. */
static const struct scheduler_dependency *unmet(const struct scheduler_run *run)
{
    const struct scheduler_dependency *open = NULL;
    for (size_t i = 0; i < run->dependency_count; i++) {
        const struct scheduler_dependency *on = &run->dependencies[i];
        bool ended = run_state_is_terminal(on->state);
        if (ended && !on->any && on->state != RUN_STATE_SUCCEEDED)
            return on;
        if (!ended && !open)
            open = on;
    }
    return open;
}

/* When the last run that is waited for ends, if each of them says so; else NaN. */
static double dependency_eta(const struct scheduler_input *input, const struct scheduler_run *run,
                             struct scheduler_decision *decision)
{
    double eta = 0;
    for (size_t i = 0; i < run->dependency_count; i++) {
        if (run_state_is_terminal(run->dependencies[i].state))
            continue;
        double one = active_eta(input, run->dependencies[i].run);
        block(decision, run->dependencies[i].run);
        eta = isnan(one) || isnan(eta) ? (double)NAN : one > eta ? one : eta;
    }
    return eta;
}

/* Dependencies and back-off. True if there is one. */
static bool waits_by_itself(const struct scheduler_input *input, const struct scheduler_run *run,
                            struct scheduler_decision *decision)
{
    const struct scheduler_dependency *on = unmet(run);
    if (on && run_state_is_terminal(on->state)) {
        block(decision, on->run);
        wait_for(decision, "dependency_failed",
                 "r%lld is %s but must succeed first: requeue it, or cancel this run",
                 (long long)on->run, run_state_name(on->state));
        return true;
    }
    if (on) {
        decision->eta_s = dependency_eta(input, run, decision);
        wait_for(decision, "dependency", "waits for r%lld, which is %s", (long long)on->run,
                 run_state_name(on->state));
        return true;
    }
    if (run->state == RUN_STATE_BACKOFF && run->not_before_ms > input->now_ms) {
        decision->eta_s = (double)(run->not_before_ms - input->now_ms) / 1000;
        wait_for(decision, "backoff", "starts again in %.0f s", ceil(decision->eta_s));
        return true;
    }
    return false;
}

/* Has its sweep as many workers as it may have? */
static bool sweep_is_full(const struct pass *pass, const struct scheduler_run *run,
                          struct scheduler_decision *decision)
{
    int32_t count = 0;
    if (!run->sweep)
        return false;
    for (size_t i = 0; i < pass->input->active_count; i++)
        count += pass->input->active[i].sweep == run->sweep;
    for (size_t i = 0; i < pass->started_count; i++)
        count += pass->started[i]->sweep == run->sweep;
    if (count < run->sweep_max)
        return false;
    for (size_t i = 0; i < pass->input->active_count; i++)
        if (pass->input->active[i].sweep == run->sweep)
            block(decision, pass->input->active[i].id);
    wait_for(decision, "sweep", "its sweep s%lld runs %d at a time", (long long)run->sweep,
             run->sweep_max);
    return true;
}

/* Would its user hold more devices than a user may? */
static bool user_is_full(const struct pass *pass, const struct scheduler_run *run,
                         struct scheduler_decision *decision)
{
    const struct scheduler_input *input = pass->input;
    int32_t held = 0;
    if (!input->user_max || !run->user)
        return false;
    for (size_t i = 0; i < input->active_count; i++)
        if (input->active[i].user && strcmp(input->active[i].user, run->user) == 0)
            held += input->active[i].slots;
    for (size_t i = 0; i < pass->started_count; i++)
        if (pass->started[i]->user && strcmp(pass->started[i]->user, run->user) == 0)
            held += pass->started[i]->slots;
    if (held + run->slots <= input->user_max)
        return false;
    for (size_t i = 0; i < input->active_count; i++)
        if (input->active[i].user && strcmp(input->active[i].user, run->user) == 0)
            block(decision, input->active[i].id);
    wait_for(decision, "quota", "%.64s holds %d devices and may hold %d; this run needs %d",
             run->user, held, input->user_max, run->slots);
    return true;
}

/* ---- Devices --------------------------------------------------------------------------------- */

static const char *noun(const struct scheduler_run *run)
{
    return run->gpu ? run->slots == 1 ? "GPU" : "GPUs" : run->slots == 1 ? "slot" : "slots";
}

/* "2 GPUs of 40.0 GiB" */
static void describe_wish(const struct scheduler_run *run, char ret_text[64])
{
    if (run->memory_bytes)
        snprintf(ret_text, 64, "%d %s of %.1f GiB", run->slots, noun(run),
                 (double)run->memory_bytes / (1 << 30));
    else
        snprintf(ret_text, 64, "%d %s", run->slots, noun(run));
}

/* Nothing but free devices is missing: what is told of it, and who gives way. */
static void lack(struct pass *pass, const struct scheduler_run *run,
                 const struct scheduler_pool_count *count, struct scheduler_decision *decision)
{
    const char *code = run->gpu ? "no_gpus" : "no_slots";
    bool detailed = pass->lacking++ < SCHEDULER_DETAILS_MAX;
    size_t victims = pass->plan->victim_count;
    int64_t ahead = 0;
    char wish[64];
    describe_wish(run, wish);
    scheduler_pool_preempt(&pass->pool, run, pass->plan);
    scheduler_pool_reserve(&pass->pool, run, &ahead);
    if (detailed) {
        decision->eta_s = scheduler_pool_eta(&pass->pool, run);
        decision->blocking_count = scheduler_pool_holders(&pass->pool, run, decision->blocking);
        block(decision, ahead);
    }
    if (pass->plan->victim_count > victims)
        wait_for(decision, code, "needs %s; r%lld is asked to give way", wish,
                 (long long)pass->input->active[pass->plan->victims[victims].index].id);
    else if (!ahead)
        wait_for(decision, code, "needs %s; %d of %d free now", wish, count->idle, count->usable);
    else if (detailed)
        wait_for(decision, code, "needs %s and waits its turn behind r%lld", wish,
                 (long long)ahead);
    else
        wait_for(decision, code, "waits its turn behind other runs");
}

static void assign(struct pass *pass, const struct scheduler_run *run,
                   struct scheduler_decision *decision)
{
    struct scheduler_pool_count count = scheduler_pool_count(&pass->pool, run);
    char wish[64];
    describe_wish(run, wish);
    if (run->slots > count.fitting) {
        wait_for(decision, "too_big", "needs %s; this machine has %d such", wish, count.fitting);
    } else if (run->slots > count.usable) {
        wait_for(decision, "unavailable", "needs %s; %.160s", wish,
                 scheduler_pool_trouble(&pass->pool, run));
    } else if (run->slots > count.open) {
        lack(pass, run, &count, decision);
    } else {
        scheduler_pool_take(&pass->pool, run, decision->devices);
        pass->started[pass->started_count++] = run;
        decision->start = true;
        decision->eta_s = 0;
    }
}

static void decide_one(struct pass *pass, size_t index, struct scheduler_decision *decision)
{
    const struct scheduler_input *input = pass->input;
    const struct scheduler_run *run = &input->runs[index];
    *decision = (struct scheduler_decision){.id = run->id, .index = index, .eta_s = NAN};
    if (waits_by_itself(input, run, decision) || sweep_is_full(pass, run, decision) ||
        user_is_full(pass, run, decision))
        return;
    if (input->draining)
        wait_for(decision, "draining", "the daemon is stopping");
    else if (input->blocked)
        wait_for(decision, input->blocked_code, "%s", input->blocked);
    else
        assign(pass, run, decision);
}

enum ij_status scheduler_decide(const struct scheduler_input *input, struct scheduler_plan *plan,
                                struct ij_err *reterr_err)
{
    plan->decision_count = plan->victim_count = 0;
    mem_auto struct scheduler_rank *order = mem_array(struct scheduler_rank, input->run_count + 1);
    mem_auto const struct scheduler_run **started =
        mem_array(const struct scheduler_run *, input->run_count + 1);
    mem_auto bool *ending = mem_array(bool, input->active_count + 1);
    if (!order || !started || !ending)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to schedule %zu runs", input->run_count);
    size_t count = 0;
    for (size_t i = 0; i < input->run_count; i++) {
        const struct scheduler_run *run = &input->runs[i];
        IJ_ASSERT(run->slots >= 1 && run->slots <= SCHEDULER_WANTED_MAX);
        if (run->state == RUN_STATE_QUEUED || run->state == RUN_STATE_BACKOFF)
            order[count++] = (struct scheduler_rank){.id = run->id,
                                                     .priority = run->priority,
                                                     .queue_pos = run->queue_pos,
                                                     .queued_ms = run->queued_ms,
                                                     .ages = !unmet(run),
                                                     .index = i};
    }
    scheduler_rank(order, count, input->now_ms, input->age_ms);
    struct pass pass = {.input = input, .plan = plan, .started = started};
    scheduler_pool_init(&pass.pool, input, ending);
    for (size_t i = 0; i < count; i++)
        decide_one(&pass, order[i].index, &plan->decisions[i]);
    plan->decision_count = count;
    return IJ_OK;
}
