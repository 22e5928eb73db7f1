/*
 * Matrix products by cuBLASLt, row-major: d = alpha op(a) op(b) + beta c [+ bias] [gelu].
 *
 * cuBLASLt thinks in columns, so the product is handed over as its transpose with the operands
 * exchanged. A plan (descriptors and algorithm) is made once per shape and kept. The algorithm is
 * the library's first choice; with IJEPAD_CUDA_TUNE=FILE the best CUDA_GEMM_TRIES choices are timed
 * once per shape and the winner is kept in FILE, one line per shape, under the GPU's name and the
 * library's version: the same file gives the same algorithms, hence the same bits.
 */
#ifndef GPU_OPS_CUDA_GEMM_H
#define GPU_OPS_CUDA_GEMM_H

#include "gpu/ops/cuda/cuda_backend.h"
#include "gpu/ops/cuda_plan.h"

#define CUDA_GEMM_TRIES     8
#define CUDA_GEMM_WORKSPACE CUDA_PLAN_WORKSPACE

struct cuda_gemm;

enum cuda_epilogue {
    CUDA_EPILOGUE_NONE,
    CUDA_EPILOGUE_BIAS,
    CUDA_EPILOGUE_GELU_BIAS,     /* tanh form */
    CUDA_EPILOGUE_GELU_AUX_BIAS, /* the same; `aux` receives the value before GELU */
    CUDA_EPILOGUE_DGELU          /* times the slope at `aux`, tanh form */
};

/* d (m, n) from a (m, k) and b (k, n); transposed: a is stored (k, m), b is stored (n, k).
 * a and b have one type; c has d's and may be d. E4M3 (cuda_float8.cu): b is transposed, a is not,
 * k and n are multiples of 16, epilogues are NONE or BIAS. */
struct cuda_product {
    int64_t m, n, k;
    bool transpose_a, transpose_b;
    struct tensor a, b, c, d;
    const float *a_scale, *b_scale; /* (m), (n): of E4M3 factors */
    float alpha, beta;
    enum cuda_epilogue epilogue;
    const float *bias;         /* (n) float32; the library wants it in d's type: */
    const uint16_t *bias_bf16; /* the same in bfloat16, or NULL: rounded here */
    struct tensor aux;         /* (m, n), d's type */
};

IJ_MUST_USE enum ij_status cuda_gemm_new(struct cuda_backend *cuda, struct cuda_gemm **ret_gemm,
                                         struct ij_err *reterr_err);
void cuda_gemm_free(struct cuda_gemm *gemm);

/* IJ_DEVICE names the product and the library's status. m, n >= 1; k 0 gives beta c. */
IJ_MUST_USE enum ij_status cuda_gemm_run(struct cuda_backend *cuda, const struct cuda_product *p,
                                         struct ij_err *reterr_err);

#endif
