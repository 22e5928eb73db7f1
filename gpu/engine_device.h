/* Which device a run computes on. */
#ifndef GPU_ENGINE_DEVICE_H
#define GPU_ENGINE_DEVICE_H

#include "gpu/engine.h"
#include "gpu/ops/ops.h"

/* Opens the backend that the spec asks for; `auto` is what IJEPAD_DEVICE (host or cuda) says, else
 * the GPU where this process can use one, else the host.
 * IJ_UNSUPPORTED, field "device", with the reason. The caller frees with ops->free. */
IJ_MUST_USE enum ij_status engine_device_open(const struct engine_spec *spec,
                                              struct backend **ret_backend,
                                              struct ij_err *reterr_err);

/* A GPU that nobody named is checked against the host (engine_check_device) before it is trusted
 * with a run: once per GPU, driver and build where `device_checks` names a file to remember it in.
 * IJ_UNSUPPORTED, field "device", with what is wrong. */
IJ_MUST_USE enum ij_status engine_device_trust(const struct engine_spec *spec,
                                               struct ij_err *reterr_err);

#endif
