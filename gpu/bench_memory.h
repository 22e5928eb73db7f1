/* Memory of a benchmark of training steps: what was taken, and what the plan says. */
#ifndef GPU_BENCH_MEMORY_H
#define GPU_BENCH_MEMORY_H

#include "gpu/engine.h"
#include "gpu/ops/ops.h"

/* Bytes in use: of a GPU's memory, or of a host's by this process (0: the system does not say). */
IJ_MUST_USE enum ij_status bench_memory_used(struct backend *backend, uint64_t *ret_bytes,
                                             struct ij_err *reterr_err);

/* How far `taken` bytes are from those that the plan of a run like `spec` has for `batches`
 * micro-batches on this backend, less 1. NaN: there is no plan, or 0 were taken. */
double bench_memory_off(const struct backend *backend, const struct engine_spec *spec,
                        uint32_t batches, uint64_t taken);

#endif
