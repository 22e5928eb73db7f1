/*
 * Linear layers over cuda_gemm, and GELU.
 *
 * Bias and residual go into the product. GELU is a pass of its own, which reads the value before it
 * from `pre`, or from y where that is not kept; in the tanh form and bfloat16 the product's
 * epilogue does it.
 */
#include "gpu/ops/cuda/cuda_gemm.h"
#include "gpu/ops/cuda/cuda_view.h"

#define LINEAR_THREADS 256

/* ---- GELU ------------------------------------------------------------------------------------ */

/* erfc keeps its relative accuracy where 1 + erf would cancel. */
static __device__ inline float gelu_value(float x)
{
    return 0.5f * x * erfcf(-x * 0.70710678118654752f);
}

static __device__ inline float gelu_slope(float x)
{
    return 0.5f * erfcf(-x * 0.70710678118654752f) + x * expf(-0.5f * x * x) * 0.39894228040143268f;
}

/* 2 u of the tanh form x (1 + tanh u) / 2 = x / (1 + e^-2u). */
static __device__ inline float gelu_tanh_argument(float x)
{
    return 1.5957691216057308f * (x + 0.044715f * x * x * x);
}

static __device__ inline float gelu_tanh_value(float x)
{
    return x / (1.0f + expf(-gelu_tanh_argument(x)));
}

static __device__ inline float gelu_tanh_slope(float x)
{
    float s = 1.0f / (1.0f + expf(-gelu_tanh_argument(x)));
    return s + x * s * (1.0f - s) * 1.5957691216057308f * (1.0f + 0.134145f * x * x);
}

template <int PACK>
static __global__ void gelu_kernel(int64_t packs, bool tanh_form, struct tensor pre,
                                   struct tensor residual, struct tensor y)
{
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < packs; i += step) {
        float x[PACK], r[PACK];
        cuda_load<PACK>(pre, i * PACK, x);
        if (residual.data)
            cuda_load<PACK>(residual, i * PACK, r);
        for (int k = 0; k < PACK; k++)
            x[k] = (tanh_form ? gelu_tanh_value(x[k]) : gelu_value(x[k])) +
                   (residual.data ? r[k] : 0.0f);
        cuda_store<PACK>(y, i * PACK, x);
    }
}

template <int PACK>
static __global__ void gelu_backward_kernel(int64_t packs, bool tanh_form, struct tensor product,
                                            struct tensor pre, struct tensor dx, bool accumulate)
{
    int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < packs; i += step) {
        float g[PACK], x[PACK], old[PACK];
        cuda_load<PACK>(product, i * PACK, g);
        cuda_load<PACK>(pre, i * PACK, x);
        if (accumulate)
            cuda_load<PACK>(dx, i * PACK, old);
        for (int k = 0; k < PACK; k++)
            g[k] = g[k] * (tanh_form ? gelu_tanh_slope(x[k]) : gelu_slope(x[k])) +
                   (accumulate ? old[k] : 0.0f);
        cuda_store<PACK>(dx, i * PACK, g);
    }
}

void cuda_gelu(struct cuda_backend *cuda, int64_t count, bool tanh_form, struct tensor pre,
               struct tensor residual, struct tensor y)
{
    if (count == 0)
        return;
    if (cuda_packs(count, pre.data, residual.data, y.data, NULL, NULL))
        CUDA_LAUNCH((gelu_kernel<8>), dim3(cuda_blocks(cuda, count / 8, LINEAR_THREADS)),
                    dim3(LINEAR_THREADS), 0, cuda->stream, count / 8, tanh_form, pre, residual, y);
    else
        CUDA_LAUNCH((gelu_kernel<1>), dim3(cuda_blocks(cuda, count, LINEAR_THREADS)),
                    dim3(LINEAR_THREADS), 0, cuda->stream, count, tanh_form, pre, residual, y);
}

void cuda_gelu_backward(struct cuda_backend *cuda, int64_t count, bool tanh_form,
                        struct tensor product, struct tensor pre, struct tensor dx, bool accumulate)
{
    if (count == 0)
        return;
    if (cuda_packs(count, product.data, pre.data, dx.data, NULL, NULL))
        CUDA_LAUNCH((gelu_backward_kernel<8>), dim3(cuda_blocks(cuda, count / 8, LINEAR_THREADS)),
                    dim3(LINEAR_THREADS), 0, cuda->stream, count / 8, tanh_form, product, pre, dx,
                    accumulate);
    else
        CUDA_LAUNCH((gelu_backward_kernel<1>), dim3(cuda_blocks(cuda, count, LINEAR_THREADS)),
                    dim3(LINEAR_THREADS), 0, cuda->stream, count, tanh_form, product, pre, dx,
                    accumulate);
}

/* Does the library take GELU as the epilogue of this product: bfloat16, rows of 16 bytes? */
static bool linear_fuses(int64_t width, struct tensor pre, struct tensor y)
{
    return width % 8 == 0 && y.type == TENSOR_BF16 && (uintptr_t)y.data % 16 == 0 &&
           (!pre.data || (pre.type == TENSOR_BF16 && (uintptr_t)pre.data % 16 == 0));
}

/* ---- Forward --------------------------------------------------------------------------------- */

static bool linear_is_float8(const struct op_linear_forward *args)
{
    return args->x.data && args->weight.data && args->x.type == TENSOR_E4M3;
}

static enum ij_status linear_forward_check(struct cuda_backend *cuda,
                                           const struct op_linear_forward *args,
                                           struct ij_err *reterr_err)
{
    IJ_TRY(cuda_check_shape(cuda, args->rows, args->in, reterr_err));
    IJ_TRY(cuda_check_shape(cuda, args->rows, args->out, reterr_err));
    if (!linear_is_float8(args) || args->x.type != args->weight.type) {
        IJ_TRY(cuda_check(cuda, "x", args->x, reterr_err));
        IJ_TRY(cuda_check(cuda, "weight", args->weight, reterr_err));
    }
    IJ_TRY(cuda_check(cuda, "y", args->y, reterr_err));
    IJ_TRY(cuda_check_optional(cuda, "pre", args->pre, reterr_err));
    return cuda_check_optional(cuda, "residual", args->residual, reterr_err);
}

static struct cuda_product linear_product(const struct op_linear_forward *args)
{
    struct cuda_product p = {};
    p.m = args->rows;
    p.n = args->out;
    p.k = args->in;
    p.transpose_b = true;
    p.a = args->x;
    p.b = args->weight;
    p.a_scale = args->x_scale;
    p.b_scale = args->weight_scale;
    p.alpha = 1;
    p.bias = args->bias;
    p.bias_bf16 = args->bias_bf16;
    p.epilogue = args->bias ? CUDA_EPILOGUE_BIAS : CUDA_EPILOGUE_NONE;
    return p;
}

/* y = x weight^T + bias + residual, all in the product. */
static enum ij_status linear_plain(struct cuda_backend *cuda, const struct op_linear_forward *args,
                                   struct ij_err *reterr_err)
{
    struct cuda_product p = linear_product(args);
    p.d = args->y;
    if (args->residual.data) {
        p.c = args->residual;
        p.beta = 1;
    }
    IJ_TRY(cuda_gemm_run(cuda, &p, reterr_err));
    return cuda_done(cuda, reterr_err);
}

/* GELU, tanh form, as the product's epilogue; what it was taken of goes to `pre`. */
static enum ij_status linear_fast(struct cuda_backend *cuda, const struct op_linear_forward *args,
                                  struct ij_err *reterr_err)
{
    struct cuda_product p = linear_product(args);
    p.d = args->y;
    p.aux = args->pre;
    p.epilogue = args->pre.data ? CUDA_EPILOGUE_GELU_AUX_BIAS : CUDA_EPILOGUE_GELU_BIAS;
    IJ_TRY(cuda_gemm_run(cuda, &p, reterr_err));
    return cuda_done(cuda, reterr_err);
}

static enum ij_status linear_gelu(struct cuda_backend *cuda, const struct op_linear_forward *args,
                                  struct ij_err *reterr_err)
{
    struct cuda_product p = linear_product(args);
    p.d = args->pre.data ? args->pre : args->y;
    if (!args->pre.data && args->residual.data == args->y.data) { /* y must keep the residual */
        void *memory;
        size_t bytes = (size_t)(args->rows * args->out) * tensor_type_size(args->y.type);
        IJ_TRY(cuda_scratch(cuda, bytes, &memory, reterr_err));
        p.d.data = memory;
    }
    IJ_TRY(cuda_gemm_run(cuda, &p, reterr_err));
    cuda_gelu(cuda, args->rows * args->out, args->activation == ACTIVATION_GELU_TANH, p.d,
              args->residual, args->y);
    return cuda_done(cuda, reterr_err);
}

enum ij_status cuda_linear_forward(struct backend *backend, const struct op_linear_forward *args,
                                   struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "linear_forward", args->rows, args->in, args->out);
    IJ_TRY(linear_forward_check(cuda, args, reterr_err));
    if (args->rows == 0)
        return IJ_OK;
    if (args->activation == ACTIVATION_NONE && args->pre.data) {
        struct op_linear_forward bare = *args, sum = *args;
        bare.y = args->pre;
        bare.residual.data = NULL;
        IJ_TRY(linear_plain(cuda, &bare, reterr_err));
        sum.pre.data = NULL;
        return linear_plain(cuda, &sum, reterr_err);
    }
    if (args->activation == ACTIVATION_NONE)
        return linear_plain(cuda, args, reterr_err);
    bool fused = args->activation == ACTIVATION_GELU_TANH && args->bias && !args->residual.data &&
                 !linear_is_float8(args) && linear_fuses(args->out, args->pre, args->y);
    return fused ? linear_fast(cuda, args, reterr_err) : linear_gelu(cuda, args, reterr_err);
}

/* ---- Gradient of the input ------------------------------------------------------------------- */

static enum ij_status linear_input_check(struct cuda_backend *cuda,
                                         const struct op_linear_backward_input *args,
                                         struct ij_err *reterr_err)
{
    IJ_TRY(cuda_check_shape(cuda, args->rows, args->in, reterr_err));
    IJ_TRY(cuda_check_shape(cuda, args->rows, args->out, reterr_err));
    IJ_TRY(cuda_check(cuda, "dy", args->dy, reterr_err));
    IJ_TRY(cuda_check(cuda, "weight", args->weight, reterr_err));
    IJ_TRY(cuda_check(cuda, "dx", args->dx, reterr_err));
    return cuda_check_optional(cuda, "gelu_pre", args->gelu_pre, reterr_err);
}

/* dx . gelu'(pre): the product goes to dx, or beside it where dx is added to. */
static enum ij_status linear_input_gelu(struct cuda_backend *cuda, struct cuda_product *p,
                                        const struct op_linear_backward_input *args,
                                        struct ij_err *reterr_err)
{
    if (args->gelu_tanh && !args->accumulate && linear_fuses(args->in, args->gelu_pre, args->dx)) {
        p->epilogue = CUDA_EPILOGUE_DGELU;
        p->aux = args->gelu_pre;
        IJ_TRY(cuda_gemm_run(cuda, p, reterr_err));
        return cuda_done(cuda, reterr_err);
    }
    int64_t count = args->rows * args->in;
    if (args->accumulate) {
        void *memory;
        IJ_TRY(cuda_scratch(cuda, (size_t)count * tensor_type_size(args->dx.type), &memory,
                            reterr_err));
        p->d.data = memory;
    }
    IJ_TRY(cuda_gemm_run(cuda, p, reterr_err));
    cuda_gelu_backward(cuda, count, args->gelu_tanh, p->d, args->gelu_pre, args->dx,
                       args->accumulate);
    return cuda_done(cuda, reterr_err);
}

enum ij_status cuda_linear_backward_input(struct backend *backend,
                                          const struct op_linear_backward_input *args,
                                          struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "linear_backward_input", args->rows, args->in, args->out);
    IJ_TRY(linear_input_check(cuda, args, reterr_err));
    if (args->rows == 0)
        return IJ_OK;
    struct cuda_product p = {};
    p.m = args->rows;
    p.n = args->in;
    p.k = args->out;
    p.a = args->dy;
    p.b = args->weight;
    p.d = args->dx;
    p.alpha = 1;
    if (args->gelu_pre.data)
        return linear_input_gelu(cuda, &p, args, reterr_err);
    p.c = args->dx;
    p.beta = args->accumulate ? 1.0f : 0.0f;
    IJ_TRY(cuda_gemm_run(cuda, &p, reterr_err));
    return cuda_done(cuda, reterr_err);
}

/* ---- Gradient of the weight ------------------------------------------------------------------ */

/* Sums over no rows: zero, or what was there. */
static enum ij_status linear_weight_of_nothing(struct cuda_backend *cuda,
                                               const struct op_linear_backward_weight *args,
                                               struct ij_err *reterr_err)
{
    if (args->accumulate)
        return IJ_OK;
    size_t row = (size_t)args->out * sizeof(float);
    CUDA_TRY(cuda, cudaMemsetAsync(args->dweight, 0, row * (size_t)args->in, cuda->stream));
    if (args->dbias)
        CUDA_TRY(cuda, cudaMemsetAsync(args->dbias, 0, row, cuda->stream));
    return cuda_done(cuda, reterr_err);
}

enum ij_status cuda_linear_backward_weight(struct backend *backend,
                                           const struct op_linear_backward_weight *args,
                                           struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "linear_backward_weight", args->rows, args->in, args->out);
    IJ_TRY(cuda_check_shape(cuda, args->rows, args->in, reterr_err));
    IJ_TRY(cuda_check_shape(cuda, args->rows, args->out, reterr_err));
    IJ_TRY(cuda_check(cuda, "dy", args->dy, reterr_err));
    IJ_TRY(cuda_check(cuda, "x", args->x, reterr_err));
    if (args->rows == 0)
        return linear_weight_of_nothing(cuda, args, reterr_err);
    struct cuda_product p = {};
    p.m = args->out;
    p.n = args->in;
    p.k = args->rows;
    p.transpose_a = true;
    p.a = args->dy;
    p.b = args->x;
    p.d = tensor_f32(args->dweight);
    p.c = p.d;
    p.alpha = 1;
    p.beta = args->accumulate ? 1.0f : 0.0f;
    IJ_TRY(cuda_gemm_run(cuda, &p, reterr_err));
    if (args->dbias) {
        size_t parts = (size_t)cuda_column_parts(args->rows);
        void *partial;
        IJ_TRY(cuda_scratch(cuda, parts * (size_t)args->out * sizeof(float), &partial, reterr_err));
        cuda_column_sums(cuda, args->dy, args->rows, args->out, (float *)partial, args->dbias,
                         args->accumulate);
    }
    return cuda_done(cuda, reterr_err);
}
