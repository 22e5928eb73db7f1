/*
 * AdamW with the moving average in one pass over the arenas, and the sums of squares for clipping.
 *
 * Every segment is split between the threads; elements are independent. Sums of squares are in
 * double over fixed blocks, joined in order, so that they do not depend on the number of threads.
 */
#include <math.h>

#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_tensor.h"

#define HOST_ADAMW_GRAIN   1024
#define HOST_SQUARES_BLOCK 16384

/* The step's constants as the loop wants them. */
struct host_adamw_rates {
    float gradient_scale, keep, step_size; /* keep: 1 - lr * weight decay; step: lr / bias1 */
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float inverse_root_bias2, eps, momentum, one_minus_momentum;
};

static struct host_adamw_rates host_adamw_rates(const struct op_adamw_ema *args, bool decay)
{
    double step = (double)args->step;
    double bias1 = 1 - pow(args->beta1, step), bias2 = 1 - pow(args->beta2, step);
    return (struct host_adamw_rates){
        .gradient_scale = (float)args->gradient_scale,
        .keep = (float)(decay ? 1 - args->lr * args->weight_decay : 1),
        .step_size = (float)(args->lr / bias1),
        .beta1 = (float)args->beta1,
        .one_minus_beta1 = (float)(1 - args->beta1),
        .beta2 = (float)args->beta2,
        .one_minus_beta2 = (float)(1 - args->beta2),
        .inverse_root_bias2 = (float)(1 / sqrt(bias2)),
        .eps = (float)args->eps,
        .momentum = (float)args->ema_momentum,
        .one_minus_momentum = (float)(1 - args->ema_momentum),
    };
}

HOST_CLONES static void host_adamw_update(const struct host_adamw_rates *rates,
                                          float *restrict parameter, const float *restrict gradient,
                                          float *restrict moment1, float *restrict moment2,
                                          int64_t count)
{
    const struct host_adamw_rates r = *rates;
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float g = gradient[i] * r.gradient_scale;
        float m = moment1[i] * r.beta1 + g * r.one_minus_beta1;
        float v = moment2[i] * r.beta2 + g * g * r.one_minus_beta2;
        moment1[i] = m;
        moment2[i] = v;
        float denominator = __builtin_sqrtf(v) * r.inverse_root_bias2 + r.eps;
        parameter[i] = parameter[i] * r.keep - r.step_size * m / denominator;
    }
}

HOST_CLONES static void host_adamw_average(const struct host_adamw_rates *rates,
                                           const float *restrict parameter, float *restrict ema,
                                           int64_t count)
{
    float momentum = rates->momentum, rest = rates->one_minus_momentum;
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        ema[i] = ema[i] * momentum + parameter[i] * rest;
}

/* Elements [begin, begin + count) of one segment, small enough to stay in the first-level cache. */
static void host_adamw_chunk(const struct op_adamw_ema *args,
                             const struct parameter_segment *segment,
                             const struct host_adamw_rates *rates, int64_t begin, int64_t count)
{
    int64_t at = segment->offset + begin;
    host_adamw_update(rates, args->parameter + at, args->gradient + at, args->moment1 + at,
                      args->moment2 + at, count);
    if (args->parameter_bf16)
        host_tensor_narrow(args->parameter + at, args->parameter_bf16 + at, count);
    if (segment->ema_offset < 0)
        return;
    float *ema = args->ema + segment->ema_offset + begin;
    host_adamw_average(rates, args->parameter + at, ema, count);
    if (args->ema_bf16)
        host_tensor_narrow(ema, args->ema_bf16 + segment->ema_offset + begin, count);
}

enum ij_status host_adamw_ema(struct backend *backend, const struct op_adamw_ema *args,
                              struct ij_err *reterr_err)
{
    if (args->step < 1)
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "step", "adamw_ema: must be at least 1");
    struct host_adamw_rates rates[2] = {host_adamw_rates(args, false),
                                        host_adamw_rates(args, true)};
#pragma omp parallel num_threads(backend->threads)
    for (int64_t s = 0; s < args->segment_count; s++) {
        const struct parameter_segment *segment = &args->segments[s];
        struct host_span span = host_my_part(segment->count, HOST_ADAMW_GRAIN);
        for (int64_t at = span.begin; at < span.end; at += HOST_ADAMW_GRAIN) {
            int64_t left = span.end - at;
            host_adamw_chunk(args, segment, &rates[segment->decay], at,
                             left < HOST_ADAMW_GRAIN ? left : HOST_ADAMW_GRAIN);
        }
    }
    return IJ_OK;
}

/* ---- Sums of squares ------------------------------------------------------------------------- */

HOST_CLONES static double host_squares_block(const float *x, int64_t count)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static void host_squares_segment(const struct parameter_segment *segment, const float *x,
                                 double *partials)
{
    int64_t blocks = (segment->count + HOST_SQUARES_BLOCK - 1) / HOST_SQUARES_BLOCK;
    struct host_span span = host_my_part(blocks, 1);
    for (int64_t i = span.begin; i < span.end; i++) {
        int64_t at = i * HOST_SQUARES_BLOCK, left = segment->count - at;
        partials[i] = host_squares_block(x + segment->offset + at,
                                         left < HOST_SQUARES_BLOCK ? left : HOST_SQUARES_BLOCK);
    }
}

enum ij_status host_square_sums(struct backend *backend, const struct op_square_sums *args,
                                struct ij_err *reterr_err)
{
    struct host_backend *host = host_backend_of(backend);
    int64_t blocks = 0;
    for (int64_t s = 0; s < args->segment_count; s++)
        blocks += (args->segments[s].count + HOST_SQUARES_BLOCK - 1) / HOST_SQUARES_BLOCK;
    IJ_TRY(host_backend_need(host, 2 * (size_t)blocks, 0, reterr_err));
    double *partials = (double *)(void *)host->shared;
#pragma omp parallel num_threads(backend->threads)
    for (int64_t s = 0, first = 0; s < args->segment_count; s++) {
        host_squares_segment(&args->segments[s], args->x, partials + first);
        first += (args->segments[s].count + HOST_SQUARES_BLOCK - 1) / HOST_SQUARES_BLOCK;
    }
    for (int64_t s = 0, first = 0; s < args->segment_count; s++) {
        int64_t count = (args->segments[s].count + HOST_SQUARES_BLOCK - 1) / HOST_SQUARES_BLOCK;
        args->sums[s] = 0;
        for (int64_t i = 0; i < count; i++)
            args->sums[s] += partials[first + i];
        first += count;
    }
    return IJ_OK;
}
