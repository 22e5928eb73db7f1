/* The run kinds linear_probe and knn, from image files to result.json. */
#include "tests/unit/eval_fixture.h"

#include <jansson.h>

#include "gpu/eval/evaluate.h"

TestSuite(evaluate, .init = eval_open, .fini = eval_close);

static char result_name[32];
static json_t *result;
static int progress_calls;

static enum ij_status on_result(void *user, const char *name, const char *json)
{
    (void)user;
    snprintf(result_name, sizeof result_name, "%s", name);
    json_decref(result);
    result = json_loads(json, JSON_REJECT_DUPLICATES, NULL);
    return result ? IJ_OK : IJ_INVALID;
}

static enum ij_status on_progress(void *user, const struct engine_progress *progress)
{
    (void)user;
    cr_assert_leq(progress->step, progress->steps);
    progress_calls++;
    return IJ_OK;
}

static const struct engine_sink sink = {.result = on_result, .progress = on_progress};

static void run(const struct engine_spec *spec)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(evaluate_run(backend, spec, &sink, &err), IJ_OK, "%s", err.text);
    cr_assert_not_null(result);
}

static double get(const char *part, const char *key)
{
    const json_t *value = json_object_get(json_object_get(result, part), key);
    cr_assert(json_is_number(value), "%s.%s is not a number", part, key);
    return json_number_value(value);
}

Test(evaluate, knn_of_random_weights)
{
    struct engine_spec spec = eval_spec(ENGINE_KNN);
    run(&spec);
    cr_assert_str_eq(result_name, "knn");
    cr_assert(json_is_null(json_object_get(result, "trained")));
    cr_assert(json_is_null(json_object_get(result, "checkpoint")));
    cr_assert_geq(get("random", "top1"), 0.9, "hues are easy even for random weights");
    cr_assert_eq(json_number_value(json_object_get(result, "top1")), get("random", "top1"));
    double top1 = get("random", "top1");
    cr_assert_float_eq(get("random", "top1_error"), sqrt(top1 * (1 - top1) / 30), 1e-12);
    cr_assert_eq(get("knn", "neighbors"), 5);
    cr_assert_float_eq(get("data", "majority"), 1.0 / 3, 1e-12);
    cr_assert_geq(progress_calls, 1);
    json_t *classes = json_object_get(json_object_get(result, "data"), "classes");
    cr_assert_eq(json_array_size(classes), 3);
    cr_assert_str_eq(json_string_value(json_array_get(classes, 0)), "blue");
}

Test(evaluate, linear_probe_beside_its_baseline, .timeout = 60)
{
    struct engine_spec spec = eval_spec(ENGINE_LINEAR_PROBE);
    struct checkpoint_info info;
    eval_checkpoint(&spec, spec.seed, &info);
    snprintf(spec.eval.checkpoint, sizeof spec.eval.checkpoint, "%.1000s", info.path);
    run(&spec);
    cr_assert_str_eq(result_name, "linear_probe");
    cr_assert_geq(get("trained", "top1"), 0.9);
    const json_t *checkpoint = json_object_get(result, "checkpoint");
    cr_assert_str_eq(json_string_value(json_object_get(checkpoint, "sha256")), info.hash);
    cr_assert_eq(json_integer_value(json_object_get(checkpoint, "step")), 12);
    cr_assert_eq(get("probe", "trained_on"), 54);
    cr_assert_eq(get("probe", "set_aside"), 6);
    const json_t *trained = json_object_get(result, "trained");
    const json_t *heads = json_object_get(trained, "heads");
    cr_assert_eq(json_array_size(json_object_get(trained, "per_class")), 3);
    double mean = 0;
    for (size_t c = 0; c < 3; c++)
        mean += json_number_value(json_array_get(json_object_get(trained, "per_class"), c)) / 3;
    cr_assert_float_eq(mean, get("trained", "top1"), 1e-9, "classes of equal size");
    cr_assert_eq(json_array_size(json_object_get(result, "seeds")), 2);
    cr_assert_eq(json_array_size(heads), 16);
    cr_assert_eq(json_array_size(json_object_get(json_array_get(heads, 3), "top1_by_seed")), 2);
    cr_assert(json_is_number(json_object_get(trained, "top1_std")));
    /* The checkpoint holds exactly the weights that the baseline draws: so do the figures. */
    cr_assert(json_equal(json_object_get(trained, "heads"),
                         json_object_get(json_object_get(result, "random"), "heads")));
}

Test(evaluate, the_encoder_chosen_is_the_one_evaluated, .timeout = 60)
{
    struct engine_spec spec = eval_spec(ENGINE_LINEAR_PROBE);
    struct checkpoint_info info;
    spec.eval.seeds = 1;
    eval_checkpoint(&spec, spec.seed - 1, &info); /* the context encoder is the baseline's twin */
    snprintf(spec.eval.checkpoint, sizeof spec.eval.checkpoint, "%.1000s", info.path);
    run(&spec);
    json_t *target = json_deep_copy(json_object_get(json_object_get(result, "trained"), "heads"));
    json_t *random = json_deep_copy(json_object_get(json_object_get(result, "random"), "heads"));
    cr_assert(!json_equal(target, random));
    spec.eval.encoder = ENGINE_ENCODER_CONTEXT;
    run(&spec);
    cr_assert(json_equal(json_object_get(json_object_get(result, "trained"), "heads"), random));
    json_decref(target);
    json_decref(random);
}

Test(evaluate, the_checkpoints_model_wins_and_a_run_directory_means_its_newest, .timeout = 60)
{
    struct engine_spec spec = eval_spec(ENGINE_KNN);
    struct checkpoint_info info;
    eval_checkpoint(&spec, spec.seed, &info);
    snprintf(spec.eval.checkpoint, sizeof spec.eval.checkpoint, "%s/run", eval_root);
    spec.model.width = 192;
    spec.model.patch_init_std = 0;
    run(&spec);
    cr_assert_eq(get("model", "width"), 24);
    cr_assert_eq(get("trained", "top1"), get("random", "top1"), "initialisation included");
    spec.eval.random_baseline = false;
    run(&spec);
    cr_assert(json_is_null(json_object_get(result, "random")));
}

Test(evaluate, the_result_file_is_the_result_and_repeats, .timeout = 60)
{
    struct engine_spec spec = eval_spec(ENGINE_LINEAR_PROBE);
    char path[ENGINE_PATH_MAX + 16], *first, *second;
    size_t size;
    snprintf(path, sizeof path, "%s/result.json", spec.directory);
    run(&spec);
    cr_assert_eq(file_read(path, 1 << 20, &first, &size, NULL), IJ_OK);
    json_t *saved = json_loads(first, 0, NULL);
    cr_assert(json_equal(saved, result));
    run(&spec);
    cr_assert_eq(file_read(path, 1 << 20, &second, &size, NULL), IJ_OK);
    cr_assert_str_eq(first, second, "same spec, same bytes");
    mem_free(first);
    mem_free(second);
    json_decref(saved);
}

static void expect_refusal(const struct engine_spec *spec, enum ij_status code, const char *field)
{
    struct ij_err err = IJ_ERR_INIT;
    char path[ENGINE_PATH_MAX + 16];
    struct stat st;
    cr_assert_eq(evaluate_run(backend, spec, &sink, &err), code, "%s", err.text);
    cr_assert_not_null(strstr(err.field, field), "field \"%s\", text \"%s\"", err.field, err.text);
    snprintf(path, sizeof path, "%s/result.json", spec->directory);
    cr_assert_eq(stat(path, &st), -1, "a failed evaluation leaves no result");
    cr_assert_null(result);
}

Test(evaluate, bad_input_is_named)
{
    struct engine_spec spec = eval_spec(ENGINE_KNN);
    spec.data.labels = ENGINE_LABELS_NONE;
    expect_refusal(&spec, IJ_INVALID, "data.labels");
    spec = eval_spec(ENGINE_KNN);
    snprintf(spec.eval.checkpoint, sizeof spec.eval.checkpoint, "%s/absent", eval_root);
    expect_refusal(&spec, IJ_NOT_FOUND, "eval.checkpoint");
    struct checkpoint_info info;
    spec = eval_spec(ENGINE_KNN);
    eval_checkpoint(&spec, 1, &info);
    char path[CHECKPOINT_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/model.safetensors", info.path);
    cr_assert_eq(truncate(path, 1000), 0);
    snprintf(spec.eval.checkpoint, sizeof spec.eval.checkpoint, "%.1000s", info.path);
    expect_refusal(&spec, IJ_CORRUPT, "model.safetensors");
    snprintf(spec.eval.checkpoint, sizeof spec.eval.checkpoint, "%s/run", eval_root);
    expect_refusal(&spec, IJ_NOT_FOUND, "eval.checkpoint");
}

/* Random crops and mirrors of the training images through the encoder, every epoch. */
Test(evaluate, augmented_probe, .timeout = 60)
{
    struct engine_spec spec = eval_spec(ENGINE_LINEAR_PROBE);
    spec.probe.mode = ENGINE_PROBE_AUGMENTED;
    spec.probe.epochs = 4;
    spec.eval.seeds = 1;
    run(&spec);
    cr_assert_str_eq(json_string_value(json_object_get(json_object_get(result, "probe"), "mode")),
                     "augmented images");
    cr_assert_geq(get("random", "top1"), 0.9);
    cr_assert_eq(get("probe", "trained_on"), 54);
    cr_assert_eq(get("probe", "set_aside"), 6);
    json_t *first = json_deep_copy(json_object_get(json_object_get(result, "random"), "heads"));
    run(&spec);
    cr_assert(json_equal(first, json_object_get(json_object_get(result, "random"), "heads")));
    spec.probe.mode = ENGINE_PROBE_CACHED;
    run(&spec);
    cr_assert(!json_equal(first, json_object_get(json_object_get(result, "random"), "heads")));
    json_decref(first);
}

/* Count and distance of rendered scenes: two tasks on one pass of features, in the published
 * classes. */
Test(evaluate, clevr_has_two_tasks, .timeout = 60)
{
    struct engine_spec spec = eval_spec(ENGINE_CLEVR);
    snprintf(spec.data.path, sizeof spec.data.path, "%s/scenes", eval_root);
    cr_assert_eq(engine_scenes(spec.data.path, 80, 32, 3, NULL), IJ_OK);
    spec.probe.epochs = 5;
    spec.probe.distance_epochs = 7;
    spec.eval.seeds = 1;
    run(&spec);
    cr_assert_str_eq(result_name, "clevr");
    json_t *tasks = json_object_get(result, "tasks");
    json_t *count = json_object_get(tasks, "count"), *distance = json_object_get(tasks, "distance");
    cr_assert_eq(json_array_size(json_object_get(json_object_get(count, "data"), "classes")), 8);
    cr_assert_eq(json_array_size(json_object_get(json_object_get(distance, "data"), "classes")), 6);
    cr_assert_eq(json_integer_value(json_object_get(json_object_get(distance, "probe"), "epochs")),
                 7);
    cr_assert_float_eq(json_number_value(json_object_get(result, "top1")),
                       (json_number_value(json_object_get(count, "top1")) +
                        json_number_value(json_object_get(distance, "top1"))) /
                           2,
                       1e-12);
    /* Each task alone gives the same figures as beside the other. */
    json_t *kept = json_deep_copy(json_object_get(distance, "random"));
    spec.probe.tasks = ENGINE_CLEVR_DISTANCE;
    run(&spec);
    tasks = json_object_get(result, "tasks");
    cr_assert_null(json_object_get(tasks, "count"));
    cr_assert(json_equal(json_object_get(json_object_get(tasks, "distance"), "random"), kept));
    json_decref(kept);
    char path[ENGINE_PATH_MAX + 32];
    struct stat st;
    snprintf(path, sizeof path, "%s/confusion.count.random.npy", spec.directory);
    cr_assert_eq(stat(path, &st), 0);
    cr_assert_eq(st.st_size, 128 + 64 * 4);
}

static enum engine_command stop(void *user)
{
    return ++*(int *)user > 3 ? ENGINE_STOP : ENGINE_CONTINUE;
}

Test(evaluate, stops_when_asked)
{
    struct engine_spec spec = eval_spec(ENGINE_LINEAR_PROBE);
    int polls = 0;
    const struct engine_sink stopping = {.user = &polls, .poll = stop, .result = on_result};
    cr_assert_eq(evaluate_run(backend, &spec, &stopping, NULL), IJ_STOPPED);
    cr_assert_eq(polls, 4);
    cr_assert_null(result);
}
