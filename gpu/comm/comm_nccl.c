/* See comm_nccl.h. */
#include "gpu/comm/comm_nccl.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gpu/ops/cuda_device.h"
#include "gpu/ops/cuda/cuda_side.h"

#define LIBRARY    "libnccl.so.2"
#define POLL_NS    20000
#define LOOK_EVERY 256 /* polls between looks at the other ranks */

/* ---- The ABI --------------------------------------------------------------------------------- */

enum {
    NCCL_SUCCESS = 0,
    NCCL_IN_PROGRESS = 7,
    NCCL_FLOAT32 = 7,
    NCCL_SUM = 0,
    NCCL_CONFIG_VERSION = 21400, /* of the fields below; later ones keep their defaults */
};
#define NCCL_CONFIG_MAGIC 0xcafebeefu

struct nccl_id {
    char bytes[COMM_AREA_ID_BYTES];
};
struct nccl_config {
    size_t size;
    unsigned magic, version;
    int blocking;
};
struct nccl_library {
    int (*get_id)(struct nccl_id *);
    int (*init)(void **, int, struct nccl_id, int, struct nccl_config *);
    int (*add)(const void *, void *, size_t, int, int, void *, void *);
    int (*get_error)(void *, int *);
    int (*abort)(void *);
    int (*destroy)(void *);
    int (*finalize)(void *);
    const char *(*error_text)(int);
    const char *(*last_error)(void *); /* may be NULL */
};

struct comm_nccl {
    struct nccl_library library;
    struct comm_area *area; /* borrowed */
    struct cuda_side *side;
    void *handle; /* NULL: none, or aborted */
};

static const struct {
    const char *name;
    size_t at;
    bool needed;
} symbols[] = {
    {"ncclGetUniqueId", offsetof(struct nccl_library, get_id), true},
    {"ncclCommInitRankConfig", offsetof(struct nccl_library, init), true},
    {"ncclAllReduce", offsetof(struct nccl_library, add), true},
    {"ncclCommGetAsyncError", offsetof(struct nccl_library, get_error), true},
    {"ncclCommAbort", offsetof(struct nccl_library, abort), true},
    {"ncclCommDestroy", offsetof(struct nccl_library, destroy), true},
    {"ncclCommFinalize", offsetof(struct nccl_library, finalize), true},
    {"ncclGetErrorString", offsetof(struct nccl_library, error_text), true},
    {"ncclGetLastError", offsetof(struct nccl_library, last_error), false},
};

static enum ij_status load(struct nccl_library *library, struct ij_err *reterr_err)
{
    const char *path = getenv("IJEPAD_NCCL");
    void *handle = dlopen(path && path[0] ? path : LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "gpus",
                            "several GPUs need NCCL, which cannot be loaded: %s", dlerror());
    for (size_t i = 0; i < COUNT_OF(symbols); i++) {
        void *symbol = dlsym(handle, symbols[i].name);
        if (!symbol && symbols[i].needed)
            return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "gpus",
                                "this NCCL is too old: it has no %s", symbols[i].name);
        memcpy((char *)library + symbols[i].at, &symbol, sizeof(symbol));
    }
    return IJ_OK;
}

/* ---- Waiting --------------------------------------------------------------------------------- */

static void drop(struct comm_nccl *nccl)
{
    if (nccl->handle)
        (void)nccl->library.abort(nccl->handle);
    nccl->handle = NULL;
}

static enum ij_status refuse(struct comm_nccl *nccl, const char *call, int code,
                             struct ij_err *reterr_err)
{
    const char *more = nccl->library.last_error ? nccl->library.last_error(nccl->handle) : NULL;
    enum ij_status status =
        IJ_ERR(reterr_err, IJ_DEVICE, "NCCL: %s: %s%s%.200s", call, nccl->library.error_text(code),
               more && more[0] ? ": " : "", more ? more : "");
    drop(nccl);
    return status;
}

/* What is waited for: the library itself, or the stream as well. */
static enum ij_status is_done(struct comm_nccl *nccl, const char *call, bool stream, bool *ret_done,
                              struct ij_err *reterr_err)
{
    int state = NCCL_SUCCESS;
    *ret_done = false;
    int code = nccl->library.get_error(nccl->handle, &state);
    if (code != NCCL_SUCCESS || (state != NCCL_SUCCESS && state != NCCL_IN_PROGRESS))
        return refuse(nccl, call, code != NCCL_SUCCESS ? code : state, reterr_err);
    if (state == NCCL_IN_PROGRESS)
        return IJ_OK;
    *ret_done = true;
    return stream ? cuda_side_is_done(nccl->side, ret_done, reterr_err) : IJ_OK;
}

static enum ij_status wait(struct comm_nccl *nccl, const char *call, bool stream,
                           struct ij_err *reterr_err)
{
    const struct timespec nap = {.tv_nsec = POLL_NS};
    int64_t deadline_ms = clock_monotonic_ms() + comm_area_timeout_ms(nccl->area);
    enum ij_status status = IJ_OK;
    for (unsigned polls = 1;; polls++) {
        bool done;
        IJ_TRY_GOTO(status, is_done(nccl, call, stream, &done, reterr_err), out);
        if (done)
            return IJ_OK;
        nanosleep(&nap, NULL);
        if (polls % LOOK_EVERY)
            continue;
        IJ_TRY_GOTO(status, comm_area_check(nccl->area, reterr_err), out);
        if (clock_monotonic_ms() >= deadline_ms) {
            status = IJ_ERR(reterr_err, IJ_TIMEOUT, "NCCL: %s did not end in %.3g s", call,
                            (double)comm_area_timeout_ms(nccl->area) / 1000);
            goto out;
        }
    }
out:
    drop(nccl);
    return status;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static enum ij_status join(struct comm_nccl *nccl, uint32_t rank, uint32_t count,
                           struct ij_err *reterr_err)
{
    struct nccl_id id = {.bytes = {0}};
    struct nccl_config config = {.size = sizeof(config),
                                 .magic = NCCL_CONFIG_MAGIC,
                                 .version = NCCL_CONFIG_VERSION,
                                 .blocking = 0};
    if (rank == 0) {
        int code = nccl->library.get_id(&id);
        if (code != NCCL_SUCCESS)
            return refuse(nccl, "ncclGetUniqueId", code, reterr_err);
    }
    IJ_TRY(comm_area_share(nccl->area, id.bytes, reterr_err));
    int code = nccl->library.init(&nccl->handle, (int)count, id, (int)rank, &config);
    if (code != NCCL_SUCCESS && code != NCCL_IN_PROGRESS)
        return refuse(nccl, "ncclCommInitRankConfig", code, reterr_err);
    return wait(nccl, "ncclCommInitRankConfig", false, reterr_err);
}

enum ij_status comm_nccl_new(struct comm_area *area, uint32_t rank, uint32_t count,
                             struct backend *backend, struct comm_nccl **ret_nccl,
                             struct ij_err *reterr_err)
{
    enum ij_status status;
    if (!cuda_device_built() || strcmp(backend->name, "cuda") != 0)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "device", "NCCL needs the CUDA backend");
    struct comm_nccl *nccl = mem_new(struct comm_nccl);
    if (!nccl)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for NCCL");
    nccl->area = area;
    IJ_TRY_GOTO(status, load(&nccl->library, reterr_err), out);
    IJ_TRY_GOTO(status, cuda_side_new(backend, &nccl->side, reterr_err), out);
    IJ_TRY_GOTO(status, join(nccl, rank, count, reterr_err), out);
    *ret_nccl = nccl;
    return IJ_OK;
out:
    comm_nccl_free(nccl);
    return status;
}

/* A communicator that is freed in the middle of an exchange would wait for the others: it is
 * aborted then, and so it is where its orderly end does not come. */
void comm_nccl_free(struct comm_nccl *nccl)
{
    struct ij_err err = IJ_ERR_INIT;
    if (!nccl)
        return;
    if (nccl->handle) {
        int code = comm_area_check(nccl->area, &err) == IJ_OK ? nccl->library.finalize(nccl->handle)
                                                              : NCCL_SUCCESS;
        bool orderly = err.code == IJ_OK && (code == NCCL_SUCCESS || code == NCCL_IN_PROGRESS) &&
                       wait(nccl, "ncclCommFinalize", false, &err) == IJ_OK;
        if (orderly)
            (void)nccl->library.destroy(nccl->handle);
        else
            drop(nccl);
    }
    if (nccl->side)
        cuda_side_free(nccl->side);
    mem_free(nccl);
}

/* ---- Sums ------------------------------------------------------------------------------------ */

enum ij_status comm_nccl_add(struct comm_nccl *nccl, float *data, int64_t count,
                             struct ij_err *reterr_err)
{
    if (!nccl->handle)
        return IJ_ERR(reterr_err, IJ_DEVICE, "NCCL: the communicator was aborted");
    IJ_TRY(cuda_side_follow(nccl->side, reterr_err));
    int code = nccl->library.add(data, data, (size_t)count, NCCL_FLOAT32, NCCL_SUM, nccl->handle,
                                 cuda_side_stream(nccl->side));
    if (code != NCCL_SUCCESS && code != NCCL_IN_PROGRESS)
        return refuse(nccl, "ncclAllReduce", code, reterr_err);
    return wait(nccl, "ncclAllReduce", false, reterr_err); /* until it is on the stream */
}

enum ij_status comm_nccl_finish(struct comm_nccl *nccl, struct ij_err *reterr_err)
{
    if (!nccl->handle)
        return IJ_ERR(reterr_err, IJ_DEVICE, "NCCL: the communicator was aborted");
    IJ_TRY(cuda_side_lead(nccl->side, reterr_err));
    return wait(nccl, "the sum of the gradients", true, reterr_err);
}
