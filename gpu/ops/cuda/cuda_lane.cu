/*
 * Lanes: batches go from pinned host memory to the GPU on a stream of their own, beside the
 * operations. Two events keep the order: `full` after a lane's copy, which the operations wait for,
 * and `empty` after the operations that read it, which the next copy waits for. The host waits only
 * where it would write over memory whose copy is still on its way.
 */
#include "gpu/ops/cuda/cuda_backend.h"
#include "gpu/ops/cuda/cuda_mem.h"

struct cuda_lane {
    cudaStream_t stream;     /* owned, as the events are */
    cudaEvent_t full, empty; /* NULL until made */
    void *host, *device;     /* pinned, owned; borrowed */
    size_t bytes;
    bool sent, left; /* `full` and `empty` have been recorded */
};

static void lane_free(struct cuda_lane *lane)
{
    if (!lane)
        return;
    if (lane->stream) {
        (void)cudaStreamSynchronize(lane->stream); /* the copy reads pinned memory */
        (void)cudaStreamDestroy(lane->stream);
    }
    if (lane->full)
        (void)cudaEventDestroy(lane->full);
    if (lane->empty)
        (void)cudaEventDestroy(lane->empty);
    (void)cudaFreeHost(lane->host);
    mem_free(lane);
}

void cuda_lanes_wait(struct cuda_backend *cuda)
{
    for (int i = 0; i < OPS_LANES; i++)
        if (cuda->lanes[i] && cuda->lanes[i]->sent)
            (void)cudaStreamSynchronize(cuda->lanes[i]->stream);
}

void cuda_lanes_free(struct cuda_backend *cuda)
{
    for (int i = 0; i < OPS_LANES; i++) {
        lane_free(cuda->lanes[i]);
        cuda->lanes[i] = NULL;
    }
}

static enum ij_status lane_make(struct cuda_backend *cuda, int index, void *device, size_t bytes,
                                struct ij_err *reterr_err)
{
    struct cuda_lane *lane = mem_new(struct cuda_lane);
    if (!lane)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a lane");
    cuda->lanes[index] = lane; /* freed with the backend, whatever of it was made */
    CUDA_TRY(cuda, cudaHostAlloc(&lane->host, bytes, cudaHostAllocDefault));
    CUDA_TRY(cuda, cudaStreamCreateWithFlags(&lane->stream, cudaStreamNonBlocking));
    CUDA_TRY(cuda, cudaEventCreateWithFlags(&lane->full, cudaEventDisableTiming));
    CUDA_TRY(cuda, cudaEventCreateWithFlags(&lane->empty, cudaEventDisableTiming));
    lane->device = device;
    lane->bytes = bytes;
    return IJ_OK;
}

enum ij_status cuda_lane_open(struct backend *backend, int index, void *device, size_t bytes,
                              void **ret_host, struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    IJ_ASSERT(index >= 0 && index < OPS_LANES && bytes > 0);
    struct cuda_lane *lane = cuda->lanes[index];
    cuda_begin(cuda, "lane_open", (int64_t)bytes, index, 1);
    if (lane && (lane->device != device || lane->bytes != bytes)) { /* another model's */
        lane_free(lane);
        cuda->lanes[index] = lane = NULL;
    }
    if (!lane)
        IJ_TRY(lane_make(cuda, index, device, bytes, reterr_err));
    lane = cuda->lanes[index];
    if (lane->sent)
        CUDA_TRY(cuda, cudaEventSynchronize(lane->full));
    *ret_host = lane->host;
    return IJ_OK;
}

enum ij_status cuda_lane_send(struct backend *backend, int index, size_t bytes,
                              struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    struct cuda_lane *lane = cuda->lanes[index];
    IJ_ASSERT(lane && bytes <= lane->bytes);
    if (lane->left)
        CUDA_TRY(cuda, cudaStreamWaitEvent(lane->stream, lane->empty, 0));
    CUDA_TRY(cuda, cudaMemcpyAsync(lane->device, lane->host, bytes, cudaMemcpyHostToDevice,
                                   lane->stream));
    CUDA_TRY(cuda, cudaEventRecord(lane->full, lane->stream));
    lane->sent = true;
    return IJ_OK;
}

enum ij_status cuda_lane_enter(struct backend *backend, int index, struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    IJ_ASSERT(cuda->lanes[index] && cuda->lanes[index]->sent);
    CUDA_TRY(cuda, cudaStreamWaitEvent(cuda->stream, cuda->lanes[index]->full, 0));
    return IJ_OK;
}

enum ij_status cuda_lane_leave(struct backend *backend, int index, struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    IJ_ASSERT(cuda->lanes[index]);
    CUDA_TRY(cuda, cudaEventRecord(cuda->lanes[index]->empty, cuda->stream));
    cuda->lanes[index]->left = true;
    return IJ_OK;
}
