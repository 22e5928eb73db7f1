/* One step of the linear probe's heads against a plain double-precision computation that keeps
 * batch norm and linear layer apart, and gradients by finite differences of that. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/eval/probe_group.h"
#include "tests/unit/eval_golden.h"

enum { ROWS = 9, WIDTH = 7, CLASSES = 4, RATES = 3, STEPS = 12 };

static struct backend *backend;

static void open_backend(void)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(backend_host_new(1, &backend, &err), IJ_OK, "%s", err.text);
}
static void close_backend(void)
{
    backend->ops->free(backend);
}

TestSuite(probe_group, .init = open_backend, .fini = close_backend);

/* A head in double. Parameters in one array, so that differences can go over all of them. */
enum { W = 0, B = CLASSES * WIDTH, GAMMA = B + CLASSES, BETA = GAMMA + WIDTH, ALL = BETA + WIDTH };
struct head {
    double p[ALL], momentum[ALL], mean[WIDTH], variance[WIDTH];
};

static float x[STEPS][ROWS * WIDTH];
static int32_t labels[STEPS][ROWS];

static void make_data(void)
{
    struct rng rng;
    rng_init(&rng, 5, RNG_TEST, 0, 0);
    for (int s = 0; s < STEPS; s++) {
        for (int i = 0; i < ROWS * WIDTH; i++)
            x[s][i] = (float)(rng_normal(&rng) * (1 + i % WIDTH) + i % WIDTH);
        for (int r = 0; r < ROWS; r++)
            labels[s][r] = (int32_t)rng_below(&rng, CLASSES);
    }
}

static void normalised(const float *input, bool norm, double out[ROWS][WIDTH])
{
    for (int d = 0; d < WIDTH; d++) {
        double mean = 0, variance = 0;
        for (int r = 0; r < ROWS; r++)
            mean += input[r * WIDTH + d] / (double)ROWS;
        for (int r = 0; r < ROWS; r++)
            variance += pow(input[r * WIDTH + d] - mean, 2) / ROWS;
        for (int r = 0; r < ROWS; r++)
            out[r][d] =
                norm ? (input[r * WIDTH + d] - mean) / sqrt(variance + 1e-5) : input[r * WIDTH + d];
    }
}

static double loss_of(const double *p, const float *input, const int32_t *label, bool norm)
{
    double xhat[ROWS][WIDTH], loss = 0;
    normalised(input, norm, xhat);
    for (int r = 0; r < ROWS; r++) {
        double logits[CLASSES], sum = 0;
        for (int c = 0; c < CLASSES; c++) {
            logits[c] = p[B + c];
            for (int d = 0; d < WIDTH; d++)
                logits[c] += p[W + c * WIDTH + d] *
                             (norm ? p[GAMMA + d] * xhat[r][d] + p[BETA + d] : xhat[r][d]);
            sum += exp(logits[c]);
        }
        loss += (log(sum) - logits[label[r]]) / ROWS;
    }
    return loss;
}

/* torch.optim.SGD(momentum=0.9, nesterov=True) with gradients by central differences. */
static void reference_step(struct head *h, int step, bool norm, double rate, double decay,
                           bool lars)
{
    double gradient[ALL] = {0};
    int count = norm ? ALL : GAMMA;
    for (int i = 0; i < count; i++) {
        double kept = h->p[i], e = 1e-5;
        h->p[i] = kept + e;
        double up = loss_of(h->p, x[step], labels[step], norm);
        h->p[i] = kept - e;
        gradient[i] = (up - loss_of(h->p, x[step], labels[step], norm)) / (2 * e);
        h->p[i] = kept;
    }
    double weight_norm = 0, gradient_norm = 0;
    for (int i = W; i < B; i++) {
        weight_norm += h->p[i] * h->p[i];
        gradient_norm += pow(gradient[i] + decay * h->p[i], 2);
    }
    for (int i = 0; i < count; i++) {
        double g = gradient[i] + (i < GAMMA ? decay * h->p[i] : 0);
        if (lars && i < B)
            g *= 0.001 * sqrt(weight_norm) / sqrt(gradient_norm);
        h->momentum[i] = 0.9 * h->momentum[i] + g;
        h->p[i] -= rate * (lars ? h->momentum[i] : g + 0.9 * h->momentum[i]);
    }
    for (int d = 0; d < WIDTH; d++) {
        double mean = 0, square = 0;
        for (int r = 0; r < ROWS; r++)
            mean += x[step][r * WIDTH + d] / (double)ROWS;
        for (int r = 0; r < ROWS; r++)
            square += pow(x[step][r * WIDTH + d] - mean, 2);
        h->mean[d] = 0.9 * h->mean[d] + 0.1 * mean;
        h->variance[d] = 0.9 * h->variance[d] + 0.1 * square / (ROWS - 1);
    }
}

static const double decays[RATES] = {0.02, 0, 0.1};

static struct probe_group *group_new(bool norm, enum engine_probe_optimizer optimizer,
                                     uint64_t seed)
{
    const struct probe_group_options options = {.width = WIDTH,
                                                .classes = CLASSES,
                                                .heads = RATES,
                                                .optimizer = optimizer,
                                                .rows_max = ROWS,
                                                .batch_norm = norm,
                                                .weight_decays = decays,
                                                .seed = seed};
    struct probe_group *group = NULL;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(probe_group_new(backend, &options, &group, &err), IJ_OK, "%s", err.text);
    return group;
}

static void copy_head(struct head *h, struct probe_group_view v, int head, bool norm)
{
    *h = (struct head){.p = {0}};
    for (int i = 0; i < CLASSES * WIDTH; i++)
        h->p[W + i] = v.weight[head * CLASSES * WIDTH + i];
    for (int i = 0; i < CLASSES; i++)
        h->p[B + i] = v.bias[head * CLASSES + i];
    for (int d = 0; d < WIDTH && norm; d++) {
        h->p[GAMMA + d] = v.gamma[head * WIDTH + d];
        h->p[BETA + d] = v.beta[head * WIDTH + d];
    }
    for (int d = 0; d < WIDTH; d++)
        h->variance[d] = 1;
}

static void expect_equal(const struct head *expected, const struct head *got, int count)
{
    for (int i = 0; i < count; i++)
        cr_assert_float_eq(got->p[i], expected->p[i], 2e-4 * (1 + fabs(expected->p[i])),
                           "parameter %d: %.9g, expected %.9g", i, got->p[i], expected->p[i]);
}

static void compare_with_reference(bool norm, enum engine_probe_optimizer optimizer)
{
    /* LARS moves weights by a thousandth of their length: rates are larger. */
    static const double all_rates[2][RATES] = {{0.01, 0.05, 0.2}, {1, 8, 30}};
    const double *rates = all_rates[optimizer];
    struct head expected[RATES], got;
    double losses[RATES];
    make_data();
    struct probe_group *group = group_new(norm, optimizer, 11);
    struct probe_group_view view = probe_group_get(group);
    for (int h = 0; h < RATES; h++)
        copy_head(&expected[h], view, h, norm);
    for (int step = 0; step < STEPS; step++) {
        cr_assert_eq(probe_group_step(group, x[step], labels[step], ROWS, rates, losses, NULL),
                     IJ_OK);
        for (int h = 0; h < RATES; h++) {
            double loss = loss_of(expected[h].p, x[step], labels[step], norm);
            cr_assert_float_eq(losses[h], loss, 3e-4 * (1 + loss), "step %d head %d", step, h);
            reference_step(&expected[h], step, norm, rates[h], decays[h],
                           optimizer == ENGINE_PROBE_LARS);
            copy_head(&got, view, h, norm);
            expect_equal(&expected[h], &got, norm ? ALL : GAMMA);
        }
    }
    for (int d = 0; d < WIDTH && norm; d++) {
        cr_assert_float_eq(view.running_mean[d], expected[0].mean[d], 1e-5 * (1 + d));
        cr_assert_float_eq(view.running_variance[d], expected[0].variance[d], 1e-4 * (1 + d * d));
    }
    probe_group_free(group);
}

Test(probe_group, steps_with_batch_norm_match_double_precision)
{
    compare_with_reference(true, ENGINE_PROBE_SGD);
}

Test(probe_group, steps_without_batch_norm_match_double_precision)
{
    compare_with_reference(false, ENGINE_PROBE_SGD);
}

Test(probe_group, lars_with_batch_norm_matches_double_precision)
{
    compare_with_reference(true, ENGINE_PROBE_LARS);
}

Test(probe_group, lars_without_batch_norm_matches_double_precision)
{
    compare_with_reference(false, ENGINE_PROBE_LARS);
}

Test(probe_group, starts_as_torch_linear_does)
{
    struct probe_group *group = group_new(true, 0, 1), *other = group_new(true, 0, 2);
    struct probe_group_view v = probe_group_get(group), o = probe_group_get(other);
    double bound = 1 / sqrt(WIDTH), most = 0;
    for (int i = 0; i < CLASSES * WIDTH; i++)
        most = fmax(most, fabs(v.weight[i]));
    cr_assert(most <= bound && most > 0.8 * bound);
    cr_assert_arr_eq(v.weight, v.weight + CLASSES * WIDTH, CLASSES * WIDTH * sizeof(float),
                     "heads differ in rate only");
    cr_assert_neq(memcmp(v.weight, o.weight, CLASSES * WIDTH * sizeof(float)), 0);
    cr_assert(v.gamma[3] == 1 && v.beta[3] == 0 && v.running_mean[2] == 0);
    cr_assert(v.running_variance[2] == 1);
    probe_group_free(group);
    probe_group_free(other);
}

/* Prediction uses the running statistics: the plain formula with them gives the same classes. */
Test(probe_group, prediction_uses_the_running_statistics)
{
    static const double rates[RATES] = {0.01, 0.05, 0.2};
    int32_t got[RATES * ROWS];
    make_data();
    struct probe_group *group = group_new(true, ENGINE_PROBE_SGD, 11);
    struct probe_group_view v = probe_group_get(group);
    for (int step = 0; step < STEPS; step++)
        cr_assert_eq(probe_group_step(group, x[step], labels[step], ROWS, rates, NULL, NULL),
                     IJ_OK);
    cr_assert_eq(probe_group_predict(group, x[0], ROWS, got, NULL), IJ_OK);
    for (int h = 0; h < RATES; h++)
        for (int r = 0; r < ROWS; r++) {
            int best = 0;
            double most = -INFINITY;
            for (int c = 0; c < CLASSES; c++) {
                double logit = v.bias[h * CLASSES + c];
                for (int d = 0; d < WIDTH; d++)
                    logit += v.weight[(h * CLASSES + c) * WIDTH + d] *
                             (v.gamma[h * WIDTH + d] * (x[0][r * WIDTH + d] - v.running_mean[d]) /
                                  sqrt(v.running_variance[d] + 1e-5) +
                              v.beta[h * WIDTH + d]);
                if (logit > most) {
                    most = logit;
                    best = c;
                }
            }
            cr_assert_eq(got[h * ROWS + r], best, "head %d row %d", h, r);
        }
    probe_group_free(group);
}

/* ---- Against PyTorch in double precision (tests/golden/eval/make_probe.py) ------------------- */

enum { GOLDEN_ROWS = 24, GOLDEN_WIDTH = 10, GOLDEN_CLASSES = 5, GOLDEN_STEPS = 30 };

/* Norm-wise: |got - expected| <= 1e-4 |expected|. */
static void expect_near(const struct safetensors *file, const char *prefix, const char *name,
                        const float *got, int count)
{
    double expected[RATES * GOLDEN_CLASSES * GOLDEN_WIDTH], error = 0, size = 0;
    golden_f64(file, prefix, name, expected, (uint64_t)count);
    for (int i = 0; i < count; i++) {
        error += pow((double)got[i] - expected[i], 2);
        size += expected[i] * expected[i];
    }
    cr_assert_leq(sqrt(error), 1e-4 * sqrt(size), "%s%s: %g of %g", prefix, name, sqrt(error),
                  sqrt(size));
}

/* All heads of a group begin with the file's weights. */
static void load_start(const struct safetensors *file, struct probe_group *group)
{
    struct probe_group_view view = probe_group_get(group);
    for (int h = 0; h < RATES; h++) {
        golden_f32(file, "", "weight", view.weight + h * GOLDEN_CLASSES * GOLDEN_WIDTH,
                   GOLDEN_CLASSES * GOLDEN_WIDTH);
        golden_f32(file, "", "bias", view.bias + h * GOLDEN_CLASSES, GOLDEN_CLASSES);
    }
}

static void replay(enum engine_probe_optimizer optimizer, bool norm)
{
    static float inputs[GOLDEN_STEPS * GOLDEN_ROWS * GOLDEN_WIDTH];
    static int32_t classes[GOLDEN_STEPS * GOLDEN_ROWS];
    double rates[RATES], decay[RATES], losses[RATES], expected[RATES * GOLDEN_STEPS];
    struct safetensors *file = golden_open("heads.safetensors");
    const char *name = optimizer == ENGINE_PROBE_LARS ? "lars." : "sgd.";
    char prefix[16];
    struct probe_group *group = NULL;
    snprintf(prefix, sizeof prefix, "%s%s", name, norm ? "bn." : "plain.");
    golden_f32(file, "", "x", inputs, GOLDEN_STEPS * GOLDEN_ROWS * GOLDEN_WIDTH);
    golden_i32(file, "", "labels", classes, GOLDEN_STEPS * GOLDEN_ROWS);
    golden_f64(file, "", "decays", decay, RATES);
    golden_f64(file, name, "rates", rates, RATES);
    golden_f64(file, prefix, "losses", expected, RATES * GOLDEN_STEPS);
    const struct probe_group_options options = {.width = GOLDEN_WIDTH,
                                                .classes = GOLDEN_CLASSES,
                                                .heads = RATES,
                                                .rows_max = GOLDEN_ROWS,
                                                .batch_norm = norm,
                                                .optimizer = optimizer,
                                                .weight_decays = decay};
    cr_assert_eq(probe_group_new(backend, &options, &group, NULL), IJ_OK);
    load_start(file, group);
    for (int s = 0; s < GOLDEN_STEPS; s++) {
        cr_assert_eq(probe_group_step(group, inputs + s * GOLDEN_ROWS * GOLDEN_WIDTH,
                                      classes + s * GOLDEN_ROWS, GOLDEN_ROWS, rates, losses, NULL),
                     IJ_OK);
        for (int h = 0; h < RATES; h++) {
            double loss = expected[h * GOLDEN_STEPS + s];
            cr_assert_float_eq(losses[h], loss, 1e-4 * (1 + loss), "%s step %d head %d", prefix, s,
                               h);
        }
    }
    struct probe_group_view view = probe_group_get(group);
    expect_near(file, prefix, "weight", view.weight, RATES * GOLDEN_CLASSES * GOLDEN_WIDTH);
    expect_near(file, prefix, "bias", view.bias, RATES * GOLDEN_CLASSES);
    if (norm) {
        expect_near(file, prefix, "gamma", view.gamma, RATES * GOLDEN_WIDTH);
        expect_near(file, prefix, "beta", view.beta, RATES * GOLDEN_WIDTH);
        float statistics[2][RATES * GOLDEN_WIDTH];
        for (int h = 0; h < RATES; h++) { /* every head saw the same input */
            memcpy(statistics[0] + h * GOLDEN_WIDTH, view.running_mean,
                   GOLDEN_WIDTH * sizeof(float));
            memcpy(statistics[1] + h * GOLDEN_WIDTH, view.running_variance,
                   GOLDEN_WIDTH * sizeof(float));
        }
        expect_near(file, prefix, "running_mean", statistics[0], RATES * GOLDEN_WIDTH);
        expect_near(file, prefix, "running_variance", statistics[1], RATES * GOLDEN_WIDTH);
    }
    probe_group_free(group);
    safetensors_free(file);
}

Test(probe_group, sgd_agrees_with_pytorch)
{
    replay(ENGINE_PROBE_SGD, false);
    replay(ENGINE_PROBE_SGD, true);
}

Test(probe_group, lars_agrees_with_pytorch)
{
    replay(ENGINE_PROBE_LARS, false);
    replay(ENGINE_PROBE_LARS, true);
}
