/* The choice of a backend. See engine_device.h. */
#include "gpu/engine_device.h"

#include <stdlib.h>
#include <string.h>

#define LOG_MODULE "engine"
#include "base/log.h"
#include "gpu/ops/cuda_device.h"

static enum ij_status open_cuda(struct backend **ret_backend, struct ij_err *reterr_err)
{
    if (!cuda_device_built())
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "device",
                            "this build has no CUDA backend; use device host or auto");
    return backend_cuda_new(0, ret_backend, reterr_err); /* the daemon shows a rank one GPU */
}

/* What the spec says; `auto` may be settled by the environment. */
static enum engine_device wanted_device(const struct engine_spec *spec)
{
    const char *name = getenv("IJEPAD_DEVICE");
    if (spec->device != ENGINE_DEVICE_AUTO || !name)
        return spec->device;
    return strcmp(name, "cuda") == 0   ? ENGINE_DEVICE_CUDA
           : strcmp(name, "host") == 0 ? ENGINE_DEVICE_HOST
                                       : ENGINE_DEVICE_AUTO;
}

enum ij_status engine_device_open(const struct engine_spec *spec, struct backend **ret_backend,
                                  struct ij_err *reterr_err)
{
    enum engine_device device = wanted_device(spec);
    if (device == ENGINE_DEVICE_CUDA)
        return open_cuda(ret_backend, reterr_err);
    if (device == ENGINE_DEVICE_AUTO && cuda_device_built()) {
        struct ij_err err = IJ_ERR_INIT;
        if (open_cuda(ret_backend, &err) == IJ_OK)
            return IJ_OK;
        log_info("device auto: the host computes; %s", err.text);
    }
    return backend_host_new((int)spec->threads, ret_backend, reterr_err);
}
