/* The choice of a backend. See engine_device.h. */
#include "gpu/engine_device.h"

#include <stdlib.h>
#include <string.h>

#include "gpu/ops/cuda_device.h"

/* A run sees its own GPUs only, in the order of its ranks. */
static enum ij_status open_cuda(const struct engine_spec *spec, struct backend **ret_backend,
                                struct ij_err *reterr_err)
{
    if (!cuda_device_built())
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "device",
                            "this build has no CUDA backend; use device host or auto");
    return backend_cuda_new((int)spec->ranks.rank, ret_backend, reterr_err);
}

/* True if the spec, or for `auto` the environment, insists on the GPU. `auto` alone is the host:
 * the CUDA backend has never run on a GPU (docs/results/README.md), and nobody should meet that
 * unasked. */
static bool wants_cuda(const struct engine_spec *spec)
{
    const char *name = getenv("IJEPAD_DEVICE");
    return spec->device == ENGINE_DEVICE_CUDA ||
           (spec->device == ENGINE_DEVICE_AUTO && name && strcmp(name, "cuda") == 0);
}

bool engine_runs_on_host(const struct engine_spec *spec)
{
    return spec->kind == ENGINE_SCAN || !wants_cuda(spec);
}

enum ij_status engine_device_open(const struct engine_spec *spec, struct backend **ret_backend,
                                  struct ij_err *reterr_err)
{
    if (wants_cuda(spec))
        return open_cuda(spec, ret_backend, reterr_err);
    return backend_host_new((int)spec->threads, ret_backend, reterr_err);
}
