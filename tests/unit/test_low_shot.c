/* Low-shot evaluation: which images are chosen, how features are scaled, and the whole run. */
#include "tests/unit/eval_fixture.h"

#include <jansson.h>

#include "gpu/eval/feature_scale.h"
#include "gpu/eval/low_shot.h"
#include "gpu/eval/low_shot_select.h"

TestSuite(low_shot, .init = eval_open, .fini = eval_close);

static struct dataset *open_train(const struct engine_spec *spec)
{
    struct dataset *dataset = NULL;
    cr_assert_eq(dataset_open(&spec->data, DATASET_TRAIN, &dataset, NULL), IJ_OK);
    return dataset;
}

static size_t count_class(const struct dataset *dataset, const uint32_t *rows, size_t count,
                          int32_t class_index)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++)
        found += dataset_label(dataset, rows[i]) == class_index;
    return found;
}

static void draw(const struct dataset *dataset, const struct engine_low_shot *options,
                 uint64_t seed, uint32_t **rows, size_t *count)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(low_shot_select(dataset, options, seed, rows, count, &err), IJ_OK, "%s", err.text);
    for (size_t i = 1; i < *count; i++)
        cr_assert_lt((*rows)[i - 1], (*rows)[i], "ascending, none twice");
}

Test(low_shot, draws_as_many_of_each_class_and_the_seed_decides_which)
{
    struct engine_spec spec = eval_spec(ENGINE_LOW_SHOT);
    struct dataset *dataset = open_train(&spec);
    struct engine_low_shot options = {.shots = 7, .fraction = 0.01};
    uint32_t *first, *same, *other, *rows;
    size_t count, all;
    draw(dataset, &options, 1, &first, &count);
    draw(dataset, &options, 1, &same, &count);
    draw(dataset, &options, 2, &other, &count);
    cr_assert_eq(count, 21);
    for (int32_t c = 0; c < EVAL_CLASSES; c++)
        cr_assert_eq(count_class(dataset, first, count, c), 7);
    cr_assert_arr_eq(first, same, count * sizeof *first);
    cr_assert_neq(memcmp(first, other, count * sizeof *first), 0);
    options.shots = 100; /* more than there are */
    draw(dataset, &options, 1, &rows, &all);
    cr_assert_eq(all, EVAL_CLASSES * EVAL_TRAIN_EACH);
    mem_free(rows);
    options = (struct engine_low_shot){.fraction = 0.25};
    draw(dataset, &options, 1, &rows, &all);
    cr_assert_eq(all, EVAL_CLASSES * 5);
    mem_free(rows);
    options.fraction = 0.001; /* at least one */
    draw(dataset, &options, 1, &rows, &all);
    cr_assert_eq(all, EVAL_CLASSES);
    mem_free(rows);
    mem_free(first);
    mem_free(same);
    mem_free(other);
    dataset_free(dataset);
}

static void write_list(struct engine_low_shot *options, const char *text)
{
    snprintf(options->list, sizeof options->list, "%s/list.txt", eval_root);
    cr_assert_eq(file_write_durable(options->list, text, strlen(text), 0644, NULL), IJ_OK);
}

static void expect_refused(const struct dataset *dataset, struct engine_low_shot *options,
                           const char *text, const char *part)
{
    uint32_t *rows = NULL;
    size_t count;
    struct ij_err err = IJ_ERR_INIT;
    write_list(options, text);
    cr_assert_eq(low_shot_select(dataset, options, 1, &rows, &count, &err), IJ_DATA, "%s", text);
    cr_assert_str_eq(err.field, "low_shot.list");
    cr_assert_not_null(strstr(err.text, part), "\"%s\" lacks \"%s\"", err.text, part);
    cr_assert_null(rows);
}

Test(low_shot, takes_published_lists)
{
    struct engine_spec spec = eval_spec(ENGINE_LOW_SHOT);
    struct dataset *dataset = open_train(&spec);
    struct engine_low_shot options = {.fraction = 0.01};
    uint32_t *rows;
    size_t count;
    write_list(&options, "# red first\nred/003.jpg\r\n\ngreen/001.jpg\nblue/019.jpg");
    draw(dataset, &options, 1, &rows, &count);
    cr_assert_eq(count, 3);
    for (size_t i = 0; i < count; i++)
        cr_assert_neq(strlen(dataset_name(dataset, rows[i])), 0);
    cr_assert_eq(count_class(dataset, rows, count, 0), 1);
    cr_assert_eq(count_class(dataset, rows, count, 1), 1);
    mem_free(rows);
    expect_refused(dataset, &options, "red/003.jpg\nred/999.jpg\n", "line 2");
    expect_refused(dataset, &options, "003.jpg\n", "several");
    expect_refused(dataset, &options, "red/003.jpg\nred/003.jpg\n", "twice");
    expect_refused(dataset, &options, "\n# nothing\n", "no image");
    dataset_free(dataset);
}

/* File names alone, as the published 1 % list has them. */
Test(low_shot, finds_images_by_file_name)
{
    struct engine_spec spec = eval_spec(ENGINE_LOW_SHOT);
    struct engine_low_shot options = {.fraction = 0.01};
    char from[256], to[256];
    uint32_t *rows;
    size_t count;
    snprintf(from, sizeof from, "%s/data/train/red/003.jpg", eval_root);
    snprintf(to, sizeof to, "%s/data/train/red/red_3.jpg", eval_root);
    cr_assert_eq(rename(from, to), 0);
    snprintf(from, sizeof from, "%s/data/train/blue/004.jpg", eval_root);
    snprintf(to, sizeof to, "%s/data/train/blue/blue_4.jpg", eval_root);
    cr_assert_eq(rename(from, to), 0);
    struct dataset *dataset = open_train(&spec);
    write_list(&options, "red_3.jpg\nblue_4.jpg\n");
    draw(dataset, &options, 1, &rows, &count);
    cr_assert_eq(count, 2);
    cr_assert_str_eq(dataset_name(dataset, rows[0]), "blue/blue_4.jpg");
    cr_assert_str_eq(dataset_name(dataset, rows[1]), "red/red_3.jpg");
    mem_free(rows);
    dataset_free(dataset);
}

/* ---- Scaling: by hand ------------------------------------------------------------------------ */

Test(low_shot, scales_features)
{
    static const float train[] = {1, 5, 3, 5}, eval[] = {2, 1, 2, 3, 5, 5};
    float x[4], y[6];
    memcpy(x, train, sizeof x);
    memcpy(y, eval, sizeof y);
    cr_assert_eq(feature_scale(ENGINE_SCALE_TRAIN, 2, x, 2, y, 3, NULL), IJ_OK);
    cr_assert(x[0] == -1 && x[2] == 1 && x[1] == 0 && x[3] == 0, "deviation 1; 0 only centred");
    cr_assert(y[0] == 0 && y[4] == 3 && y[1] == -4);
    memcpy(x, train, sizeof x);
    memcpy(y, eval, sizeof y);
    cr_assert_eq(feature_scale(ENGINE_SCALE_EACH, 2, x, 2, y, 3, NULL), IJ_OK);
    cr_assert_float_eq(y[0], -1 / sqrt(2), 1e-6);
    cr_assert_float_eq(y[4], sqrt(2), 1e-6);
    memcpy(x, train, sizeof x);
    memcpy(y, eval, sizeof y);
    cr_assert_eq(feature_scale(ENGINE_SCALE_L2_CENTER, 2, x, 2, y, 3, NULL), IJ_OK);
    double a = 1 / sqrt(26), b = 3 / sqrt(34);
    cr_assert_float_eq(x[0], a - (a + b) / 2, 1e-6);
    cr_assert_float_eq(y[4], 5 / sqrt(50) - (a + b) / 2, 1e-6);
    memcpy(x, train, sizeof x);
    cr_assert_eq(feature_scale(ENGINE_SCALE_NONE, 2, x, 2, y, 3, NULL), IJ_OK);
    cr_assert_arr_eq(x, train, sizeof x);
}

/* ---- The run --------------------------------------------------------------------------------- */

static json_t *result;

static enum ij_status on_result(void *user, const char *name, const char *json)
{
    (void)user;
    cr_assert_str_eq(name, "low_shot");
    json_decref(result);
    result = json_loads(json, 0, NULL);
    return IJ_OK;
}

static struct engine_spec low_shot_spec(void)
{
    struct engine_spec spec = eval_spec(ENGINE_LOW_SHOT);
    spec.low_shot =
        (struct engine_low_shot){.shots = 4, .fraction = 0.01, .l2 = 0.0025, .iterations = 200};
    return spec;
}

Test(low_shot, a_run_from_files_to_result, .timeout = 60)
{
    const struct engine_sink sink = {.result = on_result};
    struct engine_spec spec = low_shot_spec();
    struct checkpoint_info info;
    struct ij_err err = IJ_ERR_INIT;
    eval_checkpoint(&spec, spec.seed, &info);
    snprintf(spec.eval.checkpoint, sizeof spec.eval.checkpoint, "%.1000s", info.path);
    cr_assert_eq(low_shot_run(backend, &spec, &sink, &err), IJ_OK, "%s", err.text);
    const json_t *trained = json_object_get(result, "trained");
    const json_t *recipe = json_object_get(result, "low_shot");
    cr_assert_eq(json_integer_value(json_object_get(recipe, "trained_on")), 12);
    cr_assert_geq(json_number_value(json_object_get(trained, "top1")), 0.8, "hues are easy");
    cr_assert_eq(json_array_size(json_object_get(trained, "top1_by_seed")), 2);
    cr_assert_eq(json_array_size(json_object_get(trained, "confusion")), 3);
    cr_assert(json_is_true(
        json_object_get(json_array_get(json_object_get(trained, "fits"), 1), "converged")));
    cr_assert(json_equal(trained, json_object_get(result, "random")), "the same weights");
    spec.eval.features = ENGINE_FEATURES_CONCAT4;
    spec.eval.random_baseline = false;
    cr_assert_eq(low_shot_run(backend, &spec, &sink, &err), IJ_OK, "%s", err.text);
    cr_assert(json_is_null(json_object_get(result, "random")));
    cr_assert_str_eq(
        json_string_value(json_object_get(json_object_get(result, "low_shot"), "feature")),
        "concat4");
}

Test(low_shot, refuses_what_makes_no_sense)
{
    struct engine_spec spec = low_shot_spec();
    struct ij_err err = IJ_ERR_INIT;
    spec.model.pred_heads = 2;
    cr_assert_eq(engine_check(&spec, &err), IJ_OK, "%s", err.text);
    snprintf(spec.low_shot.list, sizeof spec.low_shot.list, "list.txt");
    cr_assert_eq(engine_check(&spec, &err), IJ_INVALID);
    cr_assert_str_eq(err.field, "eval.seeds");
    spec = low_shot_spec();
    spec.eval.features = ENGINE_FEATURES_PATCHES;
    cr_assert_eq(engine_check(&spec, &err), IJ_INVALID);
    cr_assert_str_eq(err.field, "eval.features");
    spec = low_shot_spec();
    spec.low_shot.fraction = 0;
    cr_assert_eq(engine_check(&spec, &err), IJ_INVALID);
    cr_assert_str_eq(err.field, "low_shot.fraction");
}
