/*
 * Processes that outlive the worker that started them: whoever forks twice and calls setsid leaves
 * the worker's group, and no signal to the group reaches it.
 *
 * The daemon is the subreaper of all below it: such a process becomes its child when its parent
 * ends, and children that the daemon has not started itself are ended. Loop thread.
 */
#ifndef DAEMON_STRAYS_H
#define DAEMON_STRAYS_H

#include <sys/types.h>

struct daemon;

/* Once, before the first worker. Where the kernel refuses, strays stay; a warning says so. */
void strays_adopt(void);
/* Ends and reaps every child of this process that the daemon does not know; called every second. */
void strays_end(const struct daemon *daemon);

#endif
