/*
 * What takes space and who may let go of it: pins, deletion of checkpoints, and each run's policy
 * (retention_policy.h). Loop thread, but for what is said to be for any.
 *
 * A checkpoint goes in steps: its row says "deleting", in the transaction that also writes the
 * event; the reaper reads the run's newest one to its last byte; the directory is renamed to
 * <name>.tmp-removed, which no reader takes for a checkpoint; the reaper removes it; its row says
 * "gone". Where the newest one is damaged, its row says "corrupt" instead, and this one is valid
 * again. What a crash leaves in between is finished by retention_finish. The newest valid
 * checkpoint of a run never goes, nor one that is pinned or read by a run that has not ended.
 *
 * While a run trains, its worker removes what is older than its newest few by itself. A file
 * "<directory>.pinned" keeps it from that: it lies beside what is pinned, and beside what the
 * policy keeps for another reason than its age.
 */
#ifndef DAEMON_RETENTION_H
#define DAEMON_RETENTION_H

#include "daemon/control.h"
#include "daemon/daemon.h"
#include "daemon/retention_policy.h"
#include "store/checkpoint_row.h"
#include "store/run_row.h"

struct reaper_job;

/* CONTROL_CHECKPOINT_PIN, CONTROL_CHECKPOINT_DELETE. The details of a deletion say "freed_bytes":
 * what its files take, which is free when the reaper is done. IJ_BUSY: too many wait. */
IJ_MUST_USE enum ij_status retention_handle(struct daemon *daemon,
                                            const struct control_request *request,
                                            struct control_reply *reply);
/* The same rules without the change, for any store handle and thread: IJ_CONFLICT says why not. */
IJ_MUST_USE enum ij_status retention_check_checkpoint(struct store *store,
                                                      const struct checkpoint_row *row,
                                                      struct ij_err *reterr_err);

/* The policy that a run's row says, over the defaults. Any thread. */
struct retention_policy retention_policy_of(const struct run_row *row);
/* Why each of a run's valid checkpoints stays (RETENTION_POLICY_*; 0: it may go), highest step
 * first, by the scores that retention_apply has stored. For any store handle and thread; the
 * caller frees both arrays. */
IJ_MUST_USE enum ij_status retention_reasons(struct store *store, int64_t run,
                                             const struct retention_policy *policy,
                                             struct checkpoint_row **ret_rows,
                                             unsigned **ret_reasons, size_t *ret_count,
                                             struct ij_err *reterr_err);
/* Brings a run's checkpoints in line with its policy: scores, files beside them, deletions.
 * `worker_keep`: how many of the newest its worker leaves alone; 0: it has no worker. What fails is
 * logged and made up for the next time. */
void retention_apply(struct daemon *daemon, const struct run_row *row, uint32_t worker_keep);

/* At start, after the reaper was made: finishes what the last life began. */
void retention_finish(struct daemon *daemon);
/* The reaper's news. */
void retention_reaped(void *user, const struct reaper_job *job, const struct ij_err *err);
/* Deletions of runs go on in the next turns of the loop. */
void retention_wake(struct daemon *daemon);
/* Event and audit of a change inside a transaction, the commit, and the news of it. `request` NULL:
 * nobody asked, nothing for the audit. */
IJ_MUST_USE enum ij_status retention_commit(struct daemon *daemon,
                                            const struct control_request *request, int64_t run,
                                            const char *type, json_t *body,
                                            struct ij_err *reterr_err);

#endif
