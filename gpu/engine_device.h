/* Which device a run computes on. */
#ifndef GPU_ENGINE_DEVICE_H
#define GPU_ENGINE_DEVICE_H

#include "gpu/engine.h"
#include "gpu/ops/ops.h"

/* Opens the backend that the spec asks for; `auto` is what IJEPAD_DEVICE (host or cuda) says, else
 * the host.
 * IJ_UNSUPPORTED, field "device", with the reason. The caller frees with ops->free. */
IJ_MUST_USE enum ij_status engine_device_open(const struct engine_spec *spec,
                                              struct backend **ret_backend,
                                              struct ij_err *reterr_err);

#endif
