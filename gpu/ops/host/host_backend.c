/* The host backend: its table, its memory and its scratch blocks. See host_backend.h. */
#include "gpu/ops/host/host_backend.h"

#include <sched.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/ops/host/host_attention.h"
#include "gpu/ops/host/host_linear.h"
#include "gpu/ops/host/host_product.h"
#include "gpu/ops/host/host_product_weight.h"

#define HOST_ALIGNMENT   64
#define HOST_THREADS_MAX 1024
#define HOST_CLEAR_GRAIN 4096

static enum ij_status host_backend_grow(float **block, size_t *size, size_t floats, size_t copies,
                                        struct ij_err *reterr_err)
{
    if (floats <= *size)
        return IJ_OK;
    floats = (floats + 15) / 16 * 16;
    if (floats > SIZE_MAX / sizeof(float) / copies)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "scratch of %zu floats is too large", floats);
    mem_free(*block);
    *size = 0;
    *block = mem_alloc_aligned(HOST_ALIGNMENT, floats * copies * sizeof(float));
    if (!*block)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "cannot allocate %zu MiB of scratch memory",
                      floats * copies * sizeof(float) >> 20);
    *size = floats;
    return IJ_OK;
}

enum ij_status host_backend_need(struct host_backend *host, size_t shared_floats,
                                 size_t local_floats, struct ij_err *reterr_err)
{
    IJ_TRY(host_backend_grow(&host->shared, &host->shared_size, shared_floats, 1, reterr_err));
    return host_backend_grow(&host->local, &host->local_size, local_floats,
                             (size_t)host->base.threads, reterr_err);
}

static bool host_supports(struct backend *backend, enum op_id op, enum tensor_type type)
{
    (void)backend;
    if (type == TENSOR_F32)
        return true;
    if (type == TENSOR_E4M3)
        return op == OP_linear_forward || op == OP_quantize_rows;
    bool float_only = op == OP_matmul || op == OP_adamw_ema || op == OP_square_sums;
    return type == TENSOR_BF16 && !float_only;
}

static enum ij_status host_allocate(struct backend *backend, size_t bytes, void **ret_memory,
                                    struct ij_err *reterr_err)
{
    (void)backend;
    void *memory = mem_alloc_aligned(HOST_ALIGNMENT, bytes);
    if (!memory)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "cannot allocate %zu bytes of host memory", bytes);
    *ret_memory = memory;
    return IJ_OK;
}

static void host_release(struct backend *backend, void *memory)
{
    (void)backend;
    mem_free(memory);
}

static enum ij_status host_upload(struct backend *backend, void *device, const void *host,
                                  size_t bytes, struct ij_err *reterr_err)
{
    (void)backend, (void)reterr_err;
    if (bytes)
        memcpy(device, host, bytes);
    return IJ_OK;
}

static enum ij_status host_download(struct backend *backend, void *host, const void *device,
                                    size_t bytes, struct ij_err *reterr_err)
{
    return host_upload(backend, host, device, bytes, reterr_err);
}

/* By all threads: the first to touch a page decides to which socket it belongs. */
static enum ij_status host_clear(struct backend *backend, void *device, size_t bytes,
                                 struct ij_err *reterr_err)
{
    (void)reterr_err;
#pragma omp parallel num_threads(backend->threads)
    {
        struct host_span span = host_my_part((int64_t)bytes, HOST_CLEAR_GRAIN);
        if (span.begin < span.end)
            memset((char *)device + span.begin, 0, (size_t)(span.end - span.begin));
    }
    return IJ_OK;
}

/* What is filled is the device's memory itself: every operation has ended when it returns. */
static enum ij_status host_lane_open(struct backend *backend, int lane, void *device, size_t bytes,
                                     void **ret_host, struct ij_err *reterr_err)
{
    (void)backend, (void)lane, (void)bytes, (void)reterr_err;
    *ret_host = device;
    return IJ_OK;
}

static enum ij_status host_lane_send(struct backend *backend, int lane, size_t bytes,
                                     struct ij_err *reterr_err)
{
    (void)backend, (void)lane, (void)bytes, (void)reterr_err;
    return IJ_OK;
}

static enum ij_status host_lane_pass(struct backend *backend, int lane, struct ij_err *reterr_err)
{
    (void)backend, (void)lane, (void)reterr_err;
    return IJ_OK;
}

static enum ij_status host_synchronize(struct backend *backend, struct ij_err *reterr_err)
{
    (void)backend, (void)reterr_err;
    return IJ_OK;
}

static enum ij_status host_reserve_scratch(struct backend *backend, int64_t rows_max,
                                           int64_t width_max, int64_t heads_max,
                                           struct ij_err *reterr_err)
{
    struct host_backend *host = host_backend_of(backend);
    (void)heads_max;
    if (rows_max < 1 || width_max < 1)
        return IJ_ERR(reterr_err, IJ_INVALID, "scratch for %lld rows of width %lld",
                      (long long)rows_max, (long long)width_max);
    size_t linear = host_linear_local_floats(width_max, width_max);
    size_t product = host_product_local_floats(width_max);
    linear = linear > product ? linear : product;
    size_t attention = host_attention_local_floats(rows_max, width_max);
    size_t shared = host_product_shared_floats(width_max); /* a packed or widened weight */
    if (shared < host_product_weight_floats(width_max))
        shared = host_product_weight_floats(width_max);
    if (shared < (size_t)rows_max)
        shared = (size_t)rows_max; /* partial sums of the loss */
    size_t partials = (size_t)host->base.threads * 2 * (size_t)width_max;
    return host_backend_need(host, shared > partials ? shared : partials,
                             linear > attention ? linear : attention, reterr_err);
}

static enum ij_status host_memory(struct backend *backend, uint64_t *ret_left, uint64_t *ret_all,
                                  struct ij_err *reterr_err)
{
    (void)backend, (void)reterr_err;
    *ret_left = *ret_all = 0;
    return IJ_OK;
}

static void host_free(struct backend *backend)
{
    if (!backend)
        return;
    struct host_backend *host = host_backend_of(backend);
    mem_free(host->shared);
    mem_free(host->local);
    mem_free(host->deals);
    mem_free(host);
}

static const struct ops host_ops = {
#define X(name) .name = host_##name,
    OPS_LIST(X)
#undef X
        .supports = host_supports,
    .allocate = host_allocate,
    .release = host_release,
    .upload = host_upload,
    .download = host_download,
    .clear = host_clear,
    .synchronize = host_synchronize,
    .lane_open = host_lane_open,
    .lane_send = host_lane_send,
    .lane_enter = host_lane_pass,
    .lane_leave = host_lane_pass,
    .reserve_scratch = host_reserve_scratch,
    .memory = host_memory,
    .free = host_free,
};

/* Cores that this process may use; at least 1. */
static int host_core_count(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return count < 1 ? 1 : count;
}

static enum ij_status host_deals_new(struct host_backend *host, struct ij_err *reterr_err)
{
    size_t bytes = 2 * (size_t)host->base.threads * sizeof *host->deals;
    host->deals = mem_alloc_aligned(HOST_ALIGNMENT, bytes);
    if (!host->deals)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the host backend's threads");
    return IJ_OK;
}

enum ij_status backend_host_new(int threads, struct backend **ret_backend,
                                struct ij_err *reterr_err)
{
    if (threads < 0 || threads > HOST_THREADS_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "threads", "must be 0 to %d, got %d",
                            HOST_THREADS_MAX, threads);
    struct host_backend *host = mem_new(struct host_backend);
    if (!host)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the host backend");
    host->base.threads = threads ? threads : host_core_count();
    enum ij_status status = host_isa_detect(&host->isa, reterr_err);
    if (status == IJ_OK)
        status = host_deals_new(host, reterr_err);
    if (status != IJ_OK) {
        mem_free(host);
        return status;
    }
    host_gelu_init(&host->gelu);
    host->base.ops = &host_ops;
    host->base.name = "host";
    host->base.level = host_isa_name(host->isa);
    *ret_backend = &host->base;
    return IJ_OK;
}
