/* float8 on the host: an emulation, for tests and for what quantising does to a loss curve. */
#ifndef GPU_OPS_HOST_FLOAT8_H
#define GPU_OPS_HOST_FLOAT8_H

#include "gpu/ops/host/host_backend.h"

/* linear_forward with E4M3 factors: widened, scaled, and multiplied in float32. */
IJ_MUST_USE enum ij_status host_float8_linear(struct backend *backend,
                                              const struct op_linear_forward *args,
                                              struct ij_err *reterr_err);

#endif
