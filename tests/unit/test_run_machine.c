/* The rules of a run's states: verbs, ends, waits; and that no input leaves the table of arrows. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "daemon/run_machine.h"

static const struct run_machine_policy policy = {
    .failures_max = 5, .stuck_max = 3, .base_ms = 10000, .cap_ms = 360000};

static struct run_machine_end an_end(enum run_state state, int exit_code)
{
    return (struct run_machine_end){.state = state,
                                    .exit_code = exit_code,
                                    .status = exit_code >= 0 ? ij_status_from_exit_code(exit_code)
                                                             : IJ_OK,
                                    .signal = exit_code < 0 ? SIGSEGV : 0,
                                    .text = "",
                                    .last_cause = ""};
}

static struct run_machine_verdict judge(struct run_machine_end end)
{
    struct run_machine_verdict verdict;
    run_machine_judge(&end, &policy, &verdict);
    return verdict;
}

static enum run_machine_effect effect(enum control_verb verb, enum run_state state)
{
    return run_machine_verb(verb, state, RUN_STATE_DESIRE_RUN).effect;
}

/* ---- Verbs ----------------------------------------------------------------------------------- */

Test(run_machine, repeating_a_verb_is_satisfied)
{
    cr_assert_eq(effect(CONTROL_PAUSE, RUN_STATE_PAUSED), RUN_MACHINE_SATISFIED);
    cr_assert_eq(effect(CONTROL_RESUME, RUN_STATE_RUNNING), RUN_MACHINE_SATISFIED);
    cr_assert_eq(effect(CONTROL_CANCEL, RUN_STATE_CANCELED), RUN_MACHINE_SATISFIED);
    cr_assert_eq(effect(CONTROL_HOLD, RUN_STATE_HELD), RUN_MACHINE_SATISFIED);
    cr_assert_eq(effect(CONTROL_RELEASE, RUN_STATE_QUEUED), RUN_MACHINE_SATISFIED);
    struct run_machine_answer again =
        run_machine_verb(CONTROL_PAUSE, RUN_STATE_PAUSING, RUN_STATE_DESIRE_PAUSE);
    cr_assert_eq(again.effect, RUN_MACHINE_SATISFIED);
    again = run_machine_verb(CONTROL_RESUME, RUN_STATE_PAUSING, RUN_STATE_DESIRE_PAUSE);
    cr_assert_eq(again.effect, RUN_MACHINE_WISH, "resume while pausing changes what is desired");
}

Test(run_machine, verbs_that_make_no_sense_are_refused)
{
    cr_assert_eq(effect(CONTROL_PAUSE, RUN_STATE_SUCCEEDED), RUN_MACHINE_REFUSE);
    cr_assert_eq(effect(CONTROL_CANCEL, RUN_STATE_SUCCEEDED), RUN_MACHINE_REFUSE);
    cr_assert_eq(effect(CONTROL_RESUME, RUN_STATE_FAILED), RUN_MACHINE_REFUSE);
    cr_assert_eq(effect(CONTROL_HOLD, RUN_STATE_RUNNING), RUN_MACHINE_REFUSE);
    cr_assert_eq(effect(CONTROL_REQUEUE, RUN_STATE_RUNNING), RUN_MACHINE_REFUSE);
    cr_assert_eq(effect(CONTROL_CHECKPOINT, RUN_STATE_QUEUED), RUN_MACHINE_REFUSE);
}

Test(run_machine, every_move_of_a_verb_is_an_arrow)
{
    for (int v = CONTROL_CANCEL; v <= CONTROL_CHECKPOINT; v++)
        for (int s = 0; s < RUN_STATE_COUNT; s++) {
            struct run_machine_answer answer =
                run_machine_verb((enum control_verb)v, (enum run_state)s, RUN_STATE_DESIRE_RUN);
            bool process = run_state_has_process((enum run_state)s);
            if (answer.effect == RUN_MACHINE_MOVE)
                cr_assert(run_machine_allowed((enum run_state)s, answer.to) && !process, "%s in %s",
                          control_verb_name((enum control_verb)v),
                          run_state_name((enum run_state)s));
            if (answer.effect >= RUN_MACHINE_PAUSE)
                cr_assert(process, "%s in %s needs a worker",
                          control_verb_name((enum control_verb)v),
                          run_state_name((enum run_state)s));
        }
}

Test(run_machine, every_live_state_can_be_canceled)
{
    for (int s = 0; s < RUN_STATE_COUNT; s++)
        if (run_state_is_live((enum run_state)s))
            cr_assert_neq(effect(CONTROL_CANCEL, (enum run_state)s), RUN_MACHINE_REFUSE, "%s",
                          run_state_name((enum run_state)s));
}

Test(run_machine, allowed_verbs_are_those_not_refused)
{
    enum control_verb verbs[CONTROL_VERB_COUNT];
    size_t count = run_machine_verbs_allowed(RUN_STATE_FAILED, RUN_STATE_DESIRE_RUN, verbs);
    cr_assert_eq(count, 1);
    cr_assert_eq(verbs[0], CONTROL_REQUEUE);
}

/* ---- Ends ------------------------------------------------------------------------------------ */

Test(run_machine, exit_codes_decide)
{
    static const struct {
        enum ij_status status;
        enum run_state to;
    } rows[] = {
        {IJ_OK, RUN_STATE_SUCCEEDED},     {IJ_INVALID, RUN_STATE_FAILED},
        {IJ_DATA, RUN_STATE_FAILED},      {IJ_NO_MEMORY, RUN_STATE_FAILED},
        {IJ_NONFINITE, RUN_STATE_FAILED}, {IJ_IO, RUN_STATE_BACKOFF},
        {IJ_INTERNAL, RUN_STATE_BACKOFF}, {IJ_DEVICE, RUN_STATE_BACKOFF},
        {IJ_STOPPED, RUN_STATE_BACKOFF},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        struct run_machine_end end = an_end(RUN_STATE_RUNNING, ij_status_exit_code(rows[i].status));
        end.status = rows[i].status;
        cr_assert_eq(judge(end).to, rows[i].to, "%s", ij_status_name(rows[i].status));
    }
    cr_assert_eq(judge(an_end(RUN_STATE_RUNNING, -1)).to, RUN_STATE_BACKOFF, "a crash");
}

Test(run_machine, a_call_forbidden_by_the_jail_has_its_own_cause)
{
    struct run_machine_end end = an_end(RUN_STATE_RUNNING, -1);
    end.signal = SIGSYS;
    cr_expect_str_eq(judge(end).cause, "jail");
    end.signal = SIGSEGV;
    cr_expect_str_eq(judge(end).cause, "crash");
}

Test(run_machine, three_failures_without_progress_quarantine)
{
    struct run_machine_end end = an_end(RUN_STATE_RUNNING, -1);
    for (uint32_t n = 1; n <= 3; n++) {
        struct run_machine_verdict verdict = judge(end);
        cr_assert_eq(verdict.to, n < 3 ? RUN_STATE_BACKOFF : RUN_STATE_QUARANTINED);
        cr_assert_eq(verdict.stuck, n);
        end.stuck = verdict.stuck;
        end.failures = verdict.failures;
        end.last_cause = "crash";
    }
}

Test(run_machine, progress_resets_but_the_same_failure_ends_it)
{
    struct run_machine_end end = an_end(RUN_STATE_RUNNING, -1);
    end.newer_checkpoint = true;
    for (uint32_t n = 1; n <= 5; n++) {
        struct run_machine_verdict verdict = judge(end);
        cr_assert_eq(verdict.stuck, 1);
        cr_assert_eq(verdict.failures, n);
        cr_assert_eq(verdict.to, n < 5 ? RUN_STATE_BACKOFF : RUN_STATE_FAILED, "failure %u", n);
        end.stuck = verdict.stuck;
        end.failures = verdict.failures;
        end.last_cause = "crash";
    }
}

Test(run_machine, a_bug_is_tried_once_more)
{
    struct run_machine_end end = an_end(RUN_STATE_RUNNING, ij_status_exit_code(IJ_INTERNAL));
    cr_assert_eq(judge(end).to, RUN_STATE_BACKOFF);
    end.stuck = end.failures = 1;
    cr_assert_eq(judge(end).to, RUN_STATE_QUARANTINED);
}

Test(run_machine, pausing_ends_in_paused)
{
    struct run_machine_end end = an_end(RUN_STATE_PAUSING, ij_status_exit_code(IJ_STOPPED));
    end.desired = RUN_STATE_DESIRE_PAUSE;
    end.cause = RUN_MACHINE_BY_USER;
    struct run_machine_verdict verdict = judge(end);
    cr_assert_eq(verdict.to, RUN_STATE_PAUSED);
    cr_assert_str_eq(verdict.reason, "user");
    cr_assert_eq(verdict.failures, 0, "no failure");

    end = an_end(RUN_STATE_PAUSING, -1);
    end.signal = SIGKILL;
    end.escalated = true;
    end.desired = RUN_STATE_DESIRE_PAUSE;
    end.cause = RUN_MACHINE_BY_USER;
    verdict = judge(end);
    cr_assert_eq(verdict.to, RUN_STATE_PAUSED);
    cr_assert_str_eq(verdict.reason, "forced");

    end.desired = RUN_STATE_DESIRE_RUN;
    cr_assert_eq(judge(end).to, RUN_STATE_QUEUED, "resumed while it paused");
    end = an_end(RUN_STATE_PAUSING, 0);
    end.desired = RUN_STATE_DESIRE_PAUSE;
    end.cause = RUN_MACHINE_BY_USER;
    cr_assert_eq(judge(end).to, RUN_STATE_SUCCEEDED, "it finished before it could pause");
}

Test(run_machine, the_daemons_stop_is_no_failure)
{
    struct run_machine_end end = an_end(RUN_STATE_PAUSING, ij_status_exit_code(IJ_STOPPED));
    end.cause = RUN_MACHINE_BY_SHUTDOWN;
    end.failures = 2;
    end.stuck = 1;
    struct run_machine_verdict verdict = judge(end);
    cr_assert_eq(verdict.to, RUN_STATE_QUEUED);
    cr_assert_str_eq(verdict.reason, "daemon_restart");
    cr_assert_eq(verdict.failures, 2);
    cr_assert_eq(verdict.stuck, 1);
    cr_assert_not(verdict.failed);
}

Test(run_machine, hangs_and_late_starts_are_failures_with_their_name)
{
    struct run_machine_end end = an_end(RUN_STATE_RUNNING, -1);
    end.signal = SIGKILL;
    end.escalated = true;
    end.cause = RUN_MACHINE_HUNG;
    cr_assert_str_eq(judge(end).reason, "hung");
    cr_assert_eq(judge(end).to, RUN_STATE_BACKOFF);
    end.state = RUN_STATE_STARTING;
    end.cause = RUN_MACHINE_START_TIMEOUT;
    cr_assert_str_eq(judge(end).reason, "start_timeout");
}

Test(run_machine, what_the_kernel_killed_for_memory_is_told)
{
    struct run_machine_end end = an_end(RUN_STATE_RUNNING, -1);
    end.signal = SIGKILL;
    cr_expect_str_eq(judge(end).reason, "killed");
    end.out_of_memory = true;
    struct run_machine_verdict verdict = judge(end);
    cr_expect_str_eq(verdict.cause, "oom_host");
    cr_expect_eq(verdict.to, RUN_STATE_FAILED, "the same again would take as much");
    cr_expect(verdict.failed);
    end.cause = RUN_MACHINE_HUNG;
    cr_expect_eq(judge(end).to, RUN_STATE_BACKOFF, "the daemon killed it");
    end.cause = RUN_MACHINE_BY_ITSELF;
    end.signal = SIGSEGV;
    cr_expect_str_eq(judge(end).cause, "crash", "another process was killed");
}

Test(run_machine, the_workers_words_become_the_reason)
{
    struct run_machine_end end = an_end(RUN_STATE_RUNNING, 78);
    end.text = "dataset: no images in /x";
    struct run_machine_verdict verdict = judge(end);
    cr_assert_eq(verdict.to, RUN_STATE_FAILED);
    cr_assert_str_eq(verdict.text, "dataset: no images in /x");
}

/* Every combination that can be: the next state is always one the arrows allow. */
Test(run_machine, no_end_leaves_the_arrows)
{
    static const enum run_state states[] = {RUN_STATE_STARTING, RUN_STATE_RUNNING,
                                            RUN_STATE_PAUSING, RUN_STATE_STOPPING};
    static const int codes[] = {-1, 0, 1, 65, 69, 70, 71, 74, 75, 76, 78, 127, 255};
    for (size_t s = 0; s < 4; s++)
        for (int desired = 0; desired < RUN_STATE_DESIRE_COUNT; desired++)
            for (int cause = 0; cause <= RUN_MACHINE_STORAGE; cause++)
                for (size_t c = 0; c < sizeof(codes) / sizeof(*codes); c++)
                    for (uint32_t stuck = 0; stuck < 4; stuck++) {
                        struct run_machine_end end = an_end(states[s], codes[c]);
                        end.desired = (enum run_state_desire)desired;
                        end.cause = (enum run_machine_cause)cause;
                        end.stuck = stuck;
                        /* Pausing and canceling are only wished for in the states that do so. */
                        if ((states[s] == RUN_STATE_RUNNING || states[s] == RUN_STATE_STARTING) &&
                            desired != RUN_STATE_DESIRE_RUN)
                            continue;
                        struct run_machine_verdict verdict = judge(end);
                        cr_assert(run_machine_allowed(states[s], verdict.to), "%s -> %s",
                                  run_state_name(states[s]), run_state_name(verdict.to));
                        cr_assert(verdict.reason[0] && verdict.text[0] && verdict.cause[0]);
                        cr_assert_eq(verdict.to == RUN_STATE_BACKOFF,
                                     verdict.delay_ms > 0 && verdict.to == RUN_STATE_BACKOFF);
                    }
}

/* ---- Waits ----------------------------------------------------------------------------------- */

Test(run_machine, waits_double_up_to_the_cap_with_jitter)
{
    static const int64_t expected[] = {10000, 20000, 40000, 80000, 160000, 320000, 360000, 360000};
    for (uint32_t n = 1; n <= 8; n++) {
        int64_t base = expected[n - 1];
        cr_assert_eq(run_machine_delay_ms(&policy, n, 0), base - base / 10);
        cr_assert_eq(run_machine_delay_ms(&policy, n, UINT32_MAX), base + base / 10);
        int64_t middle = run_machine_delay_ms(&policy, n, 1u << 31);
        cr_assert(middle >= base - 1 && middle <= base + 1);
    }
    cr_assert_leq(run_machine_delay_ms(&policy, 1000000, UINT32_MAX), 396000);
}

/* Each is the daemon's wish: not counted, and first in line afterwards. */
Test(run_machine, giving_way_is_no_failure)
{
    static const struct {
        enum run_machine_cause cause;
        const char *reason;
    } cases[] = {{RUN_MACHINE_BY_PREEMPTION, "preempted"}, {RUN_MACHINE_BY_EVICTION, "evicted"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct run_machine_end end = an_end(RUN_STATE_PAUSING, ij_status_exit_code(IJ_STOPPED));
        end.cause = cases[i].cause;
        end.failures = 2;
        struct run_machine_verdict verdict = judge(end);
        cr_assert_eq(verdict.to, RUN_STATE_QUEUED);
        cr_assert_str_eq(verdict.reason, cases[i].reason);
        cr_assert_str_eq(verdict.cause, cases[i].reason);
        cr_assert(verdict.first && !verdict.failed);
        cr_assert_eq(verdict.failures, 2);
        end.escalated = true;
        end.exit_code = -1;
        end.signal = 9;
        verdict = judge(end);
        cr_assert_eq(verdict.to, RUN_STATE_QUEUED,
                     "it did not save in time, and waits all the same");
        cr_assert_str_eq(verdict.cause, "forced");
        end.desired = RUN_STATE_DESIRE_PAUSE;
        cr_assert_eq(judge(end).to, RUN_STATE_PAUSED, "a person wanted it paused meanwhile");
        end.desired = RUN_STATE_DESIRE_CANCEL;
        cr_assert_eq(judge(end).to, RUN_STATE_CANCELED);
    }
}

Test(run_machine, a_broken_gpu_is_not_the_runs_fault)
{
    struct run_machine_end end = an_end(RUN_STATE_RUNNING, -1);
    end.cause = RUN_MACHINE_GPU_FAULT;
    end.signal = 9;
    end.escalated = true;
    end.stuck = 2;
    struct run_machine_verdict verdict = judge(end);
    cr_assert_eq(verdict.to, RUN_STATE_QUEUED);
    cr_assert_str_eq(verdict.reason, "gpu_fault");
    cr_assert_str_eq(verdict.cause, "gpu_fault");
    cr_assert(verdict.first && !verdict.failed);
    cr_assert_eq(verdict.stuck, 2);
    end.desired = RUN_STATE_DESIRE_KILL;
    cr_assert_eq(judge(end).to, RUN_STATE_CANCELED);
}

/* Whatever exit code the engine makes of it, it is tried again. */
Test(run_machine, an_error_that_the_gpu_reported_counts_and_is_named)
{
    struct run_machine_end end = an_end(RUN_STATE_RUNNING, ij_status_exit_code(IJ_DEVICE));
    end.status = IJ_DEVICE;
    end.text = "launch failed";
    end.xid = 31;
    end.xid_text = "a memory page fault";
    struct run_machine_verdict verdict = judge(end);
    cr_assert_eq(verdict.to, RUN_STATE_BACKOFF);
    cr_assert_str_eq(verdict.cause, "xid");
    cr_assert_str_eq(verdict.text, "its GPU reported Xid 31, a memory page fault: launch failed");
    cr_assert(verdict.failed);
    cr_assert_eq(verdict.failures, 1);
}

Test(run_machine, a_run_that_goes_back_waits_in_front_and_has_not_failed)
{
    struct run_machine_end end = an_end(RUN_STATE_RUNNING, 76);
    end.rewound = true;
    end.text = "the loss is not finite at step 8; the next start goes back to step 6";
    struct run_machine_verdict verdict = judge(end);
    cr_assert_eq(verdict.to, RUN_STATE_QUEUED);
    cr_assert(verdict.first && !verdict.failed && verdict.delay_ms == 0);
    cr_assert_str_eq(verdict.reason, "nonfinite");
    cr_assert_str_eq(verdict.text, end.text);
    end.desired = RUN_STATE_DESIRE_PAUSE;
    cr_assert_eq(judge(end).to, RUN_STATE_PAUSED);
    end.desired = RUN_STATE_DESIRE_RUN;
    end.rewound = false;
    cr_assert_eq(judge(end).to, RUN_STATE_FAILED,
                 "its parameters say stop, or it went back before");
    end.rewound = true;
    end.last_cause = "nonfinite";
    end.failures = policy.failures_max - 1;
    cr_assert_eq(judge(end).to, RUN_STATE_FAILED,
                 "a worker that never stops going back is stopped");
    end = an_end(RUN_STATE_RUNNING, 70);
    end.rewound = true;
    cr_assert_eq(judge(end).to, RUN_STATE_BACKOFF, "only that end is one");
}
