/* See gpu/ops/cuda/cuda_side.h. */
#include "gpu/ops/cuda/cuda_side.h"

#include "gpu/ops/cuda/cuda_backend.h"
#include "gpu/ops/cuda/cuda_mem.h"

struct cuda_side {
    struct cuda_backend *cuda;
    cudaStream_t stream;
    cudaEvent_t asked, given; /* NULL until made */
};

enum ij_status cuda_side_new(struct backend *backend, struct cuda_side **ret_side,
                             struct ij_err *reterr_err)
{
    struct cuda_side *side = mem_new(struct cuda_side);
    if (!side)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a stream");
    side->cuda = cuda_backend_of(backend);
    const char *call = "cudaStreamCreateWithFlags";
    cudaError_t error = cudaStreamCreateWithFlags(&side->stream, cudaStreamNonBlocking);
    if (error == cudaSuccess) {
        call = "cudaEventCreateWithFlags";
        error = cudaEventCreateWithFlags(&side->asked, cudaEventDisableTiming);
    }
    if (error == cudaSuccess)
        error = cudaEventCreateWithFlags(&side->given, cudaEventDisableTiming);
    if (error != cudaSuccess) {
        enum ij_status status =
            cuda_error(side->cuda, error, call, __FILE__, __LINE__, reterr_err);
        cuda_side_free(side);
        return status;
    }
    *ret_side = side;
    return IJ_OK;
}

void cuda_side_free(struct cuda_side *side)
{
    if (!side)
        return;
    if (side->asked)
        (void)cudaEventDestroy(side->asked);
    if (side->given)
        (void)cudaEventDestroy(side->given);
    if (side->stream)
        (void)cudaStreamDestroy(side->stream);
    mem_free(side);
}

void *cuda_side_stream(struct cuda_side *side)
{
    return side->stream;
}

enum ij_status cuda_side_follow(struct cuda_side *side, struct ij_err *reterr_err)
{
    CUDA_TRY(side->cuda, cudaEventRecord(side->asked, side->cuda->stream));
    CUDA_TRY(side->cuda, cudaStreamWaitEvent(side->stream, side->asked, 0));
    return IJ_OK;
}

enum ij_status cuda_side_lead(struct cuda_side *side, struct ij_err *reterr_err)
{
    CUDA_TRY(side->cuda, cudaEventRecord(side->given, side->stream));
    CUDA_TRY(side->cuda, cudaStreamWaitEvent(side->cuda->stream, side->given, 0));
    return IJ_OK;
}

enum ij_status cuda_side_is_done(struct cuda_side *side, bool *ret_done, struct ij_err *reterr_err)
{
    cudaError_t error = cudaEventQuery(side->given);
    *ret_done = error == cudaSuccess;
    if (error == cudaErrorNotReady)
        return IJ_OK;
    CUDA_TRY(side->cuda, error);
    return IJ_OK;
}
