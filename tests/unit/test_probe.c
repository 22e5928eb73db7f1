/* The linear probe as a whole: it learns what can be learned, chooses by images set aside, repeats
 * itself, and reports honestly. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/eval/evaluate_report.h"
#include "gpu/eval/probe.h"

enum { TRAIN = 600, EVAL = 200, WIDTH = 16, CLASSES = 5 };

static struct backend *backend;
static struct features train, eval;
static const struct probe_options defaults = {.classes = CLASSES,
                                              .batch = 64,
                                              .epochs = 12,
                                              .learning_rate = 0.1,
                                              .weight_decay = 5e-4,
                                              .seed = 1};

/* Class means in `last`; noise alone in `concat`. */
static void make_features(struct features *f, size_t count, uint64_t sample)
{
    struct rng rng;
    rng_init(&rng, 9, RNG_TEST, 0, sample);
    *f = (struct features){.count = count, .width = WIDTH};
    f->last = mem_array(float, count *WIDTH);
    f->concat = mem_array(float, count *WIDTH *FROZEN_CONCAT_BLOCKS);
    f->labels = mem_array(int32_t, count);
    for (size_t i = 0; i < count; i++) {
        f->labels[i] = (int32_t)rng_below(&rng, CLASSES);
        for (size_t d = 0; d < WIDTH; d++)
            f->last[i * WIDTH + d] =
                (float)(rng_normal(&rng) * 0.5 + (d % CLASSES == (size_t)f->labels[i] ? 3 : 0));
    }
    for (size_t i = 0; i < count * WIDTH * FROZEN_CONCAT_BLOCKS; i++)
        f->concat[i] = (float)rng_normal(&rng);
}

static void open_all(void)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(backend_host_new(1, &backend, &err), IJ_OK, "%s", err.text);
    make_features(&train, TRAIN, 1);
    make_features(&eval, EVAL, 2);
}
static void close_all(void)
{
    features_done(&train);
    features_done(&eval);
    backend->ops->free(backend);
}

TestSuite(probe, .init = open_all, .fini = close_all);

static struct probe_result run(const struct probe_options *options)
{
    struct probe_result result;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(probe_train(backend, options, &train, &eval, NULL, &result, &err), IJ_OK, "%s",
                 err.text);
    return result;
}

Test(probe, learns_a_separable_problem_and_chooses_the_right_feature)
{
    struct probe_result result = run(&defaults);
    cr_assert(result.trained == 540 && result.validated == 60);
    size_t best = evaluate_report_best_head(&result, 1);
    cr_assert(!probe_head_is_concat(best), "noise was preferred");
    cr_assert_geq(result.heads[best].eval_top1, 0.99);
    for (size_t h = 0; h < PROBE_HEADS; h++)
        if (probe_head_is_concat(h))
            cr_assert_leq(result.heads[h].eval_top1, 0.35, "head %zu learns from noise", h);
}

Test(probe, random_labels_stay_at_chance)
{
    struct rng rng;
    rng_init(&rng, 10, RNG_TEST, 0, 0);
    for (size_t i = 0; i < EVAL; i++)
        eval.labels[i] = (int32_t)rng_below(&rng, CLASSES);
    struct probe_result result = run(&defaults);
    for (size_t h = 0; h < PROBE_HEADS; h++)
        cr_assert_float_eq(result.heads[h].eval_top1, 1.0 / CLASSES, 0.12);
}

Test(probe, repeats_itself_bit_for_bit_and_the_seed_matters)
{
    struct probe_options other = defaults;
    other.seed = 2;
    struct probe_result first = run(&defaults), second = run(&defaults), third = run(&other);
    cr_assert_arr_eq(&first, &second, sizeof first);
    cr_assert_neq(memcmp(&first, &third, sizeof first), 0);
}

Test(probe, images_without_a_label_are_not_trained_on)
{
    for (size_t i = 0; i < TRAIN; i += 2)
        train.labels[i] = -1;
    struct probe_result result = run(&defaults);
    cr_assert_eq(result.trained + result.validated, TRAIN / 2);
    for (size_t i = 1; i < TRAIN; i++)
        train.labels[i] = -1;
    train.labels[7] = 0;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(probe_train(backend, &defaults, &train, &eval, NULL, &result, &err), IJ_DATA);
    cr_assert_str_eq(err.field, "data.labels");
}

Test(probe, small_sets_and_large_batches_work)
{
    struct probe_options options = defaults;
    options.batch = 4096;
    train.count = 2;
    struct probe_result result = run(&options);
    cr_assert(result.trained == 2 && result.validated == 0);
    options.batch = 1;
    train.count = 21;
    result = run(&options);
    cr_assert(result.trained == 19 && result.validated == 2);
}

static enum engine_command stop(void *user)
{
    (void)user;
    return ENGINE_STOP;
}

Test(probe, stops_when_asked)
{
    const struct engine_sink sink = {.poll = stop};
    struct eval_progress progress;
    struct probe_result result;
    eval_progress_init(&progress, &sink, 100);
    cr_assert_eq(probe_train(backend, &defaults, &train, &eval, &progress, &result, NULL),
                 IJ_STOPPED);
}

Test(probe, names_say_what_a_head_is)
{
    char names[PROBE_HEADS][PROBE_NAME_SIZE];
    for (size_t h = 0; h < PROBE_HEADS; h++) {
        probe_head_name(h, names[h]);
        for (size_t i = 0; i < h; i++)
            cr_assert_str_neq(names[i], names[h]);
    }
    cr_assert_str_eq(names[0], "last.bn.lr0.1");
    cr_assert_str_eq(names[PROBE_HEADS - 1], "concat4.plain.lr3");
}

Test(probe, mean_and_deviation)
{
    const double values[] = {0.5, 0.6, 0.7};
    double mean, std;
    evaluate_report_mean_std(values, 3, &mean, &std);
    cr_assert_float_eq(mean, 0.6, 1e-12);
    cr_assert_float_eq(std, 0.1, 1e-12);
    evaluate_report_mean_std(values, 1, &mean, &std);
    cr_assert(mean == 0.5 && isnan(std));
}
