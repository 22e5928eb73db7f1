/* Products, their plans and the choice of algorithms. See cuda_gemm.h. */
#include "gpu/ops/cuda/cuda_gemm.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/ops/cuda/cuda_mem.h"
#include "gpu/ops/cuda/cuda_gemm_plan.h"
#include "gpu/ops/cuda/cuda_view.h"

enum ij_status cuda_gemm_error(struct cuda_backend *cuda, cublasStatus_t status, const char *call,
                               struct ij_err *reterr_err)
{
    const char *name = cuda->gemm ? cuda->gemm->blas.GetStatusName(status) : "not started";
    (void)cudaGetLastError();
    return IJ_ERR(reterr_err, status == CUBLAS_STATUS_ALLOC_FAILED ? IJ_NO_MEMORY : IJ_DEVICE,
                  "GPU %d: cuBLASLt %s in %s (%lld x %lld x %lld), in %.80s", cuda->device, name,
                  cuda->last_op, cuda->last_shape[0], cuda->last_shape[1], cuda->last_shape[2],
                  call);
}

/* ---- Opening --------------------------------------------------------------------------------- */

static enum ij_status gemm_open(struct cuda_backend *cuda, struct cuda_gemm *gemm,
                                struct ij_err *reterr_err)
{
    struct cudaDeviceProp properties;
    IJ_TRY(cuda_blas_load(&gemm->blas, reterr_err));
    gemm->plans = mem_array(struct gemm_plan, CUDA_GEMM_PLANS);
    if (!gemm->plans)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the table of products");
    BLAS_TRY(cuda, gemm->blas.Create(&gemm->handle));
    CUDA_TRY(cuda, cudaMalloc(&gemm->workspace, CUDA_GEMM_WORKSPACE));
    CUDA_TRY(cuda, cudaMalloc((void **)&gemm->bias, CUDA_GEMM_BIAS_MAX * sizeof(uint16_t)));
    CUDA_TRY(cuda, cudaGetDeviceProperties(&properties, cuda->device));
    snprintf(gemm->tune_name, sizeof(gemm->tune_name), "%s|%zu", properties.name,
             gemm->blas.GetVersion());
    for (char *c = gemm->tune_name; *c; c++)
        *c = *c == ' ' ? '_' : *c;
    const char *path = getenv("IJEPAD_CUDA_TUNE");
    if (path && *path && !(gemm->tune_path = mem_strdup(path)))
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a file name");
    return IJ_OK;
}

enum ij_status cuda_gemm_new(struct cuda_backend *cuda, struct cuda_gemm **ret_gemm,
                             struct ij_err *reterr_err)
{
    struct cuda_gemm *gemm = mem_new(struct cuda_gemm);
    if (!gemm)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for matrix products");
    enum ij_status status = gemm_open(cuda, gemm, reterr_err);
    if (status != IJ_OK) {
        cuda_gemm_free(gemm);
        return status;
    }
    *ret_gemm = gemm;
    return IJ_OK;
}

void cuda_gemm_free(struct cuda_gemm *gemm)
{
    if (!gemm)
        return;
    if (gemm->handle)
        (void)gemm->blas.Destroy(gemm->handle);
    (void)cudaFree(gemm->workspace);
    (void)cudaFree(gemm->bias);
    mem_free(gemm->plans);
    mem_free(gemm->tune_path);
    mem_free(gemm);
}

/* ---- Descriptors ----------------------------------------------------------------------------- */

static cudaDataType_t gemm_type(enum tensor_type type)
{
    return type == TENSOR_BF16 ? CUDA_R_16BF : type == TENSOR_E4M3 ? CUDA_R_8F_E4M3 : CUDA_R_32F;
}

static cublasLtEpilogue_t gemm_epilogue(enum cuda_epilogue epilogue)
{
    switch (epilogue) {
    case CUDA_EPILOGUE_BIAS:
        return CUBLASLT_EPILOGUE_BIAS;
    case CUDA_EPILOGUE_GELU_BIAS:
        return CUBLASLT_EPILOGUE_GELU_BIAS;
    case CUDA_EPILOGUE_GELU_AUX_BIAS:
        return CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    case CUDA_EPILOGUE_DGELU:
        return CUBLASLT_EPILOGUE_DGELU;
    case CUDA_EPILOGUE_NONE:
        break;
    }
    return CUBLASLT_EPILOGUE_DEFAULT;
}

static __global__ void gemm_bias_kernel(const float *bias, int64_t count, uint16_t *y)
{
    int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        y[i] = cuda_to_bf16(bias[i]);
}

/* The library wants the bias in the type of d, but for float8 factors always in bfloat16. */
static bool gemm_bias_is_float32(const struct cuda_product *p)
{
    return p->d.type == TENSOR_F32 && p->a.type != TENSOR_E4M3;
}

static enum ij_status gemm_bias(struct cuda_backend *cuda, const struct cuda_product *p,
                                const void **ret_bias, struct ij_err *reterr_err)
{
    *ret_bias = p->bias;
    if (!p->bias || gemm_bias_is_float32(p))
        return IJ_OK;
    *ret_bias = p->bias_bf16;
    if (p->bias_bf16 && (uintptr_t)p->bias_bf16 % 16 == 0)
        return IJ_OK;
    if (p->n > CUDA_GEMM_BIAS_MAX)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "%s: a bias of %lld values", cuda->last_op,
                      (long long)p->n);
    CUDA_LAUNCH(gemm_bias_kernel, dim3((unsigned)(p->n + 255) / 256), dim3(256), 0, cuda->stream,
                p->bias, p->n, cuda->gemm->bias);
    *ret_bias = cuda->gemm->bias;
    return IJ_OK;
}

#define GEMM_SET(attribute, value)                                                                 \
    BLAS_TRY(cuda, blas->MatmulDescSetAttribute(d->product, (attribute), &(value), sizeof(value)))

static enum ij_status gemm_epilogue_set(struct cuda_backend *cuda, const struct cuda_product *p,
                                        struct gemm_descriptors *d, struct ij_err *reterr_err)
{
    const struct cuda_blas *blas = &cuda->gemm->blas;
    cublasLtEpilogue_t epilogue = gemm_epilogue(p->epilogue);
    GEMM_SET(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    const void *bias = NULL;
    IJ_TRY(gemm_bias(cuda, p, &bias, reterr_err));
    int32_t bias_type = gemm_bias_is_float32(p) ? CUDA_R_32F : CUDA_R_16BF;
    if (bias) {
        GEMM_SET(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
        GEMM_SET(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, bias_type);
    }
    if (!p->aux.data)
        return IJ_OK;
    const void *aux = p->aux.data;
    int64_t stride = p->n;
    int32_t type = (int32_t)gemm_type(p->aux.type);
    GEMM_SET(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux);
    GEMM_SET(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, stride);
    GEMM_SET(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, type);
    return IJ_OK;
}

/* Scales of either factor's rows; the library's first factor is our second. */
static enum ij_status gemm_scales_set(struct cuda_backend *cuda, const struct cuda_product *p,
                                      struct gemm_descriptors *d, struct ij_err *reterr_err)
{
    const struct cuda_blas *blas = &cuda->gemm->blas;
    const void *first = p->b_scale, *second = p->a_scale;
    int32_t mode = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
    int8_t fast = 1;
    if (p->a.type != TENSOR_E4M3)
        return IJ_OK;
    GEMM_SET(CUBLASLT_MATMUL_DESC_FAST_ACCUM, fast);
    if (!p->a_scale)
        return IJ_OK;
    GEMM_SET(CUBLASLT_MATMUL_DESC_A_SCALE_MODE, mode);
    GEMM_SET(CUBLASLT_MATMUL_DESC_B_SCALE_MODE, mode);
    GEMM_SET(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, first);
    GEMM_SET(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, second);
    return IJ_OK;
}

/* The transpose of the product: d^T (n, m) = op(b)^T op(a)^T, all column-major. */
static enum ij_status gemm_describe(struct cuda_backend *cuda, const struct cuda_product *p,
                                    struct gemm_descriptors *d, struct ij_err *reterr_err)
{
    const struct cuda_blas *blas = &cuda->gemm->blas;
    cudaDataType_t in = gemm_type(p->a.type), out = gemm_type(p->d.type);
    cublasOperation_t first = p->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    cublasOperation_t second = p->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    BLAS_TRY(cuda, blas->MatmulDescCreate(&d->product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    GEMM_SET(CUBLASLT_MATMUL_DESC_TRANSA, first);
    GEMM_SET(CUBLASLT_MATMUL_DESC_TRANSB, second);
    int64_t b_columns = p->transpose_b ? p->k : p->n, a_columns = p->transpose_a ? p->m : p->k;
    int64_t b_rows = p->transpose_b ? p->n : p->k, a_rows = p->transpose_a ? p->k : p->m;
    BLAS_TRY(cuda,
             blas->MatrixLayoutCreate(&d->a, in, (uint64_t)b_columns, (uint64_t)b_rows, b_columns));
    BLAS_TRY(cuda,
             blas->MatrixLayoutCreate(&d->b, in, (uint64_t)a_columns, (uint64_t)a_rows, a_columns));
    BLAS_TRY(cuda, blas->MatrixLayoutCreate(&d->d, out, (uint64_t)p->n, (uint64_t)p->m, p->n));
    IJ_TRY(gemm_scales_set(cuda, p, d, reterr_err));
    return gemm_epilogue_set(cuda, p, d, reterr_err);
}

static void gemm_descriptors_free(const struct cuda_blas *blas, struct gemm_descriptors *d)
{
    if (d->product)
        (void)blas->MatmulDescDestroy(d->product);
    if (d->a)
        (void)blas->MatrixLayoutDestroy(d->a);
    if (d->b)
        (void)blas->MatrixLayoutDestroy(d->b);
    if (d->d)
        (void)blas->MatrixLayoutDestroy(d->d);
}

enum ij_status cuda_gemm_start(struct cuda_backend *cuda, const struct cuda_product *p,
                               const struct gemm_descriptors *d, const void *c, void *to,
                               const cublasLtMatmulAlgo_t *algorithm, struct ij_err *reterr_err)
{
    struct cuda_gemm *gemm = cuda->gemm;
    BLAS_TRY(cuda, gemm->blas.Matmul(gemm->handle, d->product, &p->alpha, p->b.data, d->a,
                                     p->a.data, d->b, &p->beta, c, d->d, to, d->d, algorithm,
                                     gemm->workspace, CUDA_GEMM_WORKSPACE, cuda->stream));
    return IJ_OK;
}

static enum ij_status gemm_described(struct cuda_backend *cuda, const struct cuda_product *p,
                                     struct gemm_descriptors *d, struct ij_err *reterr_err)
{
    cublasLtMatmulAlgo_t algorithm;
    IJ_TRY(gemm_describe(cuda, p, d, reterr_err));
    IJ_TRY(cuda_gemm_choose(cuda, p, d, &algorithm, reterr_err));
    return cuda_gemm_start(cuda, p, d, p->beta != 0 ? p->c.data : p->d.data, p->d.data, &algorithm,
                           reterr_err);
}

enum ij_status cuda_gemm_run_as_it_is(struct cuda_backend *cuda, const struct cuda_product *p,
                                      struct ij_err *reterr_err)
{
    struct gemm_descriptors d;
    memset(&d, 0, sizeof(d));
    if (p->a.type != p->b.type)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "%s: the factors must have one type",
                      cuda->last_op);
    if (p->beta != 0 && p->c.type != p->d.type)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED, "%s: what is added must have the result's type",
                      cuda->last_op);
    enum ij_status status = gemm_described(cuda, p, &d, reterr_err);
    gemm_descriptors_free(&cuda->gemm->blas, &d);
    return status;
}

enum ij_status cuda_gemm_run(struct cuda_backend *cuda, const struct cuda_product *p,
                             struct ij_err *reterr_err)
{
    if (p->a.type == TENSOR_E4M3 || p->b.type == TENSOR_E4M3)
        return cuda_float8_run(cuda, p, reterr_err);
    return cuda_gemm_run_as_it_is(cuda, p, reterr_err);
}
