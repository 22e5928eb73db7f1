/* The choice of a backend. See engine_device.h. */
#include "gpu/engine_device.h"

enum ij_status engine_device_open(const struct engine_spec *spec, struct backend **ret_backend,
                                  struct ij_err *reterr_err)
{
    if (spec->device == ENGINE_DEVICE_CUDA)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "device",
                            "this build has no CUDA backend; use device host or auto");
    return backend_host_new((int)spec->threads, ret_backend, reterr_err);
}
