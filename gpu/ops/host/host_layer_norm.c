/*
 * Layer norm, forward and backward, one row at a time with the row in cache.
 *
 * The gradients of gamma and beta are summed per thread over its rows, then over the threads in
 * their order.
 */
#include <math.h>

#include "gpu/ops/host/host_backend.h"
#include "gpu/ops/host/host_tensor.h"

#define HOST_NORM_GRAIN 1

HOST_CLONES static float host_norm_mean(const float *x, int64_t width)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; i++)
        sum += x[i];
    return sum / (float)width;
}

HOST_CLONES static float host_norm_variance(const float *x, float mean, int64_t width)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < width; i++)
        sum += (x[i] - mean) * (x[i] - mean);
    return sum / (float)width;
}

HOST_CLONES static void host_norm_apply(const float *x, float *y, float mean, float rstd,
                                        const float *gamma, const float *beta, int64_t width)
{
    if (gamma) {
#pragma omp simd
        for (int64_t i = 0; i < width; i++)
            y[i] = (x[i] - mean) * rstd * gamma[i] + beta[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < width; i++)
            y[i] = (x[i] - mean) * rstd;
    }
}

static void host_norm_row(const struct op_layer_norm_forward *args, int64_t row, float *local)
{
    int64_t width = args->width, at = row * width;
    const float *x = host_tensor_read(args->x, at, width, local);
    float mean = host_norm_mean(x, width);
    float rstd = 1.0f / sqrtf(host_norm_variance(x, mean, width) + args->eps);
    float *y = host_tensor_target(args->y, at, local + width);
    host_norm_apply(x, y, mean, rstd, args->gamma, args->beta, width);
    host_tensor_write(args->y, at, width, y);
    if (args->mean) {
        args->mean[row] = mean;
        args->rstd[row] = rstd;
    }
}

enum ij_status host_layer_norm_forward(struct backend *backend,
                                       const struct op_layer_norm_forward *args,
                                       struct ij_err *reterr_err)
{
    const char *op = "layer_norm_forward";
    struct host_backend *host = host_backend_of(backend);
    IJ_TRY(host_tensor_check_shape(op, args->rows, args->width, reterr_err));
    IJ_TRY(host_tensor_check(op, "x", args->x, reterr_err));
    IJ_TRY(host_tensor_check(op, "y", args->y, reterr_err));
    if (!args->gamma != !args->beta || !args->mean != !args->rstd)
        return IJ_ERR(reterr_err, IJ_INVALID, "%s: gamma and beta, mean and rstd go together", op);
    IJ_TRY(host_backend_need(host, 0, 2 * (size_t)args->width, reterr_err));
#pragma omp parallel num_threads(backend->threads)
    {
        struct host_span span = host_my_part(args->rows, HOST_NORM_GRAIN);
        for (int64_t row = span.begin; row < span.end; row++)
            host_norm_row(args, row, host_backend_local(host));
    }
    return IJ_OK;
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* With xhat = (x - mean) rstd and g = dy gamma: sums[0] = sum of g, sums[1] = sum of g xhat;
 * dgamma += dy xhat, dbeta += dy. */
HOST_CLONES static void host_norm_sums(const float *restrict dy, const float *restrict x,
                                       const float *restrict gamma, float mean, float rstd,
                                       int64_t width, float *restrict dgamma, float *restrict dbeta,
                                       float *restrict sums)
{
    float sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t i = 0; i < width; i++) {
        float xhat = (x[i] - mean) * rstd, g = dy[i] * gamma[i];
        sum += g;
        product += g * xhat;
        dgamma[i] += dy[i] * xhat;
        dbeta[i] += dy[i];
    }
    sums[0] = sum;
    sums[1] = product;
}

/* The same without an affine part. */
HOST_CLONES static void host_norm_plain_sums(const float *restrict dy, const float *restrict x,
                                             float mean, float rstd, int64_t width,
                                             float *restrict sums)
{
    float sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t i = 0; i < width; i++) {
        sum += dy[i];
        product += dy[i] * (x[i] - mean) * rstd;
    }
    sums[0] = sum;
    sums[1] = product;
}

/* dx = rstd (g - mean of g - xhat * mean of g xhat) [+ residual]; elementwise, so dx may alias. */
HOST_CLONES static void host_norm_dx(const float *dy, const float *x, const float *gamma,
                                     const float *residual, float mean, float rstd,
                                     const float *sums, int64_t width, float *dx)
{
    float mean_g = sums[0] / (float)width, mean_gx = sums[1] / (float)width;
    if (gamma && residual) {
#pragma omp simd
        for (int64_t i = 0; i < width; i++)
            dx[i] =
                rstd * (dy[i] * gamma[i] - mean_g - (x[i] - mean) * rstd * mean_gx) + residual[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < width; i++)
            dx[i] = rstd * (dy[i] * (gamma ? gamma[i] : 1.0f) - mean_g -
                            (x[i] - mean) * rstd * mean_gx) +
                    (residual ? residual[i] : 0.0f);
    }
}

static void host_norm_backward_row(const struct op_layer_norm_backward *args, int64_t row,
                                   float *partial, float *local)
{
    int64_t width = args->width, at = row * width;
    float mean = args->mean[row], rstd = args->rstd[row], sums[2];
    const float *dy = host_tensor_read(args->dy, at, width, local);
    const float *x = host_tensor_read(args->x, at, width, local + width);
    const float *residual = NULL;
    if (args->residual.data)
        residual = host_tensor_read(args->residual, at, width, local + 2 * width);
    if (args->gamma)
        host_norm_sums(dy, x, args->gamma, mean, rstd, width, partial, partial + width, sums);
    else
        host_norm_plain_sums(dy, x, mean, rstd, width, sums);
    float *dx = host_tensor_target(args->dx, at, local + 3 * width);
    host_norm_dx(dy, x, args->gamma, residual, mean, rstd, sums, width, dx);
    host_tensor_write(args->dx, at, width, dx);
}

/* Adds the threads' partial sums, in the order of the threads. */
static void host_norm_join(const struct op_layer_norm_backward *args, const float *partials,
                           int parts)
{
    for (int64_t i = 0; i < args->width; i++) {
        float dgamma = args->accumulate ? args->dgamma[i] : 0;
        float dbeta = args->accumulate ? args->dbeta[i] : 0;
        for (int part = 0; part < parts; part++) {
            dgamma += partials[2 * part * args->width + i];
            dbeta += partials[(2 * part + 1) * args->width + i];
        }
        args->dgamma[i] = dgamma;
        args->dbeta[i] = dbeta;
    }
}

static enum ij_status host_norm_backward_check(const struct op_layer_norm_backward *args,
                                               struct ij_err *reterr_err)
{
    const char *op = "layer_norm_backward";
    IJ_TRY(host_tensor_check_shape(op, args->rows, args->width, reterr_err));
    IJ_TRY(host_tensor_check(op, "dy", args->dy, reterr_err));
    IJ_TRY(host_tensor_check(op, "x", args->x, reterr_err));
    IJ_TRY(host_tensor_check(op, "dx", args->dx, reterr_err));
    IJ_TRY(host_tensor_check_optional(op, "residual", args->residual, reterr_err));
    if (!args->dgamma != !args->dbeta || (args->dgamma && !args->gamma))
        return IJ_ERR(reterr_err, IJ_INVALID, "%s: dgamma and dbeta go together and with gamma",
                      op);
    return IJ_OK;
}

enum ij_status host_layer_norm_backward(struct backend *backend,
                                        const struct op_layer_norm_backward *args,
                                        struct ij_err *reterr_err)
{
    struct host_backend *host = host_backend_of(backend);
    IJ_TRY(host_norm_backward_check(args, reterr_err));
    size_t width = (size_t)args->width, partials = 2 * width * (size_t)backend->threads;
    IJ_TRY(host_backend_need(host, partials, 4 * width, reterr_err));
    int parts = 1;
#pragma omp parallel num_threads(backend->threads)
    {
        float *partial = host->shared + (size_t)omp_get_thread_num() * 2 * width;
        memset(partial, 0, 2 * width * sizeof(float));
        struct host_span span = host_my_part(args->rows, HOST_NORM_GRAIN);
        for (int64_t row = span.begin; row < span.end; row++)
            host_norm_backward_row(args, row, partial, host_backend_local(host));
#pragma omp single
        parts = omp_get_num_threads();
    }
    if (args->dgamma)
        host_norm_join(args, host->shared, parts);
    return IJ_OK;
}
