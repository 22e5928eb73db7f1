/* Fine-tuning as a run: rates by the published formula, a small problem that it learns, and a
 * resume that changes nothing. */
#include "tests/unit/eval_fixture.h"

#include <jansson.h>

#include "gpu/eval/finetune.h"
#include "tests/unit/eval_golden.h"

TestSuite(finetune, .init = eval_open, .fini = eval_close);

static json_t *result;
static int polls, stop_at;
static float eval_top1[64];
static int eval_count, train_count;

static enum ij_status on_result(void *user, const char *name, const char *json)
{
    (void)user, (void)name;
    json_decref(result);
    result = json_loads(json, 0, NULL);
    return IJ_OK;
}

static enum ij_status on_metrics(void *user, const char *stream, uint64_t step,
                                 const char *const *keys, const float *values, size_t count)
{
    (void)user, (void)step, (void)count;
    if (strcmp(stream, "train") == 0)
        train_count++;
    else if (strcmp(keys[0], "top1") == 0)
        eval_top1[eval_count++] = values[0];
    return IJ_OK;
}

static enum engine_command on_poll(void *user)
{
    (void)user;
    return ++polls == stop_at ? ENGINE_STOP : ENGINE_CONTINUE;
}

static const struct engine_sink sink = {
    .result = on_result, .metrics = on_metrics, .poll = on_poll};

static struct engine_spec tune_spec(const char *name)
{
    struct engine_spec spec = eval_spec(ENGINE_FINETUNE);
    snprintf(spec.directory, sizeof spec.directory, "%s/%s", eval_root, name);
    spec.eval.seeds = 1;
    spec.model.pred_heads = 2;
    spec.finetune = (struct engine_finetune){.batch = 10,
                                             .accumulate = 2,
                                             .epochs = 12,
                                             .warmup_epochs = 1,
                                             .lr = 0.04,
                                             .final_lr = 1e-6,
                                             .weight_decay = 0.05,
                                             .layer_decay = 0.75,
                                             .drop_path = 0.1,
                                             .mixup = 0.8,
                                             .cutmix = 1,
                                             .label_smoothing = 0.1,
                                             .rand_augment = 3,
                                             .random_erase = 0.25,
                                             .eval_every_epochs = 4};
    spec.monitor.keep_checkpoints = 100;
    return spec;
}

static enum ij_status go(const struct engine_spec *spec, struct ij_err *err)
{
    polls = eval_count = train_count = 0;
    *err = (struct ij_err)IJ_ERR_INIT;
    cr_assert_eq(engine_check(spec, err), IJ_OK, "%s: %s", err->field, err->text);
    return finetune_run(backend, spec, &sink, err);
}

Test(finetune, rates_follow_the_published_schedule)
{
    struct safetensors *file = golden_open("finetune.safetensors");
    double expected[70];
    const struct engine_finetune options = {.batch = 64,
                                            .accumulate = 4,
                                            .epochs = 10,
                                            .warmup_epochs = 3,
                                            .lr = 1e-3,
                                            .final_lr = 1e-5};
    golden_f64(file, "", "schedule", expected, 70);
    for (uint64_t s = 0; s < 70; s++)
        cr_assert_float_eq(finetune_rate(&options, 7, s), expected[s], 1e-15, "step %d", (int)s);
    cr_assert_eq(finetune_steps_per_epoch(&options, 7 * 256 + 255), 7);
    safetensors_free(file);
}

Test(finetune, beats_its_start, .timeout = 120)
{
    struct engine_spec spec = tune_spec("tuned");
    struct checkpoint_info info;
    struct ij_err err;
    eval_checkpoint(&spec, 7, &info);
    snprintf(spec.eval.checkpoint, sizeof spec.eval.checkpoint, "%.1000s", info.path);
    cr_assert_eq(go(&spec, &err), IJ_OK, "%s", err.text);
    double start = json_number_value(json_object_get(json_object_get(result, "start"), "top1"));
    double top1 = json_number_value(json_object_get(result, "top1"));
    cr_assert_geq(top1, 0.9);
    cr_assert_leq(start, 0.7, "a head of next to nothing knows nothing");
    cr_assert_eq(train_count, 36, "12 epochs of 3 steps");
    cr_assert_eq(eval_count, 4, "before, at epochs 4 and 8, after");
    cr_assert_float_eq(eval_top1[3], top1, 1e-6);
    const json_t *checkpoint = json_object_get(result, "checkpoint");
    cr_assert_str_eq(json_string_value(json_object_get(checkpoint, "sha256")), info.hash);
    const json_t *trained = json_object_get(result, "trained");
    cr_assert_eq(json_array_size(json_object_get(trained, "confusion")), 3);
}

static void expect_same_file(const char *a, const char *b, unsigned step, const char *name)
{
    char path[2][512], *data[2];
    size_t size[2];
    const char *const runs[] = {a, b};
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof path[i], "%s/%s/checkpoints/step-%012u/%s", eval_root, runs[i],
                 step, name);
        cr_assert_eq(file_read(path[i], 1 << 24, &data[i], &size[i], NULL), IJ_OK, "%s", path[i]);
    }
    cr_assert(size[0] == size[1] && memcmp(data[0], data[1], size[0]) == 0, "%s differs", name);
    mem_free(data[0]);
    mem_free(data[1]);
}

/* Stopped in the middle and gone on with: the same bytes and the same result as in one go. */
Test(finetune, resumes_bit_for_bit, .timeout = 120)
{
    struct engine_spec whole = tune_spec("whole"), parts = tune_spec("parts");
    struct ij_err err;
    cr_assert_eq(go(&whole, &err), IJ_OK, "%s", err.text);
    json_t *expected = json_deep_copy(result);
    stop_at = 20; /* three polls of the first score, then one for each step */
    cr_assert_eq(go(&parts, &err), IJ_STOPPED, "%s", err.text);
    stop_at = 0;
    cr_assert(train_count > 0 && train_count < 36);
    int before = train_count;
    cr_assert_eq(go(&parts, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(before + train_count, 36, "no step twice, none left out");
    expect_same_file("whole", "parts", 36, "model.safetensors");
    expect_same_file("whole", "parts", 36, "optimizer.safetensors");
    expect_same_file("whole", "parts", 36, "state.json");
    cr_assert(json_equal(expected, result), "the start's score included");
    json_decref(expected);
}

Test(finetune, a_low_shot_run_takes_a_few_images, .timeout = 120)
{
    struct engine_spec spec = tune_spec("few");
    struct ij_err err;
    spec.kind = ENGINE_LOW_SHOT;
    spec.low_shot = (struct engine_low_shot){
        .method = ENGINE_LOW_SHOT_FINETUNE, .shots = 8, .fraction = 0.01, .l2 = 1, .iterations = 1};
    spec.finetune.batch = 12;
    spec.finetune.epochs = 2;
    cr_assert_eq(go(&spec, &err), IJ_OK, "%s", err.text);
    const json_t *recipe = json_object_get(result, "low_shot");
    cr_assert_eq(json_integer_value(json_object_get(recipe, "trained_on")), 24);
    cr_assert_eq(train_count, 2, "24 images are one step of 2 x 12");
    spec.eval.seeds = 2;
    cr_assert_eq(engine_check(&spec, &err), IJ_INVALID);
    cr_assert_str_eq(err.field, "eval.seeds");
}

Test(finetune, refuses_what_cannot_be)
{
    struct engine_spec spec = tune_spec("refused");
    struct ij_err err;
    spec.finetune.batch = 100;
    cr_assert_eq(go(&spec, &err), IJ_DATA);
    cr_assert_str_eq(err.field, "finetune.batch");
    spec = tune_spec("refused");
    spec.finetune.warmup_epochs = 13;
    cr_assert_eq(engine_check(&spec, &err), IJ_INVALID);
    cr_assert_str_eq(err.field, "finetune.warmup_epochs");
    spec = tune_spec("refused");
    spec.data.labels = ENGINE_LABELS_NONE;
    cr_assert_eq(go(&spec, &err), IJ_INVALID);
    cr_assert_str_eq(err.field, "data.labels");
}
