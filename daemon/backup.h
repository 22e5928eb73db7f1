/*
 * Backups on schedule: state.db every hour, metrics.db every day (configuration), each copied,
 * checked and pruned by a thread of its own with its own read-only handle, so that the loop never
 * waits for a disk. One at a time.
 */
#ifndef DAEMON_BACKUP_H
#define DAEMON_BACKUP_H

#include "daemon/daemon.h"

struct backup;

/* Looks at what there is, so that a restart is no reason for a new one. */
IJ_MUST_USE enum ij_status backup_new(struct daemon *daemon, struct backup **ret_backup,
                                      struct ij_err *reterr_err);
void backup_free(struct backup *backup); /* waits for one that is under way; NULL is fine */
/* Once a second: takes up what has ended, begins what is due. */
void backup_tick(struct backup *backup);
/* Begin one of state.db as soon as none is under way. */
void backup_request(struct backup *backup);
/* Check metrics.db once in the background: the last life did not end in order. */
void backup_request_check(struct backup *backup);

#endif
