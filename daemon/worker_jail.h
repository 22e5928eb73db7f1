/*
 * The jail of a worker on the host backend: what a process that decodes other people's images and
 * reads other people's checkpoints can still do, should one of them take it over.
 *
 * seccomp (all threads): no execve, no new process, no network socket (Unix sockets are allowed),
 * no signal to another process, no look into one, none of the calls that only an administrator
 * needs; whoever tries ends at once with SIGSYS. landlock (this thread and those it starts): files
 * are created, changed and removed below the run's directory and /dev/shm only; elsewhere EACCES.
 * Reading is left to the file permissions, for datasets may lie and link anywhere.
 *
 * Not for CUDA: the driver's own calls would have to be known for each version of it.
 */
#ifndef DAEMON_WORKER_JAIL_H
#define DAEMON_WORKER_JAIL_H

#include "base/status.h"

/* There is no way out. IJ_UNSUPPORTED: the kernel lacks one of the two, which the text names; the
 * other one is in force. */
IJ_MUST_USE enum ij_status worker_jail_enter(const char *directory, struct ij_err *reterr_err);

#endif
