/*
 * What the kernel tells of the threads of another process, for the log of one that hangs: name,
 * state (R runs, S sleeps, D waits for a disk or a driver, T is stopped), where in the kernel it
 * waits, processor time. Reads /proc; what cannot be read is left out.
 */
#ifndef DAEMON_THREAD_LOOK_H
#define DAEMON_THREAD_LOOK_H

#include <sys/types.h>

#include "base/buf.h"

#define THREAD_LOOK_MAX ((size_t)64 * 1024)

/* Appends a line for each thread of `pid`, the first 256, between two lines of its own. */
void thread_look(pid_t pid, struct buf *text);

#endif
