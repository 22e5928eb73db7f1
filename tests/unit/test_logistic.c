/* The logistic regression against scikit-learn's, solved in double precision to 1e-12
 * (tests/golden/eval/make_probe.py), and what must hold at any optimum. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/eval/logistic.h"
#include "tests/unit/eval_golden.h"

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

TestSuite(logistic, .init = open_backend, .fini = close_backend);

enum { IMAGES = 150, WIDTH = 12, CLASSES = 4, PROBES = 40 };

static void probability(const struct logistic_fit *fit, const float *x, double ret[CLASSES])
{
    double most = -INFINITY, sum = 0;
    for (int c = 0; c < CLASSES; c++) {
        ret[c] = (double)fit->bias[c];
        for (int d = 0; d < WIDTH; d++)
            ret[c] += (double)fit->weight[c * WIDTH + d] * (double)x[d];
        most = fmax(most, ret[c]);
    }
    for (int c = 0; c < CLASSES; c++)
        sum += ret[c] = exp(ret[c] - most);
    for (int c = 0; c < CLASSES; c++)
        ret[c] /= sum;
}

static void compare(const struct safetensors *file, bool intercept, int which)
{
    static float x[IMAGES * WIDTH], probes[PROBES * WIDTH];
    static double expected[PROBES * CLASSES], weight[CLASSES * WIDTH];
    int32_t labels[IMAGES];
    double penalties[3], objective;
    char prefix[16];
    struct logistic_fit fit;
    struct ij_err err = IJ_ERR_INIT;
    snprintf(prefix, sizeof prefix, "%s.%d.", intercept ? "bias" : "plain", which);
    golden_f32(file, "", "x", x, IMAGES * WIDTH);
    golden_f32(file, "", "probe", probes, PROBES * WIDTH);
    golden_i32(file, "", "labels", labels, IMAGES);
    golden_f64(file, "", "penalties", penalties, 3);
    golden_f64(file, prefix, "objective", &objective, 1);
    golden_f64(file, prefix, "weight", weight, CLASSES * WIDTH);
    golden_f64(file, prefix, "probability", expected, PROBES * CLASSES);
    const struct logistic_options options = {.width = WIDTH,
                                             .classes = CLASSES,
                                             .penalty = penalties[which],
                                             .intercept = intercept,
                                             .iterations = 1000,
                                             .tolerance = 1e-7};
    cr_assert_eq(logistic_train(backend, &options, x, labels, IMAGES, &fit, &err), IJ_OK, "%s",
                 err.text);
    cr_assert(fit.converged);
    cr_assert_float_eq(fit.objective, objective, 1e-7 * objective, "%s %.12g, expected %.12g",
                       prefix, fit.objective, objective);
    for (int i = 0; i < CLASSES * WIDTH; i++)
        cr_assert_float_eq(fit.weight[i], weight[i], 1e-3 * (1 + fabs(weight[i])), "%s weight %d",
                           prefix, i);
    for (int r = 0; r < PROBES; r++) {
        double got[CLASSES];
        probability(&fit, probes + r * WIDTH, got);
        for (int c = 0; c < CLASSES; c++)
            cr_assert_float_eq(got[c], expected[r * CLASSES + c], 2e-4, "%s probe %d class %d",
                               prefix, r, c);
    }
    logistic_done(&fit);
}

Test(logistic, agrees_with_scikit_learn)
{
    struct safetensors *file = golden_open("logistic.safetensors");
    for (int intercept = 0; intercept < 2; intercept++)
        for (int which = 0; which < 3; which++)
            compare(file, intercept, which);
    safetensors_free(file);
}

/* More images than one block holds, and predictions that are the largest logit. */
Test(logistic, blocks_of_images_add_up)
{
    enum { MANY = 2500 };
    static float x[MANY * WIDTH];
    static int32_t labels[MANY], answers[MANY], again[MANY];
    struct logistic_fit fit, twice;
    struct rng rng;
    rng_init(&rng, 3, RNG_TEST, 0, 0);
    for (int i = 0; i < MANY; i++) {
        labels[i] = (int32_t)rng_below(&rng, CLASSES);
        for (int d = 0; d < WIDTH; d++)
            x[i * WIDTH + d] = (float)(rng_normal(&rng) + (d % CLASSES == labels[i] ? 1.5 : 0));
    }
    const struct logistic_options options = {
        .width = WIDTH, .classes = CLASSES, .penalty = 1e-3, .iterations = 200, .tolerance = 1e-6};
    cr_assert_eq(logistic_train(backend, &options, x, labels, MANY, &fit, NULL), IJ_OK);
    cr_assert(fit.converged);
    cr_assert_eq(logistic_predict(backend, &fit, WIDTH, CLASSES, x, MANY, answers, NULL), IJ_OK);
    int right = 0;
    for (int i = 0; i < MANY; i++) {
        double got[CLASSES];
        int best = 0;
        probability(&fit, x + i * WIDTH, got);
        for (int c = 1; c < CLASSES; c++)
            best = got[c] > got[best] ? c : best;
        cr_assert_eq(answers[i], best);
        right += answers[i] == labels[i];
    }
    cr_assert_geq(right, MANY * 8 / 10);
    /* Without a bias the columns of W sum to zero at the optimum: softmax does not see the sum. */
    for (int d = 0; d < WIDTH; d++) {
        double sum = 0;
        for (int c = 0; c < CLASSES; c++)
            sum += (double)fit.weight[c * WIDTH + d];
        cr_assert_float_eq(sum, 0, 1e-3);
        cr_assert_eq(fit.bias[d % CLASSES], 0);
    }
    cr_assert_eq(logistic_train(backend, &options, x, labels, MANY, &twice, NULL), IJ_OK);
    cr_assert_arr_eq(fit.weight, twice.weight, CLASSES * WIDTH * sizeof(float));
    cr_assert_eq(logistic_predict(backend, &twice, WIDTH, CLASSES, x, MANY, again, NULL), IJ_OK);
    cr_assert_arr_eq(answers, again, sizeof answers);
    logistic_done(&fit);
    logistic_done(&twice);
}

static enum ij_status stop(void *user, struct ij_err *reterr_err)
{
    return ++*(int *)user > 2 ? IJ_ERR(reterr_err, IJ_STOPPED, "stopped") : IJ_OK;
}

Test(logistic, says_when_iterations_ran_out_and_stops_when_asked)
{
    static const float x[] = {1, 0, 0, 1, -1, 0, 0, -1};
    static const int32_t labels[] = {0, 1, 0, 1};
    struct logistic_fit fit;
    int asked = 0;
    struct logistic_options options = {
        .width = 2, .classes = 2, .penalty = 1e-6, .iterations = 1, .tolerance = 1e-9};
    cr_assert_eq(logistic_train(backend, &options, x, labels, 4, &fit, NULL), IJ_OK);
    cr_assert(fit.iterations <= 1);
    logistic_done(&fit);
    static const float apart[] = {1, 0.3f, 0.2f, 1, 1, -0.4f, -0.1f, 1};
    options.iterations = 100;
    options.tick = stop;
    options.user = &asked;
    cr_assert_eq(logistic_train(backend, &options, apart, labels, 4, &fit, NULL), IJ_STOPPED);
    cr_assert_null(fit.weight);
}
