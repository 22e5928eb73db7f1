/*
 * The CUDA backend as the rest of the engine sees it.
 *
 * These functions are there only in programs that were linked with the backend; elsewhere the weak
 * references are NULL, so a caller asks `cuda_device_built` first.
 */
#ifndef GPU_OPS_CUDA_DEVICE_H
#define GPU_OPS_CUDA_DEVICE_H

#include "gpu/ops/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Opens GPU `device` (as CUDA counts them). IJ_UNSUPPORTED with the reason where there is no
 * driver, no GPU, one older than compute capability 8.0, or no cuBLASLt library; IJ_DEVICE where
 * the GPU fails. The caller frees with ops->free. One thread at a time uses a backend.
 */
__attribute__((weak)) enum ij_status backend_cuda_new(int device, struct backend **ret_backend,
                                                      struct ij_err *reterr_err);

/* Could it be opened? Touches the driver, not the GPU. The same statuses; cuBLASLt is not asked. */
__attribute__((weak)) enum ij_status backend_cuda_usable(int device, struct ij_err *reterr_err);

/* "NVIDIA H100 80GB HBM3, driver 13.0, runtime 13.0": what a check of the GPU stands for. */
__attribute__((weak)) enum ij_status backend_cuda_name(int device, char *ret_name, size_t size,
                                                       struct ij_err *reterr_err);

/* After each operation wait for it, so that an error is the operation's own; slow. */
__attribute__((weak)) void backend_cuda_check_each(struct backend *backend, bool on);

static inline bool cuda_device_built(void)
{
    return backend_cuda_new != 0;
}

#ifdef __cplusplus
}
#endif
#endif
