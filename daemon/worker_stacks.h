/*
 * Where each thread of a worker is, on request: SIGQUIT makes a thread that does nothing else write
 * the stacks of all others to stderr. The supervisor asks so before it kills a worker that hangs;
 * `kill -QUIT` does it by hand. The process goes on.
 *
 * Each thread is interrupted by a signal and only notes its return addresses, in static memory and
 * without a system call, so that this works in a decoder's jail (gpu/data/decoder_jail.h) and
 * whatever lock it holds; the printing is done from outside. A thread that does not answer, because
 * the kernel has it, is named with its state and where in the kernel it waits.
 */
#ifndef DAEMON_WORKER_STACKS_H
#define DAEMON_WORKER_STACKS_H

/* Before any other thread starts: SIGQUIT is for the watcher only. Ask it, not the default, which
 * would end the process. */
void worker_stacks_prepare(void);
/* Starts the watcher, in whatever jail the calling thread is in. Without one (no memory) requests
 * wait unanswered. */
void worker_stacks_watch(void);

#endif
