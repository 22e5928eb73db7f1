/*
 * cuBLASLt as a table of functions, found when the program runs: a worker starts on a machine that
 * has no CUDA libraries.
 */
#ifndef GPU_OPS_CUDA_BLAS_H
#define GPU_OPS_CUDA_BLAS_H

#include <cublasLt.h>

#include "base/status.h"

#define CUDA_BLAS_LIST(X)                                                                          \
    X(Create)                                                                                      \
    X(Destroy)                                                                                     \
    X(GetVersion)                                                                                  \
    X(GetStatusName)                                                                               \
    X(Matmul)                                                                                      \
    X(MatmulDescCreate)                                                                            \
    X(MatmulDescDestroy)                                                                           \
    X(MatmulDescSetAttribute)                                                                      \
    X(MatrixLayoutCreate)                                                                          \
    X(MatrixLayoutDestroy)                                                                         \
    X(MatmulPreferenceCreate)                                                                      \
    X(MatmulPreferenceDestroy)                                                                     \
    X(MatmulPreferenceSetAttribute)                                                                \
    X(MatmulAlgoGetHeuristic)                                                                      \
    X(MatmulAlgoCheck)

/* cuda_blas.Matmul is cublasLtMatmul, and so on. */
struct cuda_blas {
#define X(name) decltype(&cublasLt##name) name;
    CUDA_BLAS_LIST(X)
#undef X
};

/* Fills the table once per process. IJ_UNSUPPORTED, with the names that were tried. */
IJ_MUST_USE enum ij_status cuda_blas_load(struct cuda_blas *ret_blas, struct ij_err *reterr_err);

#endif
