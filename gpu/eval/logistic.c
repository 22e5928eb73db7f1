/*
 * See logistic.h.
 *
 * Parameters are one vector: W row by row, then b. Images go through the backend in blocks, so that
 * device memory does not grow with their number.
 */
#include "gpu/eval/logistic.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/eval/vector.h"

#define HISTORY    10
#define BLOCK_ROWS 1024
#define ARMIJO     1e-4
#define BACKTRACKS 30
#define CURVATURE  0.9
#define NOISE      1e-7 /* relative error of f by float32 products */
#define STALLED    20   /* iterations without a smaller gradient: float32 says no more */

struct problem {
    struct backend *backend;
    const struct logistic_options *options;
    const float *x;
    const int32_t *labels;
    size_t count, parameters; /* images; of W and b */
    float *weight, *block;    /* host: W as float32; logits, then their gradient */
    float *partial;           /* host: (classes, width) of one block */
    double *powers;           /* host: (classes) of one row: exp of the logits */
    float *device_x, *device_w, *device_logits, *device_gradient;
};

struct history {
    double *s[HISTORY], *y[HISTORY]; /* steps and changes of the gradient */
    double rho[HISTORY];
    size_t count, next;
};

/* ---- Memory ---------------------------------------------------------------------------------- */

uint64_t logistic_device_bytes(int64_t width, int64_t classes)
{
    uint64_t w = (uint64_t)width, c = (uint64_t)classes;
    return (BLOCK_ROWS * (w + c) + 2 * c * w) * sizeof(float);
}

static enum ij_status problem_init(struct problem *p, struct ij_err *reterr_err)
{
    const struct ops *ops = p->backend->ops;
    size_t width = (size_t)p->options->width, classes = (size_t)p->options->classes;
    p->parameters = classes * width + classes;
    p->weight = mem_array(float, classes *width);
    p->partial = mem_array(float, classes *width);
    p->block = mem_array(float, BLOCK_ROWS *classes);
    p->powers = mem_array(double, classes);
    if (!p->weight || !p->partial || !p->block || !p->powers)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a logistic regression");
    IJ_TRY(ops->allocate(p->backend, BLOCK_ROWS * width * sizeof(float), (void **)&p->device_x,
                         reterr_err));
    IJ_TRY(ops->allocate(p->backend, classes * width * sizeof(float), (void **)&p->device_w,
                         reterr_err));
    IJ_TRY(ops->allocate(p->backend, BLOCK_ROWS * classes * sizeof(float),
                         (void **)&p->device_logits, reterr_err));
    return ops->allocate(p->backend, classes * width * sizeof(float), (void **)&p->device_gradient,
                         reterr_err);
}

static void problem_done(struct problem *p)
{
    const struct ops *ops = p->backend->ops;
    mem_free(p->weight);
    mem_free(p->partial);
    mem_free(p->block);
    mem_free(p->powers);
    ops->release(p->backend, p->device_x);
    ops->release(p->backend, p->device_w);
    ops->release(p->backend, p->device_logits);
    ops->release(p->backend, p->device_gradient);
}

/* ---- f and its gradient ---------------------------------------------------------------------- */

/* block (rows, classes) = x W'. */
static enum ij_status block_logits(struct problem *p, size_t first, size_t rows,
                                   struct ij_err *reterr_err)
{
    struct backend *b = p->backend;
    int64_t width = p->options->width, classes = p->options->classes;
    const struct op_matmul args = {.m = (int64_t)rows,
                                   .n = classes,
                                   .k = width,
                                   .transpose_b = true,
                                   .a = p->device_x,
                                   .b = p->device_w,
                                   .c = p->device_logits,
                                   .alpha = 1};
    IJ_TRY(b->ops->upload(b, p->device_x, p->x + first * (size_t)width,
                          rows * (size_t)width * sizeof(float), reterr_err));
    IJ_TRY(b->ops->matmul(b, &args, reterr_err));
    IJ_TRY(b->ops->download(b, p->block, p->device_logits, rows * (size_t)classes * sizeof(float),
                            reterr_err));
    return b->ops->synchronize(b, reterr_err);
}

/* The loss of one row; its logits become (softmax - one hot) / count. */
static double row_loss(const struct problem *p, const double *bias, float *logits, int32_t label)
{
    size_t classes = (size_t)p->options->classes;
    double most = -INFINITY, sum = 0;
    for (size_t c = 0; c < classes; c++)
        most = fmax(most, (double)logits[c] + bias[c]);
    for (size_t c = 0; c < classes; c++)
        sum += p->powers[c] = exp((double)logits[c] + bias[c] - most);
    double loss = log(sum) + most - ((double)logits[label] + bias[label]);
    for (size_t c = 0; c < classes; c++)
        logits[c] = (float)((p->powers[c] / sum - ((int32_t)c == label)) / (double)p->count);
    return loss;
}

/* gradient += block' x, and of the bias the column sums. */
static enum ij_status add_gradient(struct problem *p, size_t rows, double *gradient,
                                   struct ij_err *reterr_err)
{
    struct backend *b = p->backend;
    size_t width = (size_t)p->options->width, classes = (size_t)p->options->classes;
    const struct op_matmul args = {.m = (int64_t)classes,
                                   .n = (int64_t)width,
                                   .k = (int64_t)rows,
                                   .transpose_a = true,
                                   .a = p->device_logits,
                                   .b = p->device_x,
                                   .c = p->device_gradient,
                                   .alpha = 1};
    IJ_TRY(
        b->ops->upload(b, p->device_logits, p->block, rows * classes * sizeof(float), reterr_err));
    IJ_TRY(b->ops->matmul(b, &args, reterr_err));
    IJ_TRY(b->ops->download(b, p->partial, p->device_gradient, classes * width * sizeof(float),
                            reterr_err));
    IJ_TRY(b->ops->synchronize(b, reterr_err));
    for (size_t i = 0; i < classes * width; i++)
        gradient[i] += (double)p->partial[i];
    for (size_t r = 0; p->options->intercept && r < rows; r++)
        for (size_t c = 0; c < classes; c++)
            gradient[classes * width + c] += (double)p->block[r * classes + c];
    return IJ_OK;
}

static enum ij_status evaluate(struct problem *p, const double *at, double *ret_value,
                               double *gradient, struct ij_err *reterr_err)
{
    size_t classes = (size_t)p->options->classes;
    size_t weights = classes * (size_t)p->options->width;
    double loss = 0, square = 0;
    for (size_t i = 0; i < weights; i++) {
        p->weight[i] = (float)at[i];
        square += at[i] * at[i];
        gradient[i] = p->options->penalty * at[i];
    }
    memset(gradient + weights, 0, classes * sizeof *gradient);
    IJ_TRY(p->backend->ops->upload(p->backend, p->device_w, p->weight, weights * sizeof(float),
                                   reterr_err));
    for (size_t first = 0; first < p->count; first += BLOCK_ROWS) {
        size_t rows = p->count - first < BLOCK_ROWS ? p->count - first : BLOCK_ROWS;
        IJ_TRY(block_logits(p, first, rows, reterr_err));
        for (size_t r = 0; r < rows; r++)
            loss += row_loss(p, at + weights, p->block + r * classes, p->labels[first + r]);
        IJ_TRY(add_gradient(p, rows, gradient, reterr_err));
    }
    *ret_value = loss / (double)p->count + p->options->penalty / 2 * square;
    return IJ_OK;
}

/* ---- L-BFGS ---------------------------------------------------------------------------------- */

static double largest(const double *values, size_t count)
{
    double most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs(values[i]));
    return most;
}

/* direction = -H gradient, H the inverse Hessian that the history stands for. */
static void find_direction(const struct history *h, const double *gradient, double *direction,
                           size_t count)
{
    double alpha[HISTORY];
    for (size_t i = 0; i < count; i++)
        direction[i] = -gradient[i];
    for (size_t k = 0; k < h->count; k++) {
        size_t i = (h->next + HISTORY - 1 - k) % HISTORY;
        alpha[i] = h->rho[i] * vector_dot(h->s[i], direction, count);
        vector_add(direction, -alpha[i], h->y[i], count);
    }
    if (h->count > 0) {
        size_t newest = (h->next + HISTORY - 1) % HISTORY;
        double scale = 1 / (h->rho[newest] * vector_dot(h->y[newest], h->y[newest], count));
        for (size_t i = 0; i < count; i++)
            direction[i] *= scale;
    }
    for (size_t k = h->count; k-- > 0;) {
        size_t i = (h->next + HISTORY - 1 - k) % HISTORY;
        double beta = h->rho[i] * vector_dot(h->y[i], direction, count);
        vector_add(direction, alpha[i] - beta, h->s[i], count);
    }
}

/* Remembers a step where its curvature is positive. */
static void remember(struct history *h, const double *step, const double *old_gradient,
                     const double *new_gradient, size_t count)
{
    double *s = h->s[h->next], *y = h->y[h->next];
    for (size_t i = 0; i < count; i++) {
        s[i] = step[i];
        y[i] = new_gradient[i] - old_gradient[i];
    }
    double curvature = vector_dot(s, y, count);
    if (!(curvature > 1e-300))
        return;
    h->rho[h->next] = 1 / curvature;
    h->next = (h->next + 1) % HISTORY;
    h->count += h->count < HISTORY;
}

/* The vectors of a search, each `parameters` long, in one allocation. */
struct search {
    double *memory; /* owned */
    double *at, *gradient, *direction, *trial, *trial_gradient;
    struct history history;
    double value;
};

static enum ij_status search_init(struct search *s, size_t count, struct ij_err *reterr_err)
{
    double **views[] = {&s->at, &s->gradient, &s->direction, &s->trial, &s->trial_gradient};
    s->memory = mem_array(double, (COUNT_OF(views) + 2 * HISTORY) * count);
    if (!s->memory)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a logistic regression");
    double *next = s->memory;
    for (size_t i = 0; i < COUNT_OF(views); i++, next += count)
        *views[i] = next;
    for (size_t i = 0; i < HISTORY; i++, next += 2 * count) {
        s->history.s[i] = next;
        s->history.y[i] = next + count;
    }
    return IJ_OK;
}

/*
 * Halves the step until f falls enough; *ret_value is f at `trial`. False: it does not fall. Near
 * the optimum f changes by less than its rounding error, and the slope, which is more exact,
 * decides (the approximate condition of Hager and Zhang, SIAM J. Optim. 16, 2005).
 */
static enum ij_status backtrack(struct problem *p, struct search *s, double *ret_value,
                                bool *ret_fell, struct ij_err *reterr_err)
{
    size_t count = p->parameters;
    double slope = vector_dot(s->gradient, s->direction, count), step = 1;
    if (s->history.count == 0)
        step = fmin(1, 1 / sqrt(vector_dot(s->gradient, s->gradient, count)));
    *ret_fell = false;
    for (int i = 0; i < BACKTRACKS && slope < 0; i++, step /= 2) {
        for (size_t j = 0; j < count; j++)
            s->trial[j] = s->at[j] + step * s->direction[j];
        IJ_TRY(evaluate(p, s->trial, ret_value, s->trial_gradient, reterr_err));
        bool flat =
            fabs(vector_dot(s->trial_gradient, s->direction, count)) <= -CURVATURE * slope &&
            *ret_value <= s->value + NOISE * fabs(s->value);
        if (flat || *ret_value <= s->value + ARMIJO * step * slope) {
            *ret_fell = true;
            for (size_t j = 0; j < count; j++)
                s->direction[j] *= step;
            return IJ_OK;
        }
    }
    return IJ_OK;
}

static enum ij_status minimise(struct problem *p, struct search *s, struct logistic_fit *fit,
                               struct ij_err *reterr_err)
{
    const struct logistic_options *o = p->options;
    size_t count = p->parameters;
    double smallest = INFINITY;
    uint32_t since = 0; /* iterations since the gradient was that small */
    IJ_TRY(evaluate(p, s->at, &s->value, s->gradient, reterr_err));
    for (fit->iterations = 0; fit->iterations < o->iterations; fit->iterations++) {
        double value, gradient = largest(s->gradient, count);
        bool fell;
        since = gradient < smallest ? 0 : since + 1;
        smallest = fmin(smallest, gradient);
        fit->converged = gradient <= o->tolerance || since == STALLED;
        if (fit->converged)
            break;
        if (o->tick)
            IJ_TRY(o->tick(o->user, reterr_err));
        find_direction(&s->history, s->gradient, s->direction, count);
        IJ_TRY(backtrack(p, s, &value, &fell, reterr_err));
        if (!fell) {
            fit->converged = true;
            break;
        }
        remember(&s->history, s->direction, s->gradient, s->trial_gradient, count);
        memcpy(s->at, s->trial, count * sizeof *s->at);
        memcpy(s->gradient, s->trial_gradient, count * sizeof *s->gradient);
        s->value = value;
    }
    fit->objective = s->value;
    fit->gradient = largest(s->gradient, count);
    return IJ_OK;
}

static enum ij_status keep_fit(const struct problem *p, const struct search *s,
                               struct logistic_fit *fit, struct ij_err *reterr_err)
{
    size_t classes = (size_t)p->options->classes;
    size_t weights = classes * (size_t)p->options->width;
    fit->weight = mem_array(float, weights);
    fit->bias = mem_array(float, classes);
    if (!fit->weight || !fit->bias)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a classifier");
    for (size_t i = 0; i < weights; i++)
        fit->weight[i] = (float)s->at[i];
    for (size_t c = 0; c < classes; c++)
        fit->bias[c] = (float)s->at[weights + c];
    return IJ_OK;
}

enum ij_status logistic_train(struct backend *backend, const struct logistic_options *options,
                              const float *x, const int32_t *labels, size_t count,
                              struct logistic_fit *ret_fit, struct ij_err *reterr_err)
{
    struct problem p = {
        .backend = backend, .options = options, .x = x, .labels = labels, .count = count};
    struct search s = {.memory = NULL};
    enum ij_status status;
    IJ_ASSERT(count >= 1 && options->classes >= 2);
    memset(ret_fit, 0, sizeof *ret_fit);
    IJ_TRY_GOTO(status, problem_init(&p, reterr_err), out);
    IJ_TRY_GOTO(status, search_init(&s, p.parameters, reterr_err), out);
    IJ_TRY_GOTO(status, minimise(&p, &s, ret_fit, reterr_err), out);
    status = keep_fit(&p, &s, ret_fit, reterr_err);
out:
    problem_done(&p);
    mem_free(s.memory);
    if (status != IJ_OK)
        logistic_done(ret_fit);
    return status;
}

void logistic_done(struct logistic_fit *fit)
{
    mem_free(fit->weight);
    mem_free(fit->bias);
    memset(fit, 0, sizeof *fit);
}

enum ij_status logistic_predict(struct backend *backend, const struct logistic_fit *fit,
                                int64_t width, int64_t classes, const float *x, size_t count,
                                int32_t *ret_classes, struct ij_err *reterr_err)
{
    const struct logistic_options options = {.width = width, .classes = classes};
    struct problem p = {.backend = backend, .options = &options, .x = x, .count = count};
    enum ij_status status;
    IJ_TRY_GOTO(status, problem_init(&p, reterr_err), out);
    IJ_TRY_GOTO(status,
                backend->ops->upload(backend, p.device_w, fit->weight,
                                     (size_t)(width * classes) * sizeof(float), reterr_err),
                out);
    for (size_t first = 0; first < count; first += BLOCK_ROWS) {
        size_t rows = count - first < BLOCK_ROWS ? count - first : BLOCK_ROWS;
        IJ_TRY_GOTO(status, block_logits(&p, first, rows, reterr_err), out);
        for (size_t r = 0; r < rows; r++) {
            const float *logits = p.block + r * (size_t)classes;
            int32_t best = 0;
            for (int32_t c = 1; c < classes; c++)
                if (logits[c] + fit->bias[c] > logits[best] + fit->bias[best])
                    best = c;
            ret_classes[first + r] = best;
        }
    }
out:
    problem_done(&p);
    return status;
}
