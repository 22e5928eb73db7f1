/* See run_yield.h. */
#include "daemon/run_yield.h"

#include "base/clock.h"
#include "daemon/daemon.h"

enum ij_status run_yield(struct run *run, bool preempts, const char *text,
                         struct ij_err *reterr_err)
{
    int64_t grace_ms = run->daemon->config.pause_grace_s * 1000LL;
    bool goes = run->row.state == RUN_STATE_RUNNING || run->row.state == RUN_STATE_STARTING;
    if (!goes || !run->worker)
        return IJ_OK;
    struct run_change change =
        run_change_of(run, RUN_STATE_PAUSING, preempts ? "preempted" : "evicted", text);
    change.deadline_ms = clock_wall_ms() + grace_ms;
    change.preempts = preempts;
    IJ_TRY(run_set_state(run, &change, reterr_err));
    supervisor_stop(run->worker, preempts ? RUN_MACHINE_BY_PREEMPTION : RUN_MACHINE_BY_EVICTION,
                    grace_ms);
    return IJ_OK;
}
