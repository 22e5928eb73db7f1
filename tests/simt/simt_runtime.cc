/* See cuda_runtime.h in this folder. */
#include "tests/simt/cuda_runtime.h"

#include <stdlib.h>

#include "tests/simt/simt_memory.h"
#include "tests/simt/simt_stream.h"

static const char *fail_call;
static cudaError_t fail_error, last_error;
static int architecture = 90;
static size_t memory_total = (size_t)16 << 30;

enum { PINNED_MAX = 64 };
static struct {
    const char *begin;
    size_t bytes;
} pinned[PINNED_MAX];

void simt_set_architecture(int ten_major_and_minor)
{
    architecture = ten_major_and_minor;
}

void simt_set_memory(size_t bytes)
{
    memory_total = bytes;
}

void simt_fail_next(const char *call, int error)
{
    fail_call = call;
    fail_error = (cudaError_t)error;
}

static cudaError_t answer(const char *call)
{
    if (!fail_call || strcmp(call, fail_call) != 0)
        return cudaSuccess;
    fail_call = nullptr;
    last_error = fail_error;
    return fail_error;
}

#define ANSWER()                                                                                   \
    do {                                                                                           \
        cudaError_t error_ = answer(__func__);                                                     \
        if (error_ != cudaSuccess)                                                                 \
            return error_;                                                                         \
    } while (0)

cudaError_t cudaGetDeviceCount(int *count)
{
    ANSWER();
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    ANSWER();
    return device == 0 ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
    ANSWER();
    *value = attribute == cudaDevAttrMultiProcessorCount      ? 2
             : attribute == cudaDevAttrComputeCapabilityMajor ? architecture / 10
             : attribute == cudaDevAttrComputeCapabilityMinor ? architecture % 10
                                                              : 227 << 10;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int)
{
    ANSWER();
    strcpy(properties->name, "host shim");
    return cudaSuccess;
}

/* 0, as without a driver, where the test lets the call fail. */
cudaError_t cudaDriverGetVersion(int *version)
{
    *version = answer(__func__) == cudaSuccess ? 12080 : 0;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 13000;
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
    ANSWER();
    return simt_stream_new(stream);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    ANSWER();
    simt_stream_finish(stream);
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *unused, size_t *total)
{
    ANSWER();
    size_t used = simt_memory_used();
    *total = memory_total;
    *unused = used < memory_total ? memory_total - used : 0;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    ANSWER();
    *memory = simt_memory_take(bytes);
    return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaFree(void *memory)
{
    simt_stream_finish_all();
    simt_memory_give(memory);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned)
{
    ANSWER();
    *memory = calloc(1, bytes);
    for (int i = 0; *memory && i < PINNED_MAX; i++)
        if (!pinned[i].begin) {
            pinned[i] = {(const char *)*memory, bytes};
            return cudaSuccess;
        }
    return cudaErrorMemoryAllocation;
}

static bool is_pinned(const void *memory, size_t bytes)
{
    const char *at = (const char *)memory;
    for (int i = 0; i < PINNED_MAX; i++)
        if (pinned[i].begin && at >= pinned[i].begin &&
            at + bytes <= pinned[i].begin + pinned[i].bytes)
            return true;
    return false;
}

cudaError_t cudaFreeHost(void *memory)
{
    simt_stream_finish_all();
    for (int i = 0; memory && i < PINNED_MAX; i++)
        if (pinned[i].begin == (const char *)memory)
            pinned[i] = {nullptr, 0};
    free(memory);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream)
{
    ANSWER();
    if (is_pinned(from, bytes)) {
        simt_stream_copy(stream, to, from, bytes);
        return cudaSuccess;
    }
    simt_stream_finish(stream); /* in order */
    simt_memory_open();
    memcpy(to, from, bytes);
    simt_memory_close();
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t)
{
    ANSWER();
    simt_memory_open();
    memset(to, value, bytes);
    simt_memory_close();
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    (void)answer(__func__);
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

const char *cudaGetErrorName(cudaError_t error)
{
    return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation"
           : error == cudaErrorIllegalAddress ? "cudaErrorIllegalAddress"
           : error == cudaErrorNoDevice       ? "cudaErrorNoDevice"
                                              : "cudaError";
}

const char *cudaGetErrorString(cudaError_t)
{
    return "as the test asked";
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    ANSWER();
    return simt_event_new(event);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    return cudaEventCreate(event);
}

/* Time runs backwards from event to event, so that the last algorithm tried wins a timed choice. */
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t, cudaEvent_t)
{
    static float time = 1e6f;
    *ms = time -= 1;
    return cudaSuccess;
}
