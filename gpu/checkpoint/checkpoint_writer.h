/*
 * Writes checkpoints in the background from one snapshot, and keeps the newest few.
 *
 * `checkpoint_writer_submit` copies all tensors into the writer's own buffer and returns; a thread
 * then runs the protocol of checkpoint.h: barrier, rename, report to the sink, retention. There is
 * one buffer: a submit while the last checkpoint is still being written waits for it. An error is
 * kept and returned by the next submit or wait, once; the thread goes on.
 *
 * Retention: after checkpoint N is durable, re-read and reported, the oldest beyond `keep` are
 * removed. A checkpoint that was not reported removes nothing.
 */
#ifndef GPU_CHECKPOINT_CHECKPOINT_WRITER_H
#define GPU_CHECKPOINT_CHECKPOINT_WRITER_H

#include "gpu/checkpoint/checkpoint.h"
#include "gpu/engine.h"

struct checkpoint_writer;

/* Copies `bytes` of a tensor (device or host memory) to the host. Called in the submitting thread.
 */
struct checkpoint_copy {
    enum ij_status (*call)(void *user, void *host, const void *source, size_t bytes,
                           struct ij_err *reterr_err); /* NULL: memcpy */
    void *user;
};

/* `sink` is borrowed for the writer's life; its checkpoint calls may be NULL. keep 0: keep all. */
IJ_MUST_USE enum ij_status checkpoint_writer_new(const char *run_directory,
                                                 const struct engine_sink *sink, uint32_t keep,
                                                 struct checkpoint_writer **ret_writer,
                                                 struct ij_err *reterr_err);
/* Everything in `content` is borrowed for the call only. */
IJ_MUST_USE enum ij_status checkpoint_writer_submit(struct checkpoint_writer *writer,
                                                    const struct checkpoint_content *content,
                                                    const struct checkpoint_copy *copy,
                                                    struct ij_err *reterr_err);
bool checkpoint_writer_is_busy(struct checkpoint_writer *writer);
/* Returns when nothing is being written any more, with the kept error if there is one. */
IJ_MUST_USE enum ij_status checkpoint_writer_wait(struct checkpoint_writer *writer,
                                                  struct ij_err *reterr_err);
void checkpoint_writer_free(struct checkpoint_writer *writer); /* waits; NULL is fine */

#endif
