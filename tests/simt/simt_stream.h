/* Streams and events of the fake runtime. See simt_stream.cc. One thread. */
#ifndef TESTS_SIMT_STREAM_H
#define TESTS_SIMT_STREAM_H

#include "tests/simt/cuda_runtime.h"

cudaError_t simt_stream_new(cudaStream_t *stream);
cudaError_t simt_event_new(cudaEvent_t *event);
/* A copy from pinned memory: noted, and done when something waits for it. */
void simt_stream_copy(cudaStream_t stream, void *to, const void *from, size_t bytes);
/* Does what is left of a stream's copies, or of all streams'. */
void simt_stream_finish(cudaStream_t stream);
void simt_stream_finish_all(void);

#endif
