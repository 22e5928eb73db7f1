/*
 * Whom a running engine reports to: the daemon over its socket, or a person over stdout.
 * An engine_sink plus what is done before and after it. Calls come from the engine's thread and
 * from the checkpoint writer's.
 */
#ifndef DAEMON_WORKER_HOST_H
#define DAEMON_WORKER_HOST_H

#include "gpu/engine.h"

/* SIGTERM and SIGINT ask for ENGINE_STOP, a second one for ENGINE_ABORT. */
void worker_host_catch_signals(void);
/* What signals ask for. */
enum engine_command worker_host_signal_command(void);

/* JSON lines on stdout, one object each, with "event" telling what it is. */
struct engine_sink worker_host_stdout_sink(void);

#endif
