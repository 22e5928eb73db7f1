/*
 * What a worker reports, into the store: metrics in group commits (every COMMIT_MS or
 * COMMIT_BYTES), everything else at once. A frame is acknowledged after the commit that covers it.
 * Loop thread.
 */
#ifndef DAEMON_RECORDER_H
#define DAEMON_RECORDER_H

#include "daemon/run.h"

#define RECORDER_COMMIT_MS    50
#define RECORDER_COMMIT_BYTES (256 * 1024)
#define RECORDER_STREAMS_MAX  64

/* supervisor_callbacks.message; `user` is the run. */
enum ij_status recorder_message(void *user, const struct wire_frame *frame,
                                enum run_machine_cause *ret_cause, struct ij_err *reterr_err);
/* Commits what waits and acknowledges it. On failure the workers whose frames were lost are
 * killed and go on from their checkpoints. */
void recorder_commit(struct daemon *daemon);
/* Writes the progress block of the row if it has changed. */
IJ_MUST_USE enum ij_status recorder_save_progress(struct run *run, struct ij_err *reterr_err);
/* Forgets the attempt's streams and counters. */
void recorder_forget(struct run *run);

#endif
