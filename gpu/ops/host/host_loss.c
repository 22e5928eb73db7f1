/*
 * Loss, its gradient and two observations in one pass.
 *
 * Sums are in double: over a row, over fixed blocks of rows, then over the blocks in order, so that
 * the figures do not depend on the number of threads.
 */
#include <math.h>

#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_tensor.h"

#define HOST_LOSS_BLOCK 32 /* rows per partial sum */

struct host_loss_sums {
    double loss, cosine, nonfinite;
};

/* The row's products: dots[0] = p.t, dots[1] = p.p, dots[2] = t.t, dots[3] = non-finite p. */
HOST_CLONES static void host_loss_dots(const float *p, const float *t, int64_t width,
                                       double *restrict dots)
{
    double pt = 0, pp = 0, tt = 0;
    int64_t bad = 0;
#pragma omp simd reduction(+ : pt, pp, tt, bad)
    for (int64_t i = 0; i < width; i++) {
        double a = p[i], b = t[i];
        pt += a * b;
        pp += a * a;
        tt += b * b;
        bad += (host_simd_to_bits(p[i]) & 0x7f800000u) == 0x7f800000u;
    }
    dots[0] = pt;
    dots[1] = pp;
    dots[2] = tt;
    dots[3] = (double)bad;
}

/* Sum of the row's losses; d (may be p) receives gradients times `factor`. */
HOST_CLONES static double host_loss_smooth_l1(const float *p, const float *t, float *d,
                                              float factor, int64_t width)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; i++) {
        float e = p[i] - t[i], a = e < 0 ? -e : e;
        sum += a < 1.0f ? 0.5f * e * e : a - 0.5f;
        float slope = e > 1.0f ? 1.0f : e < -1.0f ? -1.0f : e;
        d[i] = slope * factor;
    }
    return sum;
}

HOST_CLONES static double host_loss_l2(const float *p, const float *t, float *d, float factor,
                                       int64_t width)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; i++) {
        float e = p[i] - t[i];
        sum += e * e;
        d[i] = 2.0f * e * factor;
    }
    return sum;
}

/* `local`: two rows. */
static void host_loss_row(const struct op_loss *args, int64_t row, float *local,
                          struct host_loss_sums *sums)
{
    int64_t width = args->width, at = row * width;
    double dots[4];
    const float *t = args->target + at;
    const float *p = host_tensor_read(args->prediction, at, width, local);
    bool wanted = args->dprediction.data != NULL;
    float *d = local + width;
    if (wanted)
        d = host_tensor_target(args->dprediction, at, d);
    float factor = (float)(args->gradient_scale / ((double)args->rows * (double)width));
    host_loss_dots(p, t, width, dots);
    if (args->kind == LOSS_SMOOTH_L1)
        sums->loss += host_loss_smooth_l1(p, t, d, factor, width);
    else
        sums->loss += host_loss_l2(p, t, d, factor, width);
    double norms = sqrt(dots[1] * dots[2]);
    sums->cosine += norms > 0 ? dots[0] / norms : norms; /* 0 stays 0, NaN stays NaN */
    sums->nonfinite += dots[3];
    if (wanted)
        host_tensor_write(args->dprediction, at, width, d);
}

static void host_loss_finish(const struct op_loss *args, const struct host_loss_sums *blocks,
                             int64_t count)
{
    struct host_loss_sums all = {0};
    for (int64_t i = 0; i < count; i++) {
        all.loss += blocks[i].loss;
        all.cosine += blocks[i].cosine;
        all.nonfinite += blocks[i].nonfinite;
    }
    double elements = (double)args->rows * (double)args->width;
    args->sums[0] = (float)(all.loss / elements);
    args->sums[1] = (float)(all.cosine / (double)args->rows);
    args->sums[2] = (float)(all.nonfinite / elements);
}

enum ij_status host_loss(struct backend *backend, const struct op_loss *args,
                         struct ij_err *reterr_err)
{
    struct host_backend *host = host_backend_of(backend);
    IJ_TRY(host_tensor_check_shape("loss", args->rows - 1, args->width, reterr_err));
    IJ_TRY(host_tensor_check("loss", "prediction", args->prediction, reterr_err));
    IJ_TRY(host_tensor_check_optional("loss", "dprediction", args->dprediction, reterr_err));
    int64_t count = (args->rows + HOST_LOSS_BLOCK - 1) / HOST_LOSS_BLOCK;
    size_t floats = (size_t)count * sizeof(struct host_loss_sums) / sizeof(float);
    IJ_TRY(host_backend_need(host, floats, 2 * (size_t)args->width, reterr_err));
    struct host_loss_sums *blocks = (struct host_loss_sums *)(void *)host->shared;
#pragma omp parallel num_threads(backend->threads)
    {
        struct host_span span = host_my_part(count, 1);
        for (int64_t i = span.begin; i < span.end; i++) {
            int64_t row = i * HOST_LOSS_BLOCK, end = row + HOST_LOSS_BLOCK;
            blocks[i] = (struct host_loss_sums){0};
            for (; row < end && row < args->rows; row++)
                host_loss_row(args, row, host_backend_local(host), &blocks[i]);
        }
    }
    host_loss_finish(args, blocks, count);
    return IJ_OK;
}
