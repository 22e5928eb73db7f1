/*
 * What a worker prints, into <state_dir>/logs/r<run>-a<attempt>.log (0600), at most so many bytes.
 *
 * The worker writes to a pipe; the loop thread moves what is there into the file. When the file is
 * full a last line says so and the rest is read and dropped: a worker can neither fill the disk
 * nor block on its own output for ever.
 */
#ifndef DAEMON_ATTEMPT_LOG_H
#define DAEMON_ATTEMPT_LOG_H

#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/status.h"

struct attempt_log;

/* *ret_output_fd is the worker's end: the caller hands it on and closes it. */
IJ_MUST_USE enum ij_status attempt_log_open(sd_event *event, const char *path, uint64_t bytes_max,
                                            struct attempt_log **ret_log, int *ret_output_fd,
                                            struct ij_err *reterr_err);
/* Text of the daemon's own, after what the worker has written so far. */
void attempt_log_add(struct attempt_log *log, const char *text, size_t size);
/* Takes over what is still in the pipe, then closes. NULL is fine. */
void attempt_log_close(struct attempt_log *log);

#endif
