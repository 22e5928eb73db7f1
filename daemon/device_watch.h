/*
 * What happens to GPUs, and what follows: reports of the inventory go into the device table; Xids
 * and lost GPUs end or move the runs on them and take the GPUs out of use. Loop thread.
 */
#ifndef DAEMON_DEVICE_WATCH_H
#define DAEMON_DEVICE_WATCH_H

#include "daemon/daemon.h"
#include "daemon/run.h"

#define DEVICE_WATCH_DEATHS_MS 60000 /* two runs dying on one GPU within this: it is cordoned */

/* Looks for GPUs from now on, unless the configuration says not to. */
IJ_MUST_USE enum ij_status device_watch_start(struct daemon *daemon, struct ij_err *reterr_err);
/* gpu_inventory_options.updated; `user` is the daemon. */
void device_watch_report(void *user, const struct gpu_report *report);
/* A run's worker failed, in a way that its GPUs may be to blame for, while it held them. */
void device_watch_death(struct run *run);

#endif
