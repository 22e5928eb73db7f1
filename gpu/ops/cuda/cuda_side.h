/*
 * A second stream beside the CUDA backend's own, for work that may overlap its operations: the
 * exchange of gradients between ranks.
 *
 * There only in programs that were linked with the backend; callers ask cuda_device_built first.
 * Plain C: gpu/comm includes it.
 */
#ifndef GPU_OPS_CUDA_SIDE_H
#define GPU_OPS_CUDA_SIDE_H

#include "gpu/ops/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cuda_side;

/* The backend must be a CUDA one and is borrowed. */
__attribute__((weak)) enum ij_status
cuda_side_new(struct backend *backend, struct cuda_side **ret_side, struct ij_err *reterr_err);
__attribute__((weak)) void cuda_side_free(struct cuda_side *side); /* NULL is fine */

/* The cudaStream_t, for libraries that take one. */
__attribute__((weak)) void *cuda_side_stream(struct cuda_side *side);

/* What the stream is given next begins after all that the backend was asked so far. */
__attribute__((weak)) enum ij_status cuda_side_follow(struct cuda_side *side,
                                                      struct ij_err *reterr_err);
/* What the backend is asked next begins after all that the stream was given so far. */
__attribute__((weak)) enum ij_status cuda_side_lead(struct cuda_side *side,
                                                    struct ij_err *reterr_err);
/* Is everything done that cuda_side_lead was called for? Does not wait. */
__attribute__((weak)) enum ij_status cuda_side_is_done(struct cuda_side *side, bool *ret_done,
                                                       struct ij_err *reterr_err);

#ifdef __cplusplus
}
#endif
#endif
