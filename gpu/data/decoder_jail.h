/*
 * The jail of a thread that decodes untrusted images: a seccomp filter that leaves it memory,
 * locks, the clock, its own end, and words on stderr. Anything else (open, socket, execve, fork,
 * another process's memory, executable pages, ...) ends the process at once with SIGSYS.
 *
 * The filter is the calling thread's own and cannot be taken off. It is a thread's filter, not a
 * process's: it stops a decoder that is driven to make system calls, not one that rewrites the
 * memory of the other threads; worker_jail.h limits those.
 *
 * glibc's malloc may itself open files: when it counts the cores for a new arena, and when it trims
 * one. decoder_jail_prepare sets the process's malloc so that it does neither (memory below 32 MiB
 * a piece stays with the process); call it before the threads start.
 * Under sanitizers, which make system calls of their own, there is no jail.
 */
#ifndef GPU_DATA_DECODER_JAIL_H
#define GPU_DATA_DECODER_JAIL_H

#include <stdbool.h>

#include "base/status.h"

void decoder_jail_prepare(void);

/* Locks the calling thread in. IJ_UNSUPPORTED where the kernel or this build has no seccomp: the
 * thread is then as free as before. */
IJ_MUST_USE enum ij_status decoder_jail_enter(struct ij_err *reterr_err);

#endif
