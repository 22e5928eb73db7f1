/*
 * Starts a program in its own process group with one socket, and learns at once whether that
 * worked.
 *
 * The child: signals reset, stdin from /dev/null, stdout and stderr to `output_fd`, `socket_fd` as
 * descriptor WIRE_FD, every other descriptor closed, killed by the kernel when the thread that
 * called spawn_start ends (PR_SET_PDEATHSIG), so call it only from a thread that lives as long as
 * the program: the loop thread.
 */
#ifndef DAEMON_SPAWN_H
#define DAEMON_SPAWN_H

#include <stdint.h>
#include <sys/types.h>

#include "base/status.h"

struct spawn_options {
    const char *program;            /* absolute path */
    const char *const *arguments;   /* argv, NULL at its end */
    const char *const *environment; /* NULL at its end */
    int output_fd, socket_fd;       /* borrowed; socket_fd -1: none, WIRE_FD is /dev/null */
};

/* The daemon's environment without what systemd told the daemon alone, then `extra` ("NAME=value",
 * NULL at its end; NULL: none), which wins over a variable of the same name. Borrowed strings; the
 * caller frees the array. NULL: no memory. */
const char **spawn_environment(const char *const *extra);

/* *ret_pidfd is the caller's. IJ_NOT_FOUND, IJ_FORBIDDEN, ...: the exec failed, errno says why;
 * nothing is left behind then. */
IJ_MUST_USE enum ij_status spawn_start(const struct spawn_options *options, pid_t *ret_pid,
                                       int *ret_pidfd, struct ij_err *reterr_err);

/* How many processes the kernel has killed for want of memory since it started; 0: unknown. */
uint64_t spawn_oom_kills(void);

/* Signals the process behind `pidfd`, and its whole group where `group` (safe while the leader has
 * not been reaped, which the caller guarantees). A process that is gone is fine. */
void spawn_signal(int pidfd, pid_t pid, int signal, bool group);

#endif
