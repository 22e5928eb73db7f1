/*
 * Deletion of runs that have ended, with everything that is theirs. Loop thread, but for what is
 * said to be for any.
 *
 * A run goes in steps: its directory is renamed to r42.deleted (made, where there is none); its
 * rows go, with the event and the audit, in one transaction; its metrics go, a slice per turn of
 * the loop; its logs go; the reaper removes the directory. As long as that directory exists the
 * deletion is not over, and the next start goes on with it: or takes the name back, where the rows
 * are still there.
 */
#ifndef DAEMON_RUN_ERASE_H
#define DAEMON_RUN_ERASE_H

#include "daemon/control.h"
#include "daemon/daemon.h"

#define RUN_ERASE_SUFFIX ".deleted"

/* CONTROL_DELETE. IJ_CONFLICT: the run has not ended, has a pinned checkpoint, or is needed by one
 * that has not ended. IJ_BUSY: too many deletions are under way. The details say "freed_bytes":
 * what the run's files take, which is free when the deletion is over. */
IJ_MUST_USE enum ij_status run_erase_handle(struct daemon *daemon,
                                            const struct control_request *request,
                                            struct control_reply *reply);
/* The same rules without the change, for any store handle and thread; on IJ_CONFLICT the reply gets
 * the state and what is allowed. */
IJ_MUST_USE enum ij_status run_erase_check(struct store *store, int64_t run,
                                           struct control_reply *reply);
/* Files of a run below the state directory: checkpoints, spec, logs. Any thread. */
uint64_t run_erase_bytes(const char *state_dir, int64_t run);

/* At start: goes on with what the last life began. */
void run_erase_finish(struct daemon *daemon);
/* One slice of the metrics of deleted runs; false when there are none left. */
bool run_erase_some(struct daemon *daemon);

#endif
