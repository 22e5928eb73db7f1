/* What the linear operations ask of the backend's scratch. */
#ifndef GPU_OPS_HOST_LINEAR_H
#define GPU_OPS_HOST_LINEAR_H

#include <stddef.h>
#include <stdint.h>

/* Floats per thread for layers up to `in` x `out`, whatever the tensors' types. */
size_t host_linear_local_floats(int64_t in, int64_t out);

#endif
