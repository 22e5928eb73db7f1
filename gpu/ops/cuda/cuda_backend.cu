/* The CUDA backend: its table, its memory, its errors. See cuda_backend.h. */
#include "gpu/ops/cuda/cuda_backend.h"

#include <stdio.h>
#include <string.h>

#include "gpu/ops/cuda/cuda_mem.h"
#include "gpu/ops/cuda/cuda_gemm.h"
#include "gpu/ops/cuda_plan.h"

#define CUDA_ARCH_MIN 80 /* compute capability 8.0: bfloat16 */

/* ---- Errors ---------------------------------------------------------------------------------- */

enum ij_status cuda_error(struct cuda_backend *cuda, cudaError_t error, const char *call,
                          const char *file, int line, struct ij_err *reterr_err)
{
    (void)cudaGetLastError(); /* a sticky error stays: the context is lost, the worker ends */
    enum ij_status status = error == cudaErrorMemoryAllocation ? IJ_NO_MEMORY : IJ_DEVICE;
    return ij_err_set(reterr_err, status, 0, file, line, "",
                      "GPU %d: %s (%s) at or before %s (%lld x %lld x %lld), in %.80s",
                      cuda->device, cudaGetErrorString(error), cudaGetErrorName(error),
                      cuda->last_op, cuda->last_shape[0], cuda->last_shape[1], cuda->last_shape[2],
                      call);
}

void cuda_begin(struct cuda_backend *cuda, const char *op, int64_t a, int64_t b, int64_t c)
{
    cuda->last_op = op;
    cuda->last_shape[0] = a;
    cuda->last_shape[1] = b;
    cuda->last_shape[2] = c;
}

static enum ij_status cuda_wait(struct cuda_backend *cuda, struct ij_err *reterr_err)
{
    CUDA_TRY(cuda, cudaStreamSynchronize(cuda->stream));
    if (*cuda->fault == CUDA_FAULT_NONE)
        return IJ_OK;
    *cuda->fault = CUDA_FAULT_NONE;
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "index",
                        "an index is out of range, at or before %s", cuda->last_op);
}

enum ij_status cuda_done(struct cuda_backend *cuda, struct ij_err *reterr_err)
{
    CUDA_TRY(cuda, cudaGetLastError());
    return cuda->check_each ? cuda_wait(cuda, reterr_err) : IJ_OK;
}

enum ij_status cuda_check_optional(struct cuda_backend *cuda, const char *name, struct tensor t,
                                   struct ij_err *reterr_err)
{
    if (t.data && t.type != TENSOR_F32 && t.type != TENSOR_BF16)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, name,
                            "%s: must be float32 or bfloat16, got type %d", cuda->last_op,
                            (int)t.type);
    return IJ_OK;
}

enum ij_status cuda_check(struct cuda_backend *cuda, const char *name, struct tensor t,
                          struct ij_err *reterr_err)
{
    if (!t.data)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, name, "%s: the tensor is absent",
                            cuda->last_op);
    return cuda_check_optional(cuda, name, t, reterr_err);
}

enum ij_status cuda_check_shape(struct cuda_backend *cuda, int64_t rows, int64_t width,
                                struct ij_err *reterr_err)
{
    if (rows < 0 || width < 1)
        return IJ_ERR(reterr_err, IJ_INVALID, "%s: shape %lld x %lld", cuda->last_op,
                      (long long)rows, (long long)width);
    return IJ_OK;
}

/* ---- Memory ---------------------------------------------------------------------------------- */

enum ij_status cuda_scratch(struct cuda_backend *cuda, size_t bytes, void **ret_memory,
                            struct ij_err *reterr_err)
{
    if (bytes > cuda->scratch_size) {
        CUDA_TRY(cuda, cudaStreamSynchronize(cuda->stream));
        CUDA_TRY(cuda, cudaFree(cuda->scratch));
        cuda->scratch = NULL;
        cuda->scratch_size = 0;
        CUDA_TRY(cuda, cudaMalloc((void **)&cuda->scratch, bytes));
        cuda->scratch_size = bytes;
    }
    *ret_memory = cuda->scratch;
    return IJ_OK;
}

static bool cuda_supports(struct backend *backend, enum op_id op, enum tensor_type type)
{
    if (type == TENSOR_F32)
        return true;
    if (type == TENSOR_E4M3)
        return (op == OP_linear_forward || op == OP_quantize_rows) &&
               cuda_backend_of(backend)->architecture >= CUDA_FLOAT8_ARCHITECTURE;
    bool float_only = op == OP_matmul || op == OP_adamw_ema || op == OP_square_sums;
    return type == TENSOR_BF16 && !float_only;
}

static enum ij_status cuda_allocate(struct backend *backend, size_t bytes, void **ret_memory,
                                    struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "allocate", (int64_t)bytes, 1, 1);
    CUDA_TRY(cuda, cudaMalloc(ret_memory, bytes ? bytes : 1));
    return IJ_OK;
}

static void cuda_release(struct backend *backend, void *memory)
{
    cuda_lanes_wait(cuda_backend_of(backend)); /* a batch may be on its way there */
    (void)cudaFree(memory);
}

static enum ij_status cuda_upload(struct backend *backend, void *device, const void *host,
                                  size_t bytes, struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    if (!bytes)
        return IJ_OK;
    cuda_begin(cuda, "upload", (int64_t)bytes, 1, 1);
    CUDA_TRY(cuda, cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, cuda->stream));
    /* The caller may reuse pageable memory at once. */
    CUDA_TRY(cuda, cudaStreamSynchronize(cuda->stream));
    return IJ_OK;
}

static enum ij_status cuda_download(struct backend *backend, void *host, const void *device,
                                    size_t bytes, struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    if (bytes)
        CUDA_TRY(cuda, cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, cuda->stream));
    return cuda_wait(cuda, reterr_err);
}

static enum ij_status cuda_clear(struct backend *backend, void *device, size_t bytes,
                                 struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    if (bytes)
        CUDA_TRY(cuda, cudaMemsetAsync(device, 0, bytes, cuda->stream));
    return IJ_OK;
}

static enum ij_status cuda_synchronize(struct backend *backend, struct ij_err *reterr_err)
{
    return cuda_wait(cuda_backend_of(backend), reterr_err);
}

static enum ij_status cuda_reserve_scratch(struct backend *backend, int64_t rows_max,
                                           int64_t width_max, int64_t heads_max,
                                           struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    if (rows_max < 1 || width_max < 1 || heads_max < 1)
        return IJ_ERR(reterr_err, IJ_INVALID, "scratch for %lld rows of width %lld, %lld heads",
                      (long long)rows_max, (long long)width_max, (long long)heads_max);
    cuda_begin(cuda, "reserve_scratch", rows_max, width_max, heads_max);
    void *unused;
    return cuda_scratch(cuda, cuda_plan_scratch(rows_max, width_max, heads_max), &unused,
                        reterr_err);
}

static enum ij_status cuda_memory(struct backend *backend, uint64_t *ret_left, uint64_t *ret_all,
                                  struct ij_err *reterr_err)
{
    size_t left = 0, all = 0;
    CUDA_TRY(cuda_backend_of(backend), cudaMemGetInfo(&left, &all));
    *ret_left = left;
    *ret_all = all;
    return IJ_OK;
}

static void cuda_free(struct backend *backend)
{
    if (!backend)
        return;
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_lanes_free(cuda);
    cuda_gemm_free(cuda->gemm);
    cuda_chunks_free(&cuda->adamw_chunks);
    cuda_chunks_free(&cuda->square_chunks);
    (void)cudaFree(cuda->scratch);
    (void)cudaFreeHost(cuda->fault);
    if (cuda->stream)
        (void)cudaStreamDestroy(cuda->stream);
    mem_free(cuda);
}

static const struct ops *cuda_ops(void)
{
    static struct ops ops;
#define X(name) ops.name = cuda_##name;
    OPS_LIST(X)
#undef X
    ops.supports = cuda_supports;
    ops.allocate = cuda_allocate;
    ops.release = cuda_release;
    ops.upload = cuda_upload;
    ops.download = cuda_download;
    ops.clear = cuda_clear;
    ops.synchronize = cuda_synchronize;
    ops.lane_open = cuda_lane_open;
    ops.lane_send = cuda_lane_send;
    ops.lane_enter = cuda_lane_enter;
    ops.lane_leave = cuda_lane_leave;
    ops.reserve_scratch = cuda_reserve_scratch;
    ops.memory = cuda_memory;
    ops.free = cuda_free;
    return &ops;
}

/* ---- Opening --------------------------------------------------------------------------------- */

/* Why the devices cannot be counted, in the words of whoever has to mend it. */
static enum ij_status cuda_no_device(cudaError_t error, struct ij_err *reterr_err)
{
    int driver = 0, runtime = 0;
    (void)cudaGetLastError();
    if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "device",
                            "no usable GPU: there is no NVIDIA driver (libcuda.so.1) here");
    if (error == cudaErrorInsufficientDriver && cudaRuntimeGetVersion(&runtime) == cudaSuccess)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "device",
                            "no usable GPU: the NVIDIA driver is for CUDA %d.%d, %d.%d is needed",
                            driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "device", "no usable GPU: %s",
                        cudaGetErrorString(error));
}

/* IJ_UNSUPPORTED unless there is a usable GPU of that number. */
static enum ij_status cuda_probe(int device, struct ij_err *reterr_err)
{
    int count = 0, major = 0, minor = 0;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess)
        return cuda_no_device(error, reterr_err);
    if (device < 0 || device >= count)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "device", "GPU %d of %d does not exist",
                            device, count);
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess)
        return IJ_ERR_FIELD(reterr_err, IJ_DEVICE, "device", "GPU %d does not answer", device);
    if (10 * major + minor < CUDA_ARCH_MIN)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "device",
                            "GPU %d has compute capability %d.%d; 8.0 or newer is needed", device,
                            major, minor);
    return IJ_OK;
}

static enum ij_status cuda_open(struct cuda_backend *cuda, struct ij_err *reterr_err)
{
    CUDA_TRY(cuda, cudaSetDevice(cuda->device));
    CUDA_TRY(cuda, cudaDeviceGetAttribute(&cuda->multiprocessors, cudaDevAttrMultiProcessorCount,
                                          cuda->device));
    CUDA_TRY(cuda, cudaDeviceGetAttribute(&cuda->shared_max,
                                          cudaDevAttrMaxSharedMemoryPerBlockOptin, cuda->device));
    int major = 0, minor = 0;
    CUDA_TRY(cuda, cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, cuda->device));
    CUDA_TRY(cuda, cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, cuda->device));
    cuda->architecture = 10 * major + minor;
    CUDA_TRY(cuda, cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking));
    CUDA_TRY(cuda, cudaHostAlloc((void **)&cuda->fault, sizeof(int), cudaHostAllocMapped));
    *cuda->fault = CUDA_FAULT_NONE;
    return cuda_gemm_new(cuda, &cuda->gemm, reterr_err);
}

enum ij_status backend_cuda_new(int device, struct backend **ret_backend, struct ij_err *reterr_err)
{
    IJ_TRY(cuda_probe(device, reterr_err));
    struct cuda_backend *cuda = mem_new(struct cuda_backend);
    if (!cuda)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the CUDA backend");
    cuda->base.ops = cuda_ops();
    cuda->base.name = "cuda";
    cuda->base.threads = 1;
    cuda->device = device;
    cuda_begin(cuda, "opening the device", device, 1, 1);
    enum ij_status status = cuda_open(cuda, reterr_err);
    if (status != IJ_OK) {
        cuda_free(&cuda->base);
        return status;
    }
    *ret_backend = &cuda->base;
    return IJ_OK;
}

enum ij_status backend_cuda_usable(int device, struct ij_err *reterr_err)
{
    return cuda_probe(device, reterr_err);
}

enum ij_status backend_cuda_name(int device, char *ret_name, size_t size, struct ij_err *reterr_err)
{
    struct cudaDeviceProp properties;
    int driver = 0, runtime = 0;
    IJ_TRY(cuda_probe(device, reterr_err));
    if (cudaGetDeviceProperties(&properties, device) != cudaSuccess ||
        cudaDriverGetVersion(&driver) != cudaSuccess ||
        cudaRuntimeGetVersion(&runtime) != cudaSuccess)
        return IJ_ERR_FIELD(reterr_err, IJ_DEVICE, "device", "GPU %d does not answer", device);
    snprintf(ret_name, size, "%s, driver %d.%d, runtime %d.%d", properties.name, driver / 1000,
             driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    return IJ_OK;
}

void backend_cuda_check_each(struct backend *backend, bool on)
{
    cuda_backend_of(backend)->check_each = on;
}
