/* See decoder.h. */
#include "gpu/eval/decoder.h"

#include <string.h>

#include "base/mem.h"
#include "gpu/eval/cholesky.h"

#define LAMBDAS 6 /* 1e-5 to 1 */

/* What the normal equations need of the rows fitted on. */
struct moments {
    double *xx, *yx, *factor; /* (width, width) lower triangle, (values, width), as xx */
    double *row;              /* (width) */
};

static enum ij_status allocate(struct decoder *d, struct moments *m, struct ij_err *reterr_err)
{
    d->weight = mem_alloc_zero(d->values * d->width, sizeof(double));
    d->mean = mem_array(double, d->width);
    d->bias = mem_array(double, d->values);
    m->xx = mem_alloc_zero(d->width * d->width, sizeof(double));
    m->factor = mem_alloc_zero(d->width * d->width, sizeof(double));
    m->yx = mem_alloc_zero(d->values * d->width, sizeof(double));
    m->row = mem_array(double, d->width);
    if (d->weight && d->mean && d->bias && m->xx && m->factor && m->yx && m->row)
        return IJ_OK;
    return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a decoder of %zu values", d->values);
}

static void means_of(const float *x, size_t rows, size_t width, double *ret_means)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < width; i++)
            ret_means[i] += (double)x[r * width + i] / (double)rows;
}

static void sum_up(const struct decoder *d, const float *x, const float *y, size_t rows,
                   struct moments *m)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < d->width; i++)
            m->row[i] = (double)x[r * d->width + i] - d->mean[i];
        for (size_t i = 0; i < d->width; i++)
            for (size_t j = 0; j <= i; j++)
                m->xx[i * d->width + j] += m->row[i] * m->row[j];
        for (size_t v = 0; v < d->values; v++) {
            double value = (double)y[r * d->values + v] - d->bias[v];
            for (size_t i = 0; i < d->width; i++)
                m->yx[v * d->width + i] += value * m->row[i];
        }
    }
}

/* Whether the features differ by more than rounding. */
static bool vary(const struct decoder *d, const struct moments *m, size_t rows)
{
    double trace = 0, mean = 0;
    for (size_t i = 0; i < d->width; i++) {
        trace += m->xx[i * d->width + i];
        mean += d->mean[i] * d->mean[i];
    }
    return trace > 1e-14 * mean * (double)rows;
}

/* Weights for one lambda. False: a feature is not finite. */
static bool solve(struct decoder *d, const struct moments *m, double lambda)
{
    double trace = 0;
    memcpy(m->factor, m->xx, d->width * d->width * sizeof(double));
    for (size_t i = 0; i < d->width; i++)
        trace += m->xx[i * d->width + i];
    for (size_t i = 0; i < d->width; i++)
        m->factor[i * d->width + i] += lambda * trace / (double)d->width;
    if (!cholesky_factor(m->factor, d->width))
        return false;
    memcpy(d->weight, m->yx, d->values * d->width * sizeof(double));
    for (size_t v = 0; v < d->values; v++)
        cholesky_solve(m->factor, d->width, d->weight + v * d->width, true);
    d->lambda = lambda;
    return true;
}

void decoder_apply(const struct decoder *decoder, const float *x, float *ret_y)
{
    for (size_t v = 0; v < decoder->values; v++) {
        const double *weight = decoder->weight + v * decoder->width;
        double sum = decoder->bias[v];
        for (size_t i = 0; i < decoder->width; i++)
            sum += weight[i] * ((double)x[i] - decoder->mean[i]);
        ret_y[v] = (float)sum;
    }
}

/* The share of the variance of other rows, about the mean of those fitted on, that is explained. */
static double share_of(const struct decoder *d, const float *x, const float *y, size_t rows,
                       float *work)
{
    double missed = 0, varied = 0;
    for (size_t r = 0; r < rows; r++) {
        decoder_apply(d, x + r * d->width, work);
        for (size_t v = 0; v < d->values; v++) {
            double value = (double)y[r * d->values + v];
            missed += (value - (double)work[v]) * (value - (double)work[v]);
            varied += (value - d->bias[v]) * (value - d->bias[v]);
        }
    }
    return varied > 0 ? 1 - missed / varied : 0;
}

static enum ij_status choose(struct decoder *d, const struct moments *m, const float *x,
                             const float *y, size_t rows, struct ij_err *reterr_err)
{
    mem_auto float *work = mem_array(float, d->values);
    double best = 1, lambda = 1;
    bool any = false;
    if (!work)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a decoder");
    for (int i = 0; i < LAMBDAS; i++, lambda /= 10) {
        if (!solve(d, m, lambda))
            continue;
        double share = share_of(d, x, y, rows, work);
        if (!any || share > d->fit) {
            d->fit = share;
            best = lambda;
        }
        any = true;
    }
    if (!any || !solve(d, m, best))
        return IJ_ERR(reterr_err, IJ_NONFINITE, "features to decode are not finite");
    return IJ_OK;
}

enum ij_status decoder_fit(const float *x, const float *y, size_t rows, size_t width, size_t values,
                           struct decoder *ret_decoder, struct ij_err *reterr_err)
{
    struct decoder d = {.width = width, .values = values};
    struct moments m = {0};
    size_t used = rows - rows / 10;
    if (rows < 20)
        return IJ_ERR(reterr_err, IJ_INVALID, "a decoder needs at least 20 patches");
    enum ij_status status = allocate(&d, &m, reterr_err);
    if (status == IJ_OK) {
        means_of(x, used, width, d.mean);
        means_of(y, used, values, d.bias);
        sum_up(&d, x, y, used, &m);
        if (!vary(&d, &m, used))
            status = IJ_ERR(reterr_err, IJ_DATA, "all features are the same: nothing is decoded");
    }
    if (status == IJ_OK)
        status = choose(&d, &m, x + used * width, y + used * values, rows - used, reterr_err);
    mem_free(m.xx);
    mem_free(m.yx);
    mem_free(m.factor);
    mem_free(m.row);
    if (status == IJ_OK)
        *ret_decoder = d;
    else
        decoder_done(&d);
    return status;
}

void decoder_done(struct decoder *decoder)
{
    mem_free(decoder->weight);
    mem_free(decoder->mean);
    mem_free(decoder->bias);
    *decoder = (struct decoder){.width = 0};
}
