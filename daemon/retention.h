/*
 * What people do with things that take space: pin and delete checkpoints, delete runs. Loop thread.
 *
 * A checkpoint goes in three steps: its row says "deleting", its directory goes, its row says
 * "gone". A run goes in three as well: its directory is renamed to r42.deleted, its rows go, its
 * files and metrics go. Whatever a crash leaves in between is finished by retention_finish.
 */
#ifndef DAEMON_RETENTION_H
#define DAEMON_RETENTION_H

#include "daemon/control.h"
#include "daemon/daemon.h"

/*
 * CONTROL_DELETE, CONTROL_CHECKPOINT_PIN, CONTROL_CHECKPOINT_DELETE. IJ_CONFLICT: the checkpoint is
 * pinned, the newest valid one of its run, or read by a run that has not ended; the run has not
 * ended, has a pinned checkpoint, or is needed by one that has not ended.
 */
IJ_MUST_USE enum ij_status retention_handle(struct daemon *daemon,
                                            const struct control_request *request,
                                            struct control_reply *reply);
/* The same rules without the change, for any store handle: IJ_CONFLICT says why not. The reply gets
 * the state and what is allowed. */
struct checkpoint_row;
IJ_MUST_USE enum ij_status retention_check_checkpoint(struct store *store,
                                                      const struct checkpoint_row *row,
                                                      struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status retention_check_run(struct store *store, int64_t run,
                                               struct control_reply *reply);
/* Files of a run below the state directory: checkpoints, spec, logs. */
uint64_t retention_run_bytes(const char *state_dir, int64_t run);

/* At start: finishes deletions that the last life began. What fails is logged and tried again at
 * the next start. */
void retention_finish(struct daemon *daemon);

#endif
