/*
 * The start with a damaged database. The bad file is kept, the newest verified backup takes its
 * place, and what the backup cannot know is put right as far as disk tells: checkpoints by their
 * manifests, numbers of runs so that none is given twice. Until an operator acknowledges it, the
 * daemon is degraded: it takes no submissions.
 *
 * degraded.json in the state directory says so over restarts. Written before anything is
 * exchanged, it makes a restoration that was cut short begin again. Its content, also what the API
 * tells: {"at", "reason", "files": [{"file", "damaged", "restored", "made"}], "checkpoints",
 * "unknown_runs"}. Loop thread, before the loop.
 */
#ifndef DAEMON_RECOVERY_H
#define DAEMON_RECOVERY_H

#include "daemon/daemon.h"

#define RECOVERY_FILE "degraded.json"

/* Opens daemon->store, restoring first what is damaged. IJ_CORRUPT: there is no usable backup. */
IJ_MUST_USE enum ij_status recovery_open(struct daemon *daemon, struct ij_err *reterr_err);
/* After the store and the bus are there, before runs are loaded: finishes what recovery_open began.
 * Nothing to do is fine. */
IJ_MUST_USE enum ij_status recovery_finish(struct daemon *daemon, struct ij_err *reterr_err);
/* An operator has seen it: audit row, event, and the file goes. IJ_CONFLICT: not degraded. */
IJ_MUST_USE enum ij_status recovery_acknowledge(struct daemon *daemon,
                                                const struct control_request *request,
                                                struct control_reply *reply);
/* IJ_DEGRADED with the reason while it is; for submissions. */
IJ_MUST_USE enum ij_status recovery_refuse(struct daemon *daemon, struct ij_err *reterr_err);

#endif
