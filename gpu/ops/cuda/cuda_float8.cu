/*
 * Products of float8 rows: d[r, c] = a_scale[r] b_scale[c] sum(a[r] b[c]) [+ bias] [+ beta c].
 *
 * On compute capability 9.0 cuBLASLt (12.9 and newer) takes one scale per row of either factor.
 * Where it does not, the sums are made with scales of 1 and a pass of ours does the rest: the same
 * numbers, one pass over d more. Which of the two is found out once per kind of result. Partial
 * sums are kept as the tensor cores do by themselves (fast accumulation).
 */
#include "gpu/ops/cuda/cuda_gemm_plan.h"
#include "gpu/ops/cuda/cuda_view.h"

#define FLOAT8_THREADS 256
#define FLOAT8_OUTER   90 /* compute capability with scales per row */

struct float8_finish {
    struct tensor sums, c, d; /* (rows, columns); c absent: nothing is added */
    const float *row_scale, *column_scale, *bias;
    int64_t rows, columns;
    float beta;
};

template <int PACK> static __global__ void float8_finish_kernel(struct float8_finish f)
{
    int64_t packs = f.columns / PACK, count = f.rows * packs;
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        int64_t row = i / packs, column = i % packs * PACK, at = row * f.columns + column;
        float v[PACK], scale[PACK], bias[PACK] = {}, c[PACK] = {};
        cuda_load<PACK>(f.sums, at, v);
        cuda_load<PACK>(f.column_scale, column, scale);
        if (f.bias)
            cuda_load<PACK>(f.bias, column, bias);
        if (f.c.data)
            cuda_load<PACK>(f.c, at, c);
        for (int k = 0; k < PACK; k++)
            v[k] = v[k] * (f.row_scale[row] * scale[k]) + bias[k] + f.beta * c[k];
        cuda_store<PACK>(f.d, at, v);
    }
}

static void float8_finish(struct cuda_backend *cuda, const struct float8_finish *f)
{
    int64_t count = f->rows * f->columns;
    bool packs =
        cuda_packs(f->columns, f->sums.data, f->c.data, f->d.data, f->column_scale, f->bias);
    dim3 grid(cuda_blocks(cuda, packs ? count / 8 : count, FLOAT8_THREADS)), block(FLOAT8_THREADS);
    if (packs)
        CUDA_LAUNCH((float8_finish_kernel<8>), grid, block, 0, cuda->stream, *f);
    else
        CUDA_LAUNCH((float8_finish_kernel<1>), grid, block, 0, cuda->stream, *f);
}

/* Sums with scales of 1, in d, or beside it where d holds what is to be added; then the rest. */
static enum ij_status float8_in_two(struct cuda_backend *cuda, const struct cuda_product *p,
                                    struct ij_err *reterr_err)
{
    struct cuda_product sums = *p;
    struct tensor none = {NULL, TENSOR_F32};
    sums.a_scale = sums.b_scale = NULL;
    sums.bias = NULL;
    sums.bias_bf16 = NULL;
    sums.epilogue = CUDA_EPILOGUE_NONE;
    sums.beta = 0;
    if (p->beta != 0) {
        void *memory;
        IJ_TRY(cuda_scratch(cuda, (size_t)(p->m * p->n) * sizeof(float), &memory, reterr_err));
        sums.d.data = memory;
        sums.d.type = TENSOR_F32;
    }
    IJ_TRY(cuda_gemm_run_as_it_is(cuda, &sums, reterr_err));
    struct float8_finish finish = {
        sums.d, p->beta != 0 ? p->c : none, p->d, p->a_scale, p->b_scale, p->bias, p->m, p->n,
        p->beta};
    float8_finish(cuda, &finish);
    return IJ_OK;
}

enum ij_status cuda_float8_run(struct cuda_backend *cuda, const struct cuda_product *p,
                               struct ij_err *reterr_err)
{
    bool *refused = &cuda->gemm->outer_refused[p->d.type == TENSOR_BF16][p->beta != 0];
    struct ij_err unused = IJ_ERR_INIT;
    if (!p->a_scale || !p->b_scale || p->transpose_a || !p->transpose_b || p->k % 16 != 0 ||
        p->n % 16 != 0)
        return IJ_ERR(reterr_err, IJ_UNSUPPORTED,
                      "%s: %lld x %lld in float8, which needs multiples of 16 and scales",
                      cuda->last_op, (long long)p->k, (long long)p->n);
    if (cuda->architecture == FLOAT8_OUTER && !*refused) {
        if (cuda_gemm_run_as_it_is(cuda, p, &unused) == IJ_OK)
            return IJ_OK;
        *refused = true;
    }
    return float8_in_two(cuda, p, reterr_err);
}
