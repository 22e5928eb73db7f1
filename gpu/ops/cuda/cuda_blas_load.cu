/*
 * Finds cuBLASLt: IJEPAD_CUBLASLT (a path), else by name (this version, then the one before), else
 * in /usr/local/cuda.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "gpu/ops/cuda/cuda_blas.h"

static void *blas_open(char (&first_error)[256])
{
    static const char *const places[] = {"libcublasLt.so.%d",
                                         "/usr/local/cuda/lib64/libcublasLt.so.%d"};
    const char *path = getenv("IJEPAD_CUBLASLT");
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (path && !library)
        snprintf(first_error, sizeof(first_error), "%s", dlerror());
    for (int version = CUBLAS_VER_MAJOR; !path && version >= CUBLAS_VER_MAJOR - 1; version--)
        for (int i = 0; !library && i < 2; i++) {
            char name[64];
            snprintf(name, sizeof(name), places[i], version);
            library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
            if (!library && !first_error[0])
                snprintf(first_error, sizeof(first_error), "%s", dlerror());
        }
    return library;
}

enum ij_status cuda_blas_load(struct cuda_blas *ret_blas, struct ij_err *reterr_err)
{
    char first_error[256] = "";
    void *library = blas_open(first_error);
    if (!library)
        return IJ_ERR_FIELD(
            reterr_err, IJ_UNSUPPORTED, "device",
            "the cuBLASLt library cannot be loaded: %s (IJEPAD_CUBLASLT can name it)", first_error);
#define X(function)                                                                                \
    ret_blas->function = (decltype(ret_blas->function))dlsym(library, "cublasLt" #function);       \
    if (!ret_blas->function)                                                                       \
        return IJ_ERR_FIELD(reterr_err, IJ_UNSUPPORTED, "device",                                  \
                            "the cuBLASLt library has no function cublasLt" #function);
    CUDA_BLAS_LIST(X)
#undef X
    return IJ_OK;
}
