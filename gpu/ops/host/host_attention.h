/* What the attention operations ask of the backend's scratch. */
#ifndef GPU_OPS_HOST_ATTENTION_H
#define GPU_OPS_HOST_ATTENTION_H

#include <stddef.h>
#include <stdint.h>

#define HOST_ATTENTION_BLOCK 32 /* query rows whose scores exist at one time */

/* Floats per thread for sequences up to `length` and heads up to `head_dim`. */
size_t host_attention_local_floats(int64_t length, int64_t head_dim);

#endif
