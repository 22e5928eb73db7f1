/* See run_machine.h. */
#include "daemon/run_machine.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/seed_bug.h"

#define TO(state) RUN_STATE_BIT(RUN_STATE_##state)

static const uint32_t arrows[RUN_STATE_COUNT] = {
    [RUN_STATE_HELD] = TO(QUEUED) | TO(CANCELED),
    [RUN_STATE_QUEUED] = TO(HELD) | TO(STARTING) | TO(PAUSED) | TO(CANCELED) | TO(FAILED),
    [RUN_STATE_STARTING] = TO(RUNNING) | TO(PAUSING) | TO(STOPPING) | TO(BACKOFF) | TO(QUEUED) |
                           TO(FAILED) | TO(QUARANTINED) | TO(SUCCEEDED) | TO(PAUSED) | TO(CANCELED),
    [RUN_STATE_RUNNING] = TO(PAUSING) | TO(STOPPING) | TO(BACKOFF) | TO(QUEUED) | TO(FAILED) |
                          TO(QUARANTINED) | TO(SUCCEEDED) | TO(CANCELED),
    [RUN_STATE_PAUSING] = TO(PAUSED) | TO(QUEUED) | TO(STOPPING) | TO(BACKOFF) | TO(FAILED) |
                          TO(QUARANTINED) | TO(SUCCEEDED) | TO(CANCELED),
    [RUN_STATE_PAUSED] = TO(QUEUED) | TO(CANCELED),
    [RUN_STATE_STOPPING] = TO(CANCELED) | TO(SUCCEEDED) | TO(QUEUED) | TO(BACKOFF) | TO(FAILED) |
                           TO(QUARANTINED) | TO(PAUSED),
    [RUN_STATE_BACKOFF] = TO(QUEUED) | TO(HELD) | TO(PAUSED) | TO(CANCELED),
    [RUN_STATE_SUCCEEDED] = TO(QUEUED),
    [RUN_STATE_FAILED] = TO(QUEUED),
    [RUN_STATE_CANCELED] = TO(QUEUED),
    [RUN_STATE_QUARANTINED] = TO(QUEUED) | TO(CANCELED),
};

bool run_machine_allowed(enum run_state from, enum run_state to)
{
    IJ_ASSERT((unsigned)from < RUN_STATE_COUNT && (unsigned)to < RUN_STATE_COUNT);
    return arrows[from] & RUN_STATE_BIT(to);
}

/* ---- Verbs ----------------------------------------------------------------------------------- */

#define HOLDS                                                                                      \
    {                                                                                              \
        RUN_MACHINE_SATISFIED, 0                                                                   \
    }
#define MOVE(state)                                                                                \
    {                                                                                              \
        RUN_MACHINE_MOVE, RUN_STATE_##state                                                        \
    }
#define DO(effect)                                                                                 \
    {                                                                                              \
        RUN_MACHINE_##effect, 0                                                                    \
    }

/* Rows: what is asked. An entry left out refuses. */
static const struct run_machine_answer verbs[CONTROL_VERB_COUNT][RUN_STATE_COUNT] = {
    [CONTROL_CANCEL] = {[RUN_STATE_HELD] = MOVE(CANCELED),
                        [RUN_STATE_QUEUED] = MOVE(CANCELED),
                        [RUN_STATE_STARTING] = DO(STOP),
                        [RUN_STATE_RUNNING] = DO(STOP),
                        [RUN_STATE_PAUSING] = DO(STOP),
                        [RUN_STATE_PAUSED] = MOVE(CANCELED),
                        [RUN_STATE_STOPPING] = DO(WISH),
                        [RUN_STATE_BACKOFF] = MOVE(CANCELED),
                        [RUN_STATE_CANCELED] = HOLDS,
                        [RUN_STATE_QUARANTINED] = MOVE(CANCELED)},
    [CONTROL_KILL] = {[RUN_STATE_HELD] = MOVE(CANCELED),
                      [RUN_STATE_QUEUED] = MOVE(CANCELED),
                      [RUN_STATE_STARTING] = DO(KILL),
                      [RUN_STATE_RUNNING] = DO(KILL),
                      [RUN_STATE_PAUSING] = DO(KILL),
                      [RUN_STATE_PAUSED] = MOVE(CANCELED),
                      [RUN_STATE_STOPPING] = DO(KILL),
                      [RUN_STATE_BACKOFF] = MOVE(CANCELED),
                      [RUN_STATE_CANCELED] = HOLDS,
                      [RUN_STATE_QUARANTINED] = MOVE(CANCELED)},
    [CONTROL_PAUSE] = {[RUN_STATE_QUEUED] = MOVE(PAUSED),
                       [RUN_STATE_STARTING] = DO(PAUSE),
                       [RUN_STATE_RUNNING] = DO(PAUSE),
                       [RUN_STATE_PAUSING] = DO(WISH),
                       [RUN_STATE_PAUSED] = HOLDS,
                       [RUN_STATE_BACKOFF] = MOVE(PAUSED)},
    [CONTROL_RESUME] = {[RUN_STATE_QUEUED] = HOLDS,
                        [RUN_STATE_STARTING] = HOLDS,
                        [RUN_STATE_RUNNING] = HOLDS,
                        [RUN_STATE_PAUSING] = DO(WISH),
                        [RUN_STATE_PAUSED] = MOVE(QUEUED),
                        [RUN_STATE_BACKOFF] = HOLDS},
    [CONTROL_HOLD] = {[RUN_STATE_HELD] = HOLDS,
                      [RUN_STATE_QUEUED] = MOVE(HELD),
                      [RUN_STATE_BACKOFF] = MOVE(HELD)},
    [CONTROL_RELEASE] = {[RUN_STATE_HELD] = MOVE(QUEUED),
                         [RUN_STATE_QUEUED] = HOLDS,
                         [RUN_STATE_STARTING] = HOLDS,
                         [RUN_STATE_RUNNING] = HOLDS},
    [CONTROL_REQUEUE] = {[RUN_STATE_QUEUED] = HOLDS,
                         [RUN_STATE_BACKOFF] = MOVE(QUEUED),
                         [RUN_STATE_SUCCEEDED] = MOVE(QUEUED),
                         [RUN_STATE_FAILED] = MOVE(QUEUED),
                         [RUN_STATE_CANCELED] = MOVE(QUEUED),
                         [RUN_STATE_QUARANTINED] = MOVE(QUEUED)},
    [CONTROL_CHECKPOINT] = {[RUN_STATE_RUNNING] = DO(SAVE), [RUN_STATE_PAUSING] = HOLDS},
};

struct run_machine_answer run_machine_verb(enum control_verb verb, enum run_state state,
                                           enum run_state_desire desired)
{
    IJ_ASSERT((unsigned)verb < CONTROL_VERB_COUNT && (unsigned)state < RUN_STATE_COUNT);
    struct run_machine_answer answer = verbs[verb][state];
    if (answer.effect != RUN_MACHINE_WISH)
        return answer;
    /* A wish that is already what is desired asks for nothing. */
    bool same = (verb == CONTROL_PAUSE && desired == RUN_STATE_DESIRE_PAUSE) ||
                (verb == CONTROL_RESUME && desired == RUN_STATE_DESIRE_RUN) ||
                (verb == CONTROL_CANCEL &&
                 (desired == RUN_STATE_DESIRE_CANCEL || desired == RUN_STATE_DESIRE_KILL));
    if (same)
        answer.effect = RUN_MACHINE_SATISFIED;
    return answer;
}

size_t run_machine_verbs_allowed(enum run_state state, enum run_state_desire desired,
                                 enum control_verb ret_verbs[CONTROL_VERB_COUNT])
{
    size_t count = 0;
    for (int v = CONTROL_CANCEL; v <= CONTROL_CHECKPOINT; v++)
        if (run_machine_verb((enum control_verb)v, state, desired).effect != RUN_MACHINE_REFUSE)
            ret_verbs[count++] = (enum control_verb)v;
    return count;
}

/* ---- Ends ------------------------------------------------------------------------------------ */

int64_t run_machine_delay_ms(const struct run_machine_policy *policy, uint32_t n, uint32_t random)
{
    IJ_ASSERT(n >= 1);
    int64_t delay = policy->base_ms;
    for (uint32_t i = 1; i < n && delay < policy->cap_ms; i++)
        delay *= 2;
    if (delay > policy->cap_ms)
        delay = policy->cap_ms;
    int64_t tenth = delay / 10;
    return delay - tenth + (int64_t)((uint64_t)random * (uint64_t)(2 * tenth + 1) >> 32);
}

__attribute__((format(printf, 4, 5))) static void decide(struct run_machine_verdict *verdict,
                                                         enum run_state to, const char *reason,
                                                         const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    verdict->to = to;
    snprintf(verdict->reason, sizeof(verdict->reason), "%s", reason);
    vsnprintf(verdict->text, sizeof(verdict->text), format, arguments);
    va_end(arguments);
}

static bool is_out_of_memory(const struct run_machine_end *end)
{
    return end->exit_code < 0 && end->signal == SIGKILL && end->out_of_memory;
}

/* What happened, as machine code and sentence, whatever follows from it. */
static void describe(const struct run_machine_end *end, struct run_machine_verdict *verdict)
{
    const char *words = end->text[0] ? ": " : "";
    if (end->cause == RUN_MACHINE_START_TIMEOUT)
        decide(verdict, end->state, "start_timeout", "the worker did not report in time");
    else if (end->cause == RUN_MACHINE_HUNG)
        decide(verdict, end->state, "hung", "the worker made no progress in time and was killed");
    else if (end->cause == RUN_MACHINE_PROTOCOL)
        decide(verdict, end->state, "protocol", "the worker sent a bad message%s%s", words,
               end->text);
    else if (end->cause == RUN_MACHINE_STORAGE)
        decide(verdict, end->state, "storage_error",
               "what the worker reported could not be stored%s%s", words, end->text);
    else if (end->xid)
        decide(verdict, end->state, "xid", "its GPU reported Xid %u, %s%s%s", end->xid,
               end->xid_text, words, end->text);
    else if (is_out_of_memory(end))
        decide(verdict, end->state, "oom_host",
               "the kernel killed the worker because memory had run out: give it a smaller batch "
               "or fewer neighbours; unchanged it is not tried again");
    else if (end->exit_code < 0 && end->signal == SIGKILL)
        decide(verdict, end->state, "killed",
               "the worker was killed from outside (SIGKILL), as the kernel does when memory runs "
               "out");
    else if (end->exit_code < 0 && end->signal == SIGSYS)
        decide(
            verdict, end->state, "jail",
            "the worker made a system call that its jail forbids (SIGSYS), as a hostile image or "
            "checkpoint might make it do");
    else if (end->exit_code < 0)
        decide(verdict, end->state, "crash", "the worker crashed: %s", strsignal(end->signal));
    else
        decide(verdict, end->state, ij_status_name(end->status),
               "the worker ended with exit code %d%s%s", end->exit_code, words, end->text);
    if (end->exit_code >= 0 && end->text[0] && end->cause == RUN_MACHINE_BY_ITSELF && !end->xid)
        snprintf(verdict->text, sizeof(verdict->text), "%s", end->text);
    snprintf(verdict->cause, sizeof(verdict->cause), "%s", verdict->reason);
}

static uint32_t same_again(const struct run_machine_end *end,
                           const struct run_machine_verdict *verdict)
{
    return strcmp(end->last_cause, verdict->cause) == 0 ? end->failures + 1 : 1;
}

/* A failure that another start may mend: wait, or give up. */
static void retry(const struct run_machine_end *end, const struct run_machine_policy *policy,
                  uint32_t stuck_max, struct run_machine_verdict *verdict)
{
    char what[400];
    snprintf(what, sizeof(what), "%.399s", verdict->text);
    verdict->failures = same_again(end, verdict);
    verdict->stuck = end->newer_checkpoint ? 1 : end->stuck + 1;
    if (verdict->stuck >= stuck_max && !SEED_BUG(NEVER_QUARANTINED)) {
        decide(verdict, RUN_STATE_QUARANTINED, "no_progress",
               "%u failures without a newer checkpoint, the last one: %s", verdict->stuck, what);
        return;
    }
    if (verdict->failures >= policy->failures_max) {
        decide(verdict, RUN_STATE_FAILED, "retries_spent", "failed %u times in the same way: %s",
               verdict->failures, what);
        return;
    }
    verdict->to = RUN_STATE_BACKOFF;
    verdict->delay_ms = run_machine_delay_ms(policy, verdict->stuck, end->random);
}

/* The worker ended because a person wanted it to, or the daemon stops. */
static void judge_wanted(const struct run_machine_end *end, struct run_machine_verdict *verdict)
{
    bool saved = end->exit_code >= 0 && end->status == IJ_STOPPED && !end->escalated;
    bool cancel = end->desired == RUN_STATE_DESIRE_CANCEL || end->desired == RUN_STATE_DESIRE_KILL;
    if (cancel)
        decide(verdict, RUN_STATE_CANCELED, "user",
               end->escalated && end->desired == RUN_STATE_DESIRE_CANCEL
                   ? "canceled; the worker did not stop in time and was killed"
                   : "canceled");
    else if (end->desired == RUN_STATE_DESIRE_PAUSE && saved)
        decide(verdict, RUN_STATE_PAUSED, "user", "paused with its state saved");
    else if (end->desired == RUN_STATE_DESIRE_PAUSE)
        decide(verdict, RUN_STATE_PAUSED, "forced",
               "paused, but the worker ended without saving: it will go on from the newest "
               "checkpoint");
    else if (end->cause == RUN_MACHINE_BY_PREEMPTION)
        decide(verdict, RUN_STATE_QUEUED, "preempted",
               "gave its device to a run of higher priority; it goes on from its checkpoint");
    else if (end->cause == RUN_MACHINE_BY_EVICTION)
        decide(verdict, RUN_STATE_QUEUED, "evicted",
               "its device was taken out of use; it goes on from its checkpoint");
    else if (end->cause == RUN_MACHINE_GPU_FAULT)
        decide(verdict, RUN_STATE_QUEUED, "gpu_fault",
               "its device broke; it goes on from its checkpoint on another");
    else if (end->cause == RUN_MACHINE_BY_SHUTDOWN)
        decide(verdict, RUN_STATE_QUEUED, "daemon_restart",
               "the daemon stopped; the run goes on when it is back");
    else
        decide(verdict, RUN_STATE_QUEUED, "resumed", "resumed while it was pausing");
    verdict->first = verdict->to == RUN_STATE_QUEUED && end->cause != RUN_MACHINE_BY_SHUTDOWN;
    const char *cause = end->cause == RUN_MACHINE_GPU_FAULT       ? "gpu_fault"
                        : end->escalated                          ? "forced"
                        : end->cause == RUN_MACHINE_BY_SHUTDOWN   ? "daemon_restart"
                        : end->cause == RUN_MACHINE_BY_PREEMPTION ? "preempted"
                        : end->cause == RUN_MACHINE_BY_EVICTION   ? "evicted"
                                                                  : "stopped";
    snprintf(verdict->cause, sizeof(verdict->cause), "%s", cause);
}

/* The daemon wanted the worker to end, for no fault of the run. */
static bool is_wanted(enum run_machine_cause cause)
{
    return cause == RUN_MACHINE_BY_USER || cause == RUN_MACHINE_BY_SHUTDOWN ||
           cause == RUN_MACHINE_BY_PREEMPTION || cause == RUN_MACHINE_BY_EVICTION;
}

/* The loss broke and the run goes back, as its parameters say. The worker bounds how often; should
 * it not, the limit for failures of one cause does. */
static void judge_rewound(const struct run_machine_end *end,
                          const struct run_machine_policy *policy,
                          struct run_machine_verdict *verdict)
{
    verdict->failures = same_again(end, verdict);
    verdict->failed = verdict->failures >= policy->failures_max;
    verdict->to = verdict->failed                          ? RUN_STATE_FAILED
                  : end->desired == RUN_STATE_DESIRE_PAUSE ? RUN_STATE_PAUSED
                                                           : RUN_STATE_QUEUED;
    verdict->first = verdict->to == RUN_STATE_QUEUED;
}

/* Another start would fail in the same way. */
static bool is_final(const struct run_machine_end *end)
{
    if (end->cause != RUN_MACHINE_BY_ITSELF || end->xid)
        return false;
    return end->exit_code >= 0 ? !ij_status_retryable(end->status) : is_out_of_memory(end);
}

void run_machine_judge(const struct run_machine_end *end, const struct run_machine_policy *policy,
                       struct run_machine_verdict *ret_verdict)
{
    struct run_machine_verdict *verdict = ret_verdict;
    *verdict = (struct run_machine_verdict){.failures = end->failures,
                                            .stuck = end->newer_checkpoint ? 0 : end->stuck};
    enum ij_status status = end->exit_code >= 0 ? end->status : IJ_INTERNAL;
    bool stopped = status == IJ_STOPPED || end->exit_code < 0;
    bool wanted = is_wanted(end->cause);
    bool wished = end->desired != RUN_STATE_DESIRE_RUN && end->desired != RUN_STATE_DESIRE_HOLD;

    if (end->exit_code == 0) {
        decide(verdict, RUN_STATE_SUCCEEDED, "done", "finished");
        snprintf(verdict->cause, sizeof(verdict->cause), "done");
        return;
    }
    if ((wanted && (stopped || end->desired == RUN_STATE_DESIRE_CANCEL)) ||
        end->cause == RUN_MACHINE_GPU_FAULT || end->desired == RUN_STATE_DESIRE_KILL ||
        (wished && end->cause != RUN_MACHINE_BY_ITSELF)) {
        judge_wanted(end, verdict);
        return;
    }
    describe(end, verdict);
    bool daemon_made_it = end->cause != RUN_MACHINE_BY_ITSELF;
    if (end->rewound && status == IJ_NONFINITE && !daemon_made_it) {
        judge_rewound(end, policy, verdict);
        return;
    }
    verdict->failed = true;
    if (is_final(end)) {
        verdict->failures = same_again(end, verdict);
        verdict->to = RUN_STATE_FAILED;
        return;
    }
    /* A bug of the worker is tried once more only; the policy may be stricter still. */
    bool bug = !daemon_made_it && status == IJ_INTERNAL && end->exit_code >= 0;
    retry(end, policy, bug && policy->stuck_max > 2 ? 2 : policy->stuck_max, verdict);
    if (end->desired == RUN_STATE_DESIRE_PAUSE && verdict->to == RUN_STATE_BACKOFF)
        verdict->to = RUN_STATE_PAUSED;
}
