/*
 * AdamW, the moving average and the bfloat16 copies in one pass, one block per chunk of a segment;
 * and the sums of squares for clipping, in double, joined in order.
 */
#include <math.h>

#include "gpu/ops/cuda/cuda_view.h"

#include "gpu/ops/cuda/cuda_backend.h"

#define ADAMW_THREADS 256

/* The step's constants; `keep` is 1 - lr * weight decay for segments that decay. */
struct adamw_rates {
    float gradient_scale, keep, step_size;
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float inverse_root_bias2, eps, momentum, one_minus_momentum;
};

static struct adamw_rates adamw_rates(const struct op_adamw_ema *args)
{
    double step = (double)args->step;
    double bias1 = 1 - pow(args->beta1, step), bias2 = 1 - pow(args->beta2, step);
    struct adamw_rates r;
    r.gradient_scale = (float)args->gradient_scale;
    r.keep = (float)(1 - args->lr * args->weight_decay);
    r.step_size = (float)(args->lr / bias1);
    r.beta1 = (float)args->beta1;
    r.one_minus_beta1 = (float)(1 - args->beta1);
    r.beta2 = (float)args->beta2;
    r.one_minus_beta2 = (float)(1 - args->beta2);
    r.inverse_root_bias2 = (float)(1 / sqrt(bias2));
    r.eps = (float)args->eps;
    r.momentum = (float)args->ema_momentum;
    r.one_minus_momentum = (float)(1 - args->ema_momentum);
    return r;
}

/* The arenas, by value. */
struct adamw_arenas {
    float *parameter;
    const float *gradient;
    float *moment1, *moment2, *ema;
    uint16_t *parameter_bf16, *ema_bf16;
};

template <int PACK>
static __device__ inline void adamw_update(const struct adamw_arenas &a,
                                           const struct adamw_rates &r, float keep, int64_t at,
                                           float (&p)[PACK])
{
    float g[PACK], m[PACK], v[PACK];
    cuda_load<PACK>(a.parameter, at, p);
    cuda_load<PACK>(a.gradient, at, g);
    cuda_load<PACK>(a.moment1, at, m);
    cuda_load<PACK>(a.moment2, at, v);
    for (int k = 0; k < PACK; k++) {
        g[k] *= r.gradient_scale;
        m[k] = m[k] * r.beta1 + g[k] * r.one_minus_beta1;
        v[k] = v[k] * r.beta2 + g[k] * g[k] * r.one_minus_beta2;
        p[k] = p[k] * keep - r.step_size * m[k] / (sqrtf(v[k]) * r.inverse_root_bias2 + r.eps);
    }
    cuda_store<PACK>(a.parameter, at, p);
    cuda_store<PACK>(a.moment1, at, m);
    cuda_store<PACK>(a.moment2, at, v);
    if (a.parameter_bf16) {
        struct tensor copy = {a.parameter_bf16, TENSOR_BF16};
        cuda_store<PACK>(copy, at, p);
    }
}

template <int PACK>
static __device__ inline void adamw_average(const struct adamw_arenas &a,
                                            const struct adamw_rates &r, int64_t at,
                                            const float (&p)[PACK])
{
    float e[PACK];
    cuda_load<PACK>(a.ema, at, e);
    for (int k = 0; k < PACK; k++)
        e[k] = e[k] * r.momentum + p[k] * r.one_minus_momentum;
    cuda_store<PACK>(a.ema, at, e);
    if (a.ema_bf16) {
        struct tensor copy = {a.ema_bf16, TENSOR_BF16};
        cuda_store<PACK>(copy, at, e);
    }
}

template <int PACK>
static __device__ inline void adamw_chunk(const struct adamw_arenas &a, const struct adamw_rates &r,
                                          const struct cuda_chunk &c)
{
    float keep = c.decay ? r.keep : 1.0f;
    for (int i = (int)threadIdx.x * PACK; i < c.count; i += ADAMW_THREADS * PACK) {
        float p[PACK];
        adamw_update<PACK>(a, r, keep, c.offset + i, p);
        if (c.ema_offset >= 0)
            adamw_average<PACK>(a, r, c.ema_offset + i, p);
    }
}

/* `packs`: the arenas are aligned; the chunk's offsets and count decide for the chunk. */
static __global__ void adamw_kernel(struct adamw_arenas a, struct adamw_rates r,
                                    const struct cuda_chunk *chunks, bool packs)
{
    struct cuda_chunk c = chunks[blockIdx.x];
    int64_t all = c.offset | c.count | (c.ema_offset < 0 ? 0 : c.ema_offset);
    if (packs && all % 8 == 0)
        adamw_chunk<8>(a, r, c);
    else
        adamw_chunk<1>(a, r, c);
}

enum ij_status cuda_adamw_ema(struct backend *backend, const struct op_adamw_ema *args,
                              struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "adamw_ema", args->segment_count, args->step, 1);
    if (args->step < 1)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "step", "adamw_ema: must be at least 1");
    IJ_TRY(cuda_chunks_prepare(cuda, args->segments, args->segment_count, &cuda->adamw_chunks,
                               reterr_err));
    if (cuda->adamw_chunks.count == 0)
        return IJ_OK;
    struct adamw_arenas a = {args->parameter, args->gradient,       args->moment1, args->moment2,
                             args->ema,       args->parameter_bf16, args->ema_bf16};
    bool packs = cuda_packs(8, a.parameter, a.gradient, a.moment1, a.moment2, a.ema) &&
                 cuda_packs(8, a.parameter_bf16, a.ema_bf16, NULL, NULL, NULL);
    struct adamw_rates rates = adamw_rates(args);
    CUDA_LAUNCH(adamw_kernel, dim3((unsigned)cuda->adamw_chunks.count), dim3(ADAMW_THREADS), 0,
                cuda->stream, a, rates, cuda->adamw_chunks.chunks, packs);
    return cuda_done(cuda, reterr_err);
}

/* ---- Sums of squares ------------------------------------------------------------------------- */

static __global__ void squares_kernel(const float *x, const struct cuda_chunk *chunks,
                                      double *partial)
{
    __shared__ double shared[ADAMW_THREADS / CUDA_WARP];
    struct cuda_chunk c = chunks[blockIdx.x];
    double sum = 0;
    for (int i = (int)threadIdx.x; i < c.count; i += ADAMW_THREADS) {
        double v = (double)x[c.offset + i];
        sum += v * v;
    }
    sum = cuda_warp_sum(sum);
    if (threadIdx.x % CUDA_WARP == 0)
        shared[threadIdx.x / CUDA_WARP] = sum;
    __syncthreads();
    if (threadIdx.x != 0)
        return;
    for (int w = 1; w < ADAMW_THREADS / CUDA_WARP; w++)
        sum += shared[w];
    partial[blockIdx.x] = sum;
}

static __global__ void squares_join_kernel(const double *partial, const int64_t *first,
                                           int64_t segments, double *sums)
{
    int64_t s = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (s >= segments)
        return;
    double sum = 0;
    for (int64_t i = first[s]; i < first[s + 1]; i++)
        sum += partial[i];
    sums[s] = sum;
}

enum ij_status cuda_square_sums(struct backend *backend, const struct op_square_sums *args,
                                struct ij_err *reterr_err)
{
    struct cuda_backend *cuda = cuda_backend_of(backend);
    cuda_begin(cuda, "square_sums", args->segment_count, 1, 1);
    if (args->segment_count < 1)
        return IJ_OK;
    struct cuda_chunks *chunks = &cuda->square_chunks;
    void *partial;
    IJ_TRY(cuda_chunks_prepare(cuda, args->segments, args->segment_count, chunks, reterr_err));
    IJ_TRY(cuda_scratch(cuda, (size_t)(chunks->count + 1) * sizeof(double), &partial, reterr_err));
    if (chunks->count)
        CUDA_LAUNCH(squares_kernel, dim3((unsigned)chunks->count), dim3(ADAMW_THREADS), 0,
                    cuda->stream, args->x, chunks->chunks, (double *)partial);
    CUDA_LAUNCH(squares_join_kernel, dim3((unsigned)((args->segment_count + 31) / 32)), dim3(32), 0,
                cuda->stream, (const double *)partial, chunks->first, args->segment_count,
                args->sums);
    return cuda_done(cuda, reterr_err);
}
