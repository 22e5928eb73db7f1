/* The linear probe as a whole: it learns what can be learned, chooses by images set aside, repeats
 * itself, and reports honestly. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/eval/evaluate_report.h"
#include "gpu/eval/probe.h"

enum { TRAIN = 600, EVAL = 200, WIDTH = 16, CLASSES = 5, HEADS = 16, ANSWERS_MAX = 8 };

static struct backend *backend;
static struct features train, eval;
static int32_t *answers[ANSWERS_MAX]; /* of the results so far; freed at the end */
static int answer_count;
static const struct engine_probe recipe = {.rates = {4, {0.01, 0.03, 0.1, 0.3}},
                                           .weight_decays = {1, {5e-4}}};
static const struct probe_options defaults = {
    .recipe = &recipe, .classes = CLASSES, .batch = 64, .epochs = 12, .seed = 1};

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
    for (int i = 0; i < answer_count; i++)
        mem_free(answers[i]);
    backend->ops->free(backend);
}

TestSuite(probe, .init = open_all, .fini = close_all);

static struct probe_result run(const struct probe_options *options)
{
    struct probe_result result;
    cr_assert_lt(answer_count, ANSWERS_MAX);
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(probe_train(backend, options, &train, &eval, NULL, &result, &err), IJ_OK, "%s",
                 err.text);
    answers[answer_count++] = result.answers;
    return result;
}

Test(probe, learns_a_separable_problem_and_chooses_the_right_feature)
{
    struct probe_result result = run(&defaults);
    cr_assert(result.trained == 540 && result.set_aside == 60);
    size_t best = evaluate_report_best_head(&recipe, &result, 1);
    cr_assert(!probe_heads_is_concat(&recipe, best), "noise was preferred");
    cr_assert_geq(result.heads[best].eval_top1, 0.99);
    for (size_t h = 0; h < HEADS; h++)
        if (probe_heads_is_concat(&recipe, h))
            cr_assert_leq(result.heads[h].eval_top1, 0.35, "head %zu learns from noise", h);
}

Test(probe, random_labels_stay_at_chance)
{
    struct rng rng;
    rng_init(&rng, 10, RNG_TEST, 0, 0);
    for (size_t i = 0; i < EVAL; i++)
        eval.labels[i] = (int32_t)rng_below(&rng, CLASSES);
    struct probe_result result = run(&defaults);
    for (size_t h = 0; h < HEADS; h++)
        cr_assert_float_eq(result.heads[h].eval_top1, 1.0 / CLASSES, 0.12);
}

Test(probe, repeats_itself_bit_for_bit_and_the_seed_matters)
{
    struct probe_options other = defaults;
    other.seed = 2;
    struct probe_result first = run(&defaults), second = run(&defaults), third = run(&other);
    cr_assert_arr_eq(first.heads, second.heads, sizeof first.heads);
    cr_assert_arr_eq(first.answers, second.answers, HEADS * EVAL * sizeof *first.answers);
    cr_assert_neq(memcmp(first.heads, third.heads, sizeof first.heads), 0);
}

Test(probe, images_without_a_label_are_not_trained_on)
{
    for (size_t i = 0; i < TRAIN; i += 2)
        train.labels[i] = -1;
    struct probe_result result = run(&defaults);
    cr_assert_eq(result.trained + result.set_aside, TRAIN / 2);
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
    cr_assert(result.trained == 2 && result.set_aside == 0);
    options.batch = 1;
    train.count = 21;
    result = run(&options);
    cr_assert(result.trained == 19 && result.set_aside == 2);
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

Test(probe, the_answers_are_what_the_figures_count)
{
    struct probe_result result = run(&defaults);
    for (size_t h = 0; h < HEADS; h++) {
        size_t right = 0;
        for (size_t i = 0; i < EVAL; i++)
            right += result.answers[h * EVAL + i] == eval.labels[i];
        cr_assert_float_eq(result.heads[h].eval_top1, (double)right / EVAL, 1e-12);
    }
}

Test(probe, as_published_nothing_is_set_aside_and_the_best_of_the_evaluation_split_counts)
{
    struct engine_probe published = recipe;
    struct probe_options options = defaults;
    published.selection = ENGINE_SELECT_EVAL;
    options.recipe = &published;
    struct probe_result result = run(&options);
    cr_assert(result.trained == TRAIN && result.set_aside == 0);
    size_t best = evaluate_report_best_head(&published, &result, 1);
    for (size_t h = 0; h < HEADS; h++)
        cr_assert_leq(result.heads[h].eval_top1, result.heads[best].eval_top1);
}

Test(probe, every_combination_of_rates_and_decays_is_a_head)
{
    struct engine_probe wide = recipe;
    struct probe_options options = defaults;
    wide.weight_decays = (struct engine_list){2, {5e-4, 0}};
    options.recipe = &wide;
    struct probe_result both = run(&options), one = run(&defaults);
    cr_assert_eq(probe_heads_count(&wide), 32);
    for (size_t h = 0; h < 32; h++) {
        char name[PROBE_HEADS_NAME_SIZE], other[PROBE_HEADS_NAME_SIZE];
        probe_heads_name(&wide, h, name);
        for (size_t i = 0; i < HEADS; i++) {
            probe_heads_name(&recipe, i, other);
            if (strcmp(name, other) == 0)
                cr_assert_eq(both.heads[h].eval_top1, one.heads[i].eval_top1, "%s", name);
        }
    }
}
