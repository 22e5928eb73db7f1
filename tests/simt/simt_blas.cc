/* See cublasLt.h in this folder. Also the table that the real backend fills by dlopen. */
#include "tests/simt/cublasLt.h"

#include <stdlib.h>

#include "gpu/ops/cuda/cuda_blas.h"
#include "tests/simt/cuda_bf16.h"
#include "tests/simt/cuda_fp8.h"
#include "tests/simt/simt_memory.h"

struct simt_layout {
    cudaDataType type;
    int64_t rows, cols, ld;
};
struct simt_product {
    cublasOperation_t transpose_a, transpose_b;
    cublasLtEpilogue_t epilogue;
    const void *bias;
    void *aux;
    int64_t aux_ld;
    int32_t aux_type, bias_type, scale_mode[2];
    int8_t fast;
    const float *scale[2]; /* of the first and the second factor */
};
struct simt_preference {
    size_t workspace;
    uint32_t alignment;
};

#define ALGORITHM_MARK 0x51u
static int last_algorithm;
static bool spoilt, outer_refused;

void simt_blas_spoil(bool on)
{
    spoilt = on;
}

void simt_blas_refuse_outer(bool on)
{
    outer_refused = on;
}

int simt_blas_last_algorithm(void)
{
    return last_algorithm;
}

enum ij_status cuda_blas_load(struct cuda_blas *ret_blas, struct ij_err *)
{
#define X(name) ret_blas->name = cublasLt##name;
    CUDA_BLAS_LIST(X)
#undef X
    return IJ_OK;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    *handle = (cublasLtHandle_t)calloc(1, 1);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion(void)
{
    return 130000;
}

const char *cublasLtGetStatusName(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_NOT_SUPPORTED ? "CUBLAS_STATUS_NOT_SUPPORTED"
                                                 : "CUBLAS_STATUS_INVALID_VALUE";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t,
                                        cudaDataType_t scale)
{
    if (scale != CUDA_R_32F)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    *desc = (cublasLtMatmulDesc_t)calloc(1, sizeof(**desc));
    (*desc)->epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    (*desc)->aux_type = (*desc)->bias_type = -1;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    free(desc);
    return CUBLAS_STATUS_SUCCESS;
}

#define STORE(field)                                                                               \
    if (bytes != sizeof(field))                                                                    \
        return CUBLAS_STATUS_INVALID_VALUE;                                                        \
    memcpy(&field, value, bytes);                                                                  \
    return CUBLAS_STATUS_SUCCESS

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes)
{
    switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
        STORE(desc->transpose_a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
        STORE(desc->transpose_b);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
        STORE(desc->epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
        STORE(desc->bias);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
        STORE(desc->bias_type);
    case CUBLASLT_MATMUL_DESC_FAST_ACCUM:
        STORE(desc->fast);
    case CUBLASLT_MATMUL_DESC_A_SCALE_MODE:
        STORE(desc->scale_mode[0]);
    case CUBLASLT_MATMUL_DESC_B_SCALE_MODE:
        STORE(desc->scale_mode[1]);
    case CUBLASLT_MATMUL_DESC_A_SCALE_POINTER:
        STORE(desc->scale[0]);
    case CUBLASLT_MATMUL_DESC_B_SCALE_POINTER:
        STORE(desc->scale[1]);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
        STORE(desc->aux);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
        STORE(desc->aux_ld);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE:
        STORE(desc->aux_type);
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld)
{
    if (rows == 0 || cols == 0 || ld < (int64_t)rows)
        return CUBLAS_STATUS_INVALID_VALUE;
    *layout = (cublasLtMatrixLayout_t)calloc(1, sizeof(**layout));
    **layout = {type, (int64_t)rows, (int64_t)cols, ld};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    free(layout);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    *preference = (cublasLtMatmulPreference_t)calloc(1, sizeof(**preference));
    (*preference)->alignment = 256; /* what the library assumes unless told */
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    free(preference);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes)
{
    if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) {
        STORE(preference->workspace);
    }
    uint32_t alignment;
    if (bytes != sizeof(alignment))
        return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(&alignment, value, bytes);
    preference->alignment = alignment < preference->alignment ? alignment : preference->alignment;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- Checks ---------------------------------------------------------------------------------- */

static bool gelu(const struct simt_product *p)
{
    return p->epilogue == CUBLASLT_EPILOGUE_GELU_BIAS ||
           p->epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
}

static bool wants_bias(const struct simt_product *p)
{
    return gelu(p) || p->epilogue == CUBLASLT_EPILOGUE_BIAS;
}

static bool wants_aux(const struct simt_product *p)
{
    return p->epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS || p->epilogue == CUBLASLT_EPILOGUE_DGELU;
}

/* The bias has d's type, but for float8 factors it is always bfloat16. */
static bool bias_is_typed(const struct simt_product *p, const struct simt_layout *a,
                          const struct simt_layout *d)
{
    int32_t wanted = a->type == CUDA_R_8F_E4M3 ? CUDA_R_16BF : d->type;
    return (p->bias_type == -1 ? (int32_t)d->type : p->bias_type) == wanted;
}

/* float8: the first factor transposed, rows of 16 bytes, bfloat16 or float32 results; scales per
 * row of both factors or of neither. */
static cublasStatus_t check_float8(const struct simt_product *p, const struct simt_layout *a,
                                   const struct simt_layout *b, const struct simt_layout *d)
{
    bool outer = p->scale_mode[0] == CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
    if (p->transpose_a != CUBLAS_OP_T || p->transpose_b != CUBLAS_OP_N || a->ld % 16 != 0 ||
        b->ld % 16 != 0 || d->rows % 16 != 0 || wants_aux(p) || gelu(p))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (p->scale_mode[0] != p->scale_mode[1] || !p->scale[0] != !p->scale[1] ||
        outer != (p->scale[0] != nullptr))
        return CUBLAS_STATUS_INVALID_VALUE;
    return outer && outer_refused ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t check(const struct simt_product *p, const struct simt_layout *a,
                            const struct simt_layout *b, const struct simt_layout *c,
                            const struct simt_layout *d)
{
    bool ta = p->transpose_a == CUBLAS_OP_T, tb = p->transpose_b == CUBLAS_OP_T;
    int64_t m = ta ? a->cols : a->rows, k = ta ? a->rows : a->cols;
    int64_t kb = tb ? b->cols : b->rows, n = tb ? b->rows : b->cols;
    if (k != kb || d->rows != m || d->cols != n || c->rows != m || c->cols != n)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (a->type != b->type || c->type != d->type)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (a->type == CUDA_R_32F && d->type != CUDA_R_32F)
        return CUBLAS_STATUS_NOT_SUPPORTED; /* no such row in the library's table of types */
    if (wants_bias(p) != (p->bias != nullptr) || (p->bias && !bias_is_typed(p, a, d)))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (a->type == CUDA_R_8F_E4M3)
        return check_float8(p, a, b, d);
    if (!wants_aux(p))
        return p->aux ? CUBLAS_STATUS_INVALID_VALUE : CUBLAS_STATUS_SUCCESS;
    bool aligned = p->aux_ld % 8 == 0 && (uintptr_t)p->aux % 16 == 0;
    bool typed = p->aux_type == -1 || p->aux_type == (int32_t)d->type;
    return p->aux && p->aux_ld >= m && aligned && typed ? CUBLAS_STATUS_SUCCESS
                                                        : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t *results, int *count)
{
    cublasStatus_t status = check(desc, a, b, c, d);
    *count = 0;
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    for (int i = 0; i < wanted && i < 3; i++) {
        memset(&results[i], 0, sizeof(results[i]));
        results[i].algo.data[0] = ALGORITHM_MARK;
        results[i].algo.data[1] = (uint64_t)i;
        results[i].algo.data[2] = preference->alignment;
        results[i].algo.data[3] = preference->workspace;
        results[i].state = i == 1 ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
        *count = i + 1;
    }
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algo,
                                       cublasLtMatmulHeuristicResult_t *result)
{
    result->state = CUBLAS_STATUS_SUCCESS;
    result->workspaceSize = algo->data[3];
    return algo->data[0] == ALGORITHM_MARK ? check(desc, a, b, c, d) : CUBLAS_STATUS_INVALID_VALUE;
}

/* ---- The product ----------------------------------------------------------------------------- */

static float element(const struct simt_layout *l, const void *data, int64_t row, int64_t col)
{
    int64_t at = col * l->ld + row;
    if (l->type == CUDA_R_32F)
        return ((const float *)data)[at];
    if (l->type == CUDA_R_8F_E4M3)
        return simt_e4m3_value(((const uint8_t *)data)[at]);
    return __uint_as_float((unsigned)((const uint16_t *)data)[at] << 16);
}

static void set(cudaDataType type, void *data, int64_t at, float value)
{
    if (type == CUDA_R_32F)
        ((float *)data)[at] = value;
    else
        ((uint16_t *)data)[at] = __float2bfloat16_rn(value).bits;
}

static float at_type(cudaDataType type, const void *data, int64_t at)
{
    struct simt_layout l = {type, 1, 1, 1};
    return element(&l, data, 0, at);
}

static double tanh_argument(double x)
{
    return 0.7978845608028654 * (x + 0.044715 * x * x * x);
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(tanh_argument(x)));
}

static double gelu_tanh_slope(double x)
{
    double t = tanh(tanh_argument(x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 3 * 0.044715 * x * x);
}

static float finish(const struct simt_product *p, const struct simt_layout *d, int64_t row,
                    int64_t col, double value)
{
    cudaDataType bias_type = p->bias_type == -1 ? d->type : (cudaDataType)p->bias_type;
    if (wants_bias(p))
        value += at_type(bias_type, p->bias, row);
    int64_t aux_at = col * p->aux_ld + row;
    if (p->epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS)
        set(d->type, p->aux, aux_at, (float)value);
    if (gelu(p))
        value = gelu_tanh(value);
    if (p->epilogue == CUBLASLT_EPILOGUE_DGELU)
        value *= gelu_tanh_slope(at_type(d->type, p->aux, aux_at));
    return (float)value;
}

static double dot(const struct simt_product *p, const struct simt_layout *al, const void *a,
                  const struct simt_layout *bl, const void *b, int64_t row, int64_t col, int64_t k)
{
    double sum = 0;
    bool ta = p->transpose_a == CUBLAS_OP_T, tb = p->transpose_b == CUBLAS_OP_T;
    for (int64_t i = 0; i < k; i++)
        sum += (double)element(al, a, ta ? i : row, ta ? row : i) *
               (double)element(bl, b, tb ? col : i, tb ? i : col);
    return sum;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t al, const void *b,
                              cublasLtMatrixLayout_t bl, const void *beta, const void *c,
                              cublasLtMatrixLayout_t cl, void *d, cublasLtMatrixLayout_t dl,
                              const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspace_bytes, cudaStream_t)
{
    cublasStatus_t status = check(desc, al, bl, cl, dl);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    if (!algo || algo->data[0] != ALGORITHM_MARK || algo->data[1] == 1 || !workspace ||
        workspace_bytes < algo->data[3])
        return CUBLAS_STATUS_INVALID_VALUE;
    if (((uintptr_t)a | (uintptr_t)b | (uintptr_t)c | (uintptr_t)d) % algo->data[2] != 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    last_algorithm = (int)algo->data[1];
    float scale = *(const float *)alpha, keep = *(const float *)beta;
    int64_t k = desc->transpose_a == CUBLAS_OP_T ? al->rows : al->cols;
    simt_memory_open();
    for (int64_t col = 0; col < dl->cols; col++)
        for (int64_t row = 0; row < dl->rows; row++) {
            double value =
                (spoilt ? 1.001 : 1.0) * (double)scale * dot(desc, al, a, bl, b, row, col, k);
            if (desc->scale[0])
                value *= (double)desc->scale[0][row] * (double)desc->scale[1][col];
            if (keep != 0)
                value += (double)keep * (double)element(cl, c, row, col);
            set(dl->type, d, col * dl->ld + row, finish(desc, dl, row, col, value));
        }
    simt_memory_close();
    return CUBLAS_STATUS_SUCCESS;
}
