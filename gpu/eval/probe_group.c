/*
 * See probe_group.h.
 *
 * With xhat the normalised input, a head computes W (gamma xhat + beta) + b = V xhat + c, where
 * V = W diag(gamma) and c = W beta + b. With E = dloss/dlogits (rows, classes), G = E' xhat and
 * e = column sums of E, the gradients are
 *
 *   dW = G diag(gamma) + e beta'    db = e    dgamma_j = sum_c W_cj G_cj    dbeta = W' e
 *
 * so only V, xhat, E and G cross to the device; everything else is as small as the weights.
 */
#include "gpu/eval/probe_group.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/ops/host/host_simd.h"

/* A parameter, its momentum and its gradient. */
struct parameter {
    float *value, *momentum, *gradient;
    size_t count;
};

struct probe_group {
    struct probe_group_options options;
    struct backend *backend;
    struct parameter weight, bias, gamma, beta; /* the last two empty without batch norm */
    float *running_mean, *running_variance;     /* (width); NULL without batch norm */
    float *xhat;                                /* (rows_max, width) */
    float *folded;                              /* (heads * classes, width): V, then G */
    float *logits;                              /* (rows_max, heads * classes), then E */
    float *offset, *sums;                       /* (heads * classes): c, and e */
    double *shift, *scale;                      /* (width): of the normalisation */
    float *device_x, *device_v, *device_logits; /* as xhat, folded, logits */
};

/* ---- Memory ---------------------------------------------------------------------------------- */

static bool parameter_init(struct parameter *p, int64_t count)
{
    *p = (struct parameter){.count = (size_t)count};
    p->value = mem_array(float, p->count);
    p->momentum = mem_array(float, p->count);
    p->gradient = mem_array(float, p->count);
    return p->value && p->momentum && p->gradient;
}

static void parameter_done(struct parameter *p)
{
    mem_free(p->value);
    mem_free(p->momentum);
    mem_free(p->gradient);
}

static bool allocate_host(struct probe_group *g)
{
    const struct probe_group_options *o = &g->options;
    int64_t outputs = o->heads * o->classes;
    bool good = parameter_init(&g->weight, outputs * o->width) && parameter_init(&g->bias, outputs);
    if (o->batch_norm) {
        good = good && parameter_init(&g->gamma, o->heads * o->width) &&
               parameter_init(&g->beta, o->heads * o->width);
        g->running_mean = mem_array(float, (size_t)o->width);
        g->running_variance = mem_array(float, (size_t)o->width);
        good = good && g->running_mean && g->running_variance;
    }
    g->xhat = mem_array(float, (size_t)(o->rows_max * o->width));
    g->folded = mem_array(float, (size_t)(outputs * o->width));
    g->logits = mem_array(float, (size_t)(o->rows_max * outputs));
    g->offset = mem_array(float, (size_t)outputs);
    g->sums = mem_array(float, (size_t)outputs);
    g->shift = mem_array(double, (size_t)o->width);
    g->scale = mem_array(double, (size_t)o->width);
    return good && g->xhat && g->folded && g->logits && g->offset && g->sums && g->shift &&
           g->scale;
}

uint64_t probe_group_device_bytes(int64_t width, int64_t outputs, int64_t rows)
{
    return (uint64_t)((rows + outputs) * width + rows * outputs) * sizeof(float);
}

static enum ij_status allocate_device(struct probe_group *g, struct ij_err *reterr_err)
{
    const struct probe_group_options *o = &g->options;
    const struct ops *ops = g->backend->ops;
    size_t outputs = (size_t)(o->heads * o->classes);
    size_t row = (size_t)o->width * sizeof(float), rows = (size_t)o->rows_max;
    IJ_TRY(ops->allocate(g->backend, rows * row, (void **)&g->device_x, reterr_err));
    IJ_TRY(ops->allocate(g->backend, outputs * row, (void **)&g->device_v, reterr_err));
    return ops->allocate(g->backend, rows * outputs * sizeof(float), (void **)&g->device_logits,
                         reterr_err);
}

static void fill(float *values, size_t count, float value)
{
    for (size_t i = 0; i < count; i++)
        values[i] = value;
}

/* All heads begin with the same weights, so that only rate and decay tell them apart. */
static void initialise(struct probe_group *g)
{
    const struct probe_group_options *o = &g->options;
    double bound = 1 / sqrt((double)o->width);
    size_t weights = (size_t)(o->classes * o->width), biases = (size_t)o->classes;
    struct rng rng;
    rng_init(&rng, o->seed, RNG_PROBE, 0, o->stream);
    for (size_t i = 0; i < weights; i++)
        g->weight.value[i] = (float)((2 * rng_uniform(&rng) - 1) * bound);
    for (size_t i = 0; i < biases; i++)
        g->bias.value[i] = (float)((2 * rng_uniform(&rng) - 1) * bound);
    for (int64_t r = 1; r < o->heads; r++) {
        memcpy(g->weight.value + (size_t)r * weights, g->weight.value, weights * sizeof(float));
        memcpy(g->bias.value + (size_t)r * biases, g->bias.value, biases * sizeof(float));
    }
    fill(g->gamma.value, g->gamma.count, 1);
    if (o->batch_norm)
        fill(g->running_variance, (size_t)o->width, 1);
}

enum ij_status probe_group_new(struct backend *backend, const struct probe_group_options *options,
                               struct probe_group **ret_group, struct ij_err *reterr_err)
{
    struct probe_group *g = mem_new(struct probe_group);
    if (!g)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a linear probe");
    g->options = *options;
    g->backend = backend;
    enum ij_status status = allocate_host(g)
                                ? allocate_device(g, reterr_err)
                                : IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a linear probe");
    if (status != IJ_OK) {
        probe_group_free(g);
        return status;
    }
    initialise(g);
    *ret_group = g;
    return IJ_OK;
}

void probe_group_free(struct probe_group *g)
{
    if (!g)
        return;
    g->backend->ops->release(g->backend, g->device_x);
    g->backend->ops->release(g->backend, g->device_v);
    g->backend->ops->release(g->backend, g->device_logits);
    parameter_done(&g->weight);
    parameter_done(&g->bias);
    parameter_done(&g->gamma);
    parameter_done(&g->beta);
    float *const blocks[] = {g->running_mean, g->running_variance, g->xhat, g->folded,
                             g->logits,       g->offset,           g->sums};
    for (size_t i = 0; i < COUNT_OF(blocks); i++)
        mem_free(blocks[i]);
    mem_free(g->shift);
    mem_free(g->scale);
    mem_free(g);
}

struct probe_group_view probe_group_get(struct probe_group *g)
{
    return (struct probe_group_view){g->weight.value, g->bias.value,   g->gamma.value,
                                     g->beta.value,   g->running_mean, g->running_variance};
}

/* ---- Forward --------------------------------------------------------------------------------- */

/* shift and scale from this batch; the running statistics follow (variance with divisor rows -
 * 1). */
HOST_CLONES static void batch_statistics(struct probe_group *g, const float *x, int64_t rows)
{
    int64_t width = g->options.width;
    double *mean = g->shift, *square = g->scale;
    memset(mean, 0, (size_t)width * sizeof *mean);
    memset(square, 0, (size_t)width * sizeof *square);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t d = 0; d < width; d++)
            mean[d] += x[r * width + d];
    for (int64_t d = 0; d < width; d++)
        mean[d] /= (double)rows;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t d = 0; d < width; d++)
            square[d] += (x[r * width + d] - mean[d]) * (x[r * width + d] - mean[d]);
    for (int64_t d = 0; d < width; d++) {
        double unbiased = square[d] / (double)(rows - 1), m = PROBE_GROUP_BN_MOMENTUM;
        g->running_mean[d] = (float)((1 - m) * g->running_mean[d] + m * mean[d]);
        g->running_variance[d] = (float)((1 - m) * g->running_variance[d] + m * unbiased);
        g->scale[d] = 1 / sqrt(square[d] / (double)rows + PROBE_GROUP_EPS);
    }
}

static void running_statistics(struct probe_group *g)
{
    for (int64_t d = 0; d < g->options.width; d++) {
        g->shift[d] = g->running_mean[d];
        g->scale[d] = 1 / sqrt((double)g->running_variance[d] + PROBE_GROUP_EPS);
    }
}

HOST_CLONES static void normalise(struct probe_group *g, const float *x, int64_t rows)
{
    int64_t width = g->options.width;
    if (!g->options.batch_norm) {
        memcpy(g->xhat, x, (size_t)(rows * width) * sizeof *x);
        return;
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t d = 0; d < width; d++)
            g->xhat[r * width + d] = (float)((x[r * width + d] - g->shift[d]) * g->scale[d]);
}

/* V and c of every head. */
HOST_CLONES static void fold(struct probe_group *g)
{
    const struct probe_group_options *o = &g->options;
    if (!o->batch_norm) {
        memcpy(g->folded, g->weight.value, g->weight.count * sizeof(float));
        memcpy(g->offset, g->bias.value, g->bias.count * sizeof(float));
        return;
    }
    for (int64_t row = 0; row < o->heads * o->classes; row++) {
        const float *w = g->weight.value + row * o->width;
        const float *gamma = g->gamma.value + row / o->classes * o->width;
        const float *beta = g->beta.value + row / o->classes * o->width;
        double sum = g->bias.value[row];
        for (int64_t d = 0; d < o->width; d++) {
            g->folded[row * o->width + d] = w[d] * gamma[d];
            sum += (double)w[d] * beta[d];
        }
        g->offset[row] = (float)sum;
    }
}

/* logits (rows, heads * classes) = xhat V', without c. */
static enum ij_status forward(struct probe_group *g, int64_t rows, struct ij_err *reterr_err)
{
    struct backend *b = g->backend;
    int64_t outputs = g->options.heads * g->options.classes, width = g->options.width;
    const struct op_matmul args = {.m = rows,
                                   .n = outputs,
                                   .k = width,
                                   .transpose_b = true,
                                   .a = g->device_x,
                                   .b = g->device_v,
                                   .c = g->device_logits,
                                   .alpha = 1};
    fold(g);
    IJ_TRY(b->ops->upload(b, g->device_x, g->xhat, (size_t)(rows * width) * sizeof(float),
                          reterr_err));
    IJ_TRY(b->ops->upload(b, g->device_v, g->folded, (size_t)(outputs * width) * sizeof(float),
                          reterr_err));
    IJ_TRY(b->ops->matmul(b, &args, reterr_err));
    IJ_TRY(b->ops->download(b, g->logits, g->device_logits,
                            (size_t)(rows * outputs) * sizeof(float), reterr_err));
    return b->ops->synchronize(b, reterr_err);
}

/* ---- Backward -------------------------------------------------------------------------------- */

/* Turns one head's logits of one row into E; returns the row's loss. */
HOST_CLONES static double cross_entropy(float *logits, const float *offset, int64_t classes,
                                        int32_t label, double rows)
{
    float most = -INFINITY;
    double sum = 0;
#pragma omp simd reduction(max : most)
    for (int64_t c = 0; c < classes; c++) {
        logits[c] += offset[c];
        most = logits[c] > most ? logits[c] : most;
    }
    double own = logits[label];
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < classes; c++) {
        logits[c] = host_simd_exp(logits[c] - most);
        sum += (double)logits[c];
    }
    float share = (float)(1 / (sum * rows));
#pragma omp simd
    for (int64_t c = 0; c < classes; c++)
        logits[c] *= share;
    logits[label] -= (float)(1 / rows);
    return log(sum) + (double)most - own;
}

/* Turns the logits into E, and fills e (`sums`) and the losses. */
static void loss_gradient(struct probe_group *g, const int32_t *labels, int64_t rows,
                          double *ret_losses)
{
    const struct probe_group_options *o = &g->options;
    int64_t outputs = o->heads * o->classes;
    memset(g->sums, 0, (size_t)outputs * sizeof *g->sums);
    for (int64_t h = 0; h < o->heads; h++) {
        double loss = 0;
        for (int64_t r = 0; r < rows; r++)
            loss += cross_entropy(g->logits + r * outputs + h * o->classes,
                                  g->offset + h * o->classes, o->classes, labels[r], (double)rows);
        if (ret_losses)
            ret_losses[h] = loss / (double)rows;
    }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < outputs; i++)
            g->sums[i] += g->logits[r * outputs + i];
}

/* G = E' xhat, into `folded`. */
static enum ij_status backward(struct probe_group *g, int64_t rows, struct ij_err *reterr_err)
{
    struct backend *b = g->backend;
    int64_t outputs = g->options.heads * g->options.classes, width = g->options.width;
    const struct op_matmul args = {.m = outputs,
                                   .n = width,
                                   .k = rows,
                                   .transpose_a = true,
                                   .a = g->device_logits,
                                   .b = g->device_x,
                                   .c = g->device_v,
                                   .alpha = 1};
    IJ_TRY(b->ops->upload(b, g->device_logits, g->logits, (size_t)(rows * outputs) * sizeof(float),
                          reterr_err));
    IJ_TRY(b->ops->matmul(b, &args, reterr_err));
    IJ_TRY(b->ops->download(b, g->folded, g->device_v, (size_t)(outputs * width) * sizeof(float),
                            reterr_err));
    return b->ops->synchronize(b, reterr_err);
}

/* Gradients of one head's row `row` (one class) from G and e; those of gamma and beta
 * accumulate. */
HOST_CLONES static void row_gradient(struct probe_group *g, int64_t row)
{
    const struct probe_group_options *o = &g->options;
    const float *big_g = g->folded + row * o->width, *w = g->weight.value + row * o->width;
    float *dw = g->weight.gradient + row * o->width, e = g->sums[row];
    g->bias.gradient[row] = e;
    if (!o->batch_norm) {
        memcpy(dw, big_g, (size_t)o->width * sizeof *dw);
        return;
    }
    int64_t head = row / o->classes * o->width;
    const float *gamma = g->gamma.value + head, *beta = g->beta.value + head;
    float *dgamma = g->gamma.gradient + head, *dbeta = g->beta.gradient + head;
    for (int64_t d = 0; d < o->width; d++) {
        dw[d] = big_g[d] * gamma[d] + e * beta[d];
        dgamma[d] += w[d] * big_g[d];
        dbeta[d] += w[d] * e;
    }
}

/* torch.optim.SGD with nesterov: m = 0.9 m + g; p -= rate (g + 0.9 m), g including the decay. */
HOST_CLONES static void update_sgd(struct parameter *p, size_t first, size_t count, float rate,
                                   float decay)
{
    for (size_t i = first; i < first + count; i++) {
        float gradient = p->gradient[i] + decay * p->value[i];
        p->momentum[i] = PROBE_GROUP_MOMENTUM * p->momentum[i] + gradient;
        p->value[i] -= rate * (gradient + PROBE_GROUP_MOMENTUM * p->momentum[i]);
    }
}

/* LARS's factor for one weight matrix. */
HOST_CLONES static double trust_ratio(const struct parameter *p, size_t first, size_t count,
                                      float decay)
{
    double weight = 0, gradient = 0;
    for (size_t i = first; i < first + count; i++) {
        double g = (double)p->gradient[i] + (double)decay * (double)p->value[i];
        weight += (double)p->value[i] * (double)p->value[i];
        gradient += g * g;
    }
    return weight > 0 && gradient > 0 ? PROBE_GROUP_TRUST * sqrt(weight / gradient) : 1;
}

HOST_CLONES static void update_lars(struct parameter *p, size_t first, size_t count, float rate,
                                    float decay, bool matrix)
{
    float ratio = matrix ? (float)trust_ratio(p, first, count, decay) : 1;
    for (size_t i = first; i < first + count; i++) {
        float gradient = ratio * (p->gradient[i] + decay * p->value[i]);
        p->momentum[i] = PROBE_GROUP_MOMENTUM * p->momentum[i] + gradient;
        p->value[i] -= rate * p->momentum[i];
    }
}

/* One tensor of every head. */
static void update(struct probe_group *g, struct parameter *p, const double *learning_rates,
                   bool decays, bool matrix)
{
    size_t heads = (size_t)g->options.heads, each = p->count / heads;
    for (size_t h = 0; h < heads; h++) {
        float decay = decays ? (float)g->options.weight_decays[h] : 0;
        float rate = (float)learning_rates[h];
        if (g->options.optimizer == ENGINE_PROBE_LARS)
            update_lars(p, h * each, each, rate, decay, matrix);
        else
            update_sgd(p, h * each, each, rate, decay);
    }
}

enum ij_status probe_group_step(struct probe_group *g, const float *x, const int32_t *labels,
                                int64_t rows, const double *learning_rates, double *ret_losses,
                                struct ij_err *reterr_err)
{
    const struct probe_group_options *o = &g->options;
    IJ_ASSERT(rows >= 2 && rows <= o->rows_max);
    if (o->batch_norm)
        batch_statistics(g, x, rows);
    normalise(g, x, rows);
    IJ_TRY(forward(g, rows, reterr_err));
    loss_gradient(g, labels, rows, ret_losses);
    IJ_TRY(backward(g, rows, reterr_err));
    if (o->batch_norm) {
        memset(g->gamma.gradient, 0, g->gamma.count * sizeof(float));
        memset(g->beta.gradient, 0, g->beta.count * sizeof(float));
    }
    for (int64_t row = 0; row < o->heads * o->classes; row++)
        row_gradient(g, row);
    update(g, &g->weight, learning_rates, true, true);
    update(g, &g->bias, learning_rates, true, false);
    update(g, &g->gamma, learning_rates, false, false);
    update(g, &g->beta, learning_rates, false, false);
    return IJ_OK;
}

/* ---- Prediction ------------------------------------------------------------------------------ */

enum ij_status probe_group_predict(struct probe_group *g, const float *x, int64_t rows,
                                   int32_t *ret_classes, struct ij_err *reterr_err)
{
    const struct probe_group_options *o = &g->options;
    int64_t outputs = o->heads * o->classes;
    IJ_ASSERT(rows >= 1 && rows <= o->rows_max);
    if (o->batch_norm)
        running_statistics(g);
    normalise(g, x, rows);
    IJ_TRY(forward(g, rows, reterr_err));
    for (int64_t h = 0; h < o->heads; h++)
        for (int64_t r = 0; r < rows; r++) {
            const float *logits = g->logits + r * outputs + h * o->classes;
            const float *offset = g->offset + h * o->classes;
            int32_t best = 0;
            for (int32_t c = 1; c < o->classes; c++)
                if (logits[c] + offset[c] > logits[best] + offset[best])
                    best = c;
            ret_classes[h * rows + r] = best;
        }
    return IJ_OK;
}
