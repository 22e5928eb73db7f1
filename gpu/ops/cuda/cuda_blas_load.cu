/* Finds cuBLASLt: IJEPAD_CUBLASLT (a path), else the version this was built with, by name. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpu/ops/cuda/cuda_blas.h"

enum ij_status cuda_blas_load(struct cuda_blas *ret_blas, struct ij_err *reterr_err)
{
    char name[64];
    snprintf(name, sizeof(name), "libcublasLt.so.%d", CUBLAS_VER_MAJOR);
    const char *path = getenv("IJEPAD_CUBLASLT");
    void *library = dlopen(path ? path : name, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "device",
                            "the cuBLASLt library cannot be loaded: %s", dlerror());
#define X(function)                                                                                \
    ret_blas->function = (decltype(ret_blas->function))dlsym(library, "cublasLt" #function);       \
    if (!ret_blas->function)                                                                       \
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "device",                                  \
                            "the cuBLASLt library has no function cublasLt" #function);
    CUDA_BLAS_LIST(X)
#undef X
    return IJ_OK;
}
