/* What the files of the matrix products share: the state, and the choice of an algorithm. */
#ifndef GPU_OPS_CUDA_GEMM_PLAN_H
#define GPU_OPS_CUDA_GEMM_PLAN_H

#include "gpu/ops/cuda/cuda_blas.h"
#include "gpu/ops/cuda/cuda_gemm.h"

#define CUDA_GEMM_PLANS    4096 /* a power of two; the table is emptied when 3/4 full */
#define CUDA_GEMM_BIAS_MAX ((int64_t)(CUDA_PLAN_BIAS / sizeof(uint16_t)))

/* What an algorithm depends on. Compared as bytes: zeroed before it is filled. */
struct gemm_key {
    int64_t m, n, k;
    int32_t transpose_a, transpose_b, type_in, type_out;
    int32_t epilogue, beta, alignment, scaled;
};

struct gemm_plan {
    struct gemm_key key;
    bool used;
    cublasLtMatmulAlgo_t algorithm;
};

struct gemm_descriptors {
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, d;
};

struct cuda_gemm {
    struct cuda_blas blas;
    cublasLtHandle_t handle;
    void *workspace; /* device; owned */
    uint16_t *bias;  /* device, CUDA_GEMM_BIAS_MAX values: a bias in bfloat16; owned */
    struct gemm_plan *plans;
    int plan_count;
    bool outer_refused[2][2]; /* scales per row of float8 factors: d is bfloat16; beta is not 0 */
    char *tune_path;          /* owned; NULL: the library's first choice */
    char tune_name[320];      /* "GPU|library version", without spaces */
};

enum ij_status cuda_gemm_error(struct cuda_backend *cuda, cublasStatus_t status, const char *call,
                               struct ij_err *reterr_err);

/* Runs a cuBLASLt call; on failure returns from the function with IJ_DEVICE. */
#define BLAS_TRY(cuda, call)                                                                       \
    do {                                                                                           \
        cublasStatus_t try_blas_ = (call);                                                         \
        if (try_blas_ != CUBLAS_STATUS_SUCCESS)                                                    \
            return cuda_gemm_error((cuda), try_blas_, #call, reterr_err);                          \
    } while (0)

/* cuda_gemm_run without the ways round what the library lacks. */
IJ_MUST_USE enum ij_status cuda_gemm_run_as_it_is(struct cuda_backend *cuda,
                                                  const struct cuda_product *p,
                                                  struct ij_err *reterr_err);
/* cuda_float8.cu: the product of E4M3 factors. */
IJ_MUST_USE enum ij_status cuda_float8_run(struct cuda_backend *cuda, const struct cuda_product *p,
                                           struct ij_err *reterr_err);

/* Starts the product with c and d in place of the product's own. */
IJ_MUST_USE enum ij_status cuda_gemm_start(struct cuda_backend *cuda, const struct cuda_product *p,
                                           const struct gemm_descriptors *d, const void *c,
                                           void *to, const cublasLtMatmulAlgo_t *algorithm,
                                           struct ij_err *reterr_err);

/* The algorithm for the product: from the table, from the file, timed, or the library's first. */
IJ_MUST_USE enum ij_status cuda_gemm_choose(struct cuda_backend *cuda, const struct cuda_product *p,
                                            const struct gemm_descriptors *d,
                                            cublasLtMatmulAlgo_t *ret_algorithm,
                                            struct ij_err *reterr_err);

#endif
