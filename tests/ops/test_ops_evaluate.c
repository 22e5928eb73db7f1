/*
 * Every evaluation on the CUDA backend, on a GPU or compiled for the host, where device memory
 * cannot be touched by host code: each must come to the end, and to what the host backend finds.
 */
#include <jansson.h>

#include "gpu/ops/cuda_device.h"
#include "gpu/ops/cuda_plan.h"
#include "tests/ops/ops_harness.h"
#include "tests/unit/eval_fixture.h"
#include "tests/simt/simt_control.h"

enum { TRAIN = 24, EVAL = 12 };

static char answer[1 << 16];

static enum ij_status on_result(void *user, const char *name, const char *json)
{
    (void)user, (void)name;
    cr_assert_lt(strlen(json), sizeof answer);
    strcpy(answer, json);
    return IJ_OK;
}

static const struct engine_sink sink = {.result = on_result};

static void open_data(void)
{
    struct backend *cuda;
    if (ops_backends_cuda(&cuda) == 0)
        cr_skip_test("this program has no CUDA backend, or this machine no GPU");
    cuda->ops->free(cuda);
    if (simt_watch_races)
        simt_watch_races(false); /* the suite of operations has looked */
    eval_open();
}

static void close_data(void)
{
    if (backend)
        eval_close();
}

TestSuite(ops_evaluate, .init = open_data, .fini = close_data, .timeout = 300);

/* Random weights, in a checkpoint with a predictor. */
static struct engine_spec small_spec(enum engine_kind kind)
{
    struct engine_spec spec = eval_spec(kind);
    struct checkpoint_info info;
    spec.data.limit = TRAIN;
    spec.data.eval_limit = EVAL;
    spec.model.depth = 2;
    spec.eval.seeds = 1;
    spec.eval.random_baseline = false;
    spec.masks = (struct engine_masks){.sampler = ENGINE_MASKS_UNBIASED,
                                       .targets = 2,
                                       .target_scale = {0.2, 0.3},
                                       .target_aspect = {0.75, 1.5},
                                       .context_scale = {0.85, 1},
                                       .min_keep = 1};
    eval_checkpoint(&spec, 3, &info);
    snprintf(spec.eval.checkpoint, sizeof spec.eval.checkpoint, "%.1000s", info.path);
    return spec;
}

/* The answer of one backend, with its files in a folder of its own; the caller's. */
static json_t *run_on(struct engine_spec *spec, enum engine_device device)
{
    struct ij_err err = IJ_ERR_INIT;
    json_error_t error;
    spec->device = device;
    snprintf(spec->directory, sizeof spec->directory, "%s/%s", eval_root,
             device == ENGINE_DEVICE_CUDA ? "cuda" : "host");
    cr_assert_eq(file_make_dirs(spec->directory, 0755, NULL), IJ_OK);
    cr_assert_eq(engine_check(spec, &err), IJ_OK, "%s: %s", err.field, err.text);
    enum ij_status status = engine_run(spec, &sink, &err);
    cr_assert_eq(status, IJ_OK, "%s: %s", err.field, err.text);
    json_t *object = json_loads(answer, 0, &error);
    cr_assert_not_null(object, "%s", error.text);
    return object;
}

/* The device memory that the run of `spec` on the fake runtime took at most against its plan, both
 * without what every backend has. */
static double plan_off(const struct engine_spec *spec)
{
    struct engine_spec planned = *spec;
    struct engine_plan plan;
    struct ij_err err = IJ_ERR_INIT;
    planned.device = ENGINE_DEVICE_CUDA;
    cr_assert_eq(engine_subject_read(spec->eval.checkpoint, &planned, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(engine_plan_memory(&planned, &plan, &err), IJ_OK, "%s", err.text);
    double taken = (double)simt_memory_peak() - (double)CUDA_PLAN_FIXED;
    return taken / ((double)plan.bytes_total - (double)CUDA_PLAN_FIXED) - 1;
}

static double top1_of(const json_t *object)
{
    const json_t *top1 = json_object_get(object, "top1");
    cr_assert(json_is_number(top1), "%s", answer);
    return json_number_value(top1);
}

/* One image more or less may fall to the other side of a border. */
static void compare_top1(struct engine_spec spec)
{
    json_t *host = run_on(&spec, ENGINE_DEVICE_HOST), *cuda = run_on(&spec, ENGINE_DEVICE_CUDA);
    cr_assert_str_eq(json_string_value(json_object_get(cuda, "backend")), "cuda");
    cr_assert_float_eq(top1_of(cuda), top1_of(host), 1.5 / EVAL);
    json_decref(host);
    json_decref(cuda);
}

Test(ops_evaluate, knn)
{
    compare_top1(small_spec(ENGINE_KNN));
}

Test(ops_evaluate, linear_probe)
{
    struct engine_spec spec = small_spec(ENGINE_LINEAR_PROBE);
    spec.probe.epochs = 4;
    compare_top1(spec);
}

Test(ops_evaluate, linear_probe_of_augmented_images_with_lars)
{
    struct engine_spec spec = small_spec(ENGINE_LINEAR_PROBE);
    spec.probe.mode = ENGINE_PROBE_AUGMENTED;
    spec.probe.optimizer = ENGINE_PROBE_LARS;
    spec.probe.epochs = 2;
    compare_top1(spec);
}

Test(ops_evaluate, low_shot)
{
    struct engine_spec spec = small_spec(ENGINE_LOW_SHOT);
    spec.low_shot = (struct engine_low_shot){
        .shots = 4, .fraction = 0.01, .l2 = 0.0025, .iterations = 50, .scaling = ENGINE_SCALE_EACH};
    compare_top1(spec);
}

Test(ops_evaluate, clevr)
{
    struct engine_spec spec = small_spec(ENGINE_CLEVR);
    struct ij_err err = IJ_ERR_INIT;
    snprintf(spec.data.path, sizeof spec.data.path, "%s/scenes", eval_root);
    cr_assert_eq(engine_scenes(spec.data.path, 120, EVAL_SIDE, 1, &err), IJ_OK, "%s", err.text);
    spec.data.labels = ENGINE_LABELS_COUNT;
    spec.probe.epochs = spec.probe.distance_epochs = 3;
    compare_top1(spec);
}

Test(ops_evaluate, finetune)
{
    struct engine_spec spec = small_spec(ENGINE_FINETUNE);
    spec.finetune = (struct engine_finetune){.batch = 8,
                                             .accumulate = 1,
                                             .epochs = 2,
                                             .lr = 0.01,
                                             .layer_decay = 0.75,
                                             .drop_path = 0.1,
                                             .mixup = 0.8,
                                             .label_smoothing = 0.1};
    spec.monitor.keep_checkpoints = 1;
    compare_top1(spec);
    if (simt_memory_peak) /* planned for a thousand classes */
        cr_assert(plan_off(&spec) < 0.05 && plan_off(&spec) > -0.5, "%g", plan_off(&spec));
}

static float *read_floats(const char *folder, const char *name, size_t *ret_count)
{
    char path[256];
    char *bytes = NULL;
    size_t size = 0;
    snprintf(path, sizeof path, "%s/%s/features/%s", eval_root, folder, name);
    cr_assert_eq(file_read(path, 1 << 20, &bytes, &size, NULL), IJ_OK, "%s", path);
    size_t header = 10 + (uint8_t)bytes[8] + 256 * (size_t)(uint8_t)bytes[9]; /* .npy, version 1 */
    *ret_count = (size - header) / sizeof(float);
    float *values = mem_array(float, *ret_count);
    memcpy(values, bytes + header, *ret_count * sizeof(float));
    mem_free(bytes);
    return values;
}

Test(ops_evaluate, features)
{
    struct engine_spec spec = small_spec(ENGINE_FEATURES);
    size_t counts[2];
    spec.eval.features = ENGINE_FEATURES_PATCHES;
    spec.eval.splits = ENGINE_SPLITS_EVAL;
    json_decref(run_on(&spec, ENGINE_DEVICE_HOST));
    json_decref(run_on(&spec, ENGINE_DEVICE_CUDA));
    if (simt_memory_peak)
        cr_assert_float_eq(plan_off(&spec), 0, 0.05, "%g", plan_off(&spec));
    float *host = read_floats("host", "eval.npy", &counts[0]);
    float *cuda = read_floats("cuda", "eval.npy", &counts[1]);
    cr_assert(counts[0] == counts[1] && counts[0] == (size_t)EVAL * 16 * spec.model.width);
    for (size_t i = 0; i < counts[0]; i++)
        cr_assert_float_eq(cuda[i], host[i], 1e-4, "value %zu", i);
    mem_free(host);
    mem_free(cuda);
}

Test(ops_evaluate, visualize)
{
    struct engine_spec spec = small_spec(ENGINE_VISUALIZE);
    spec.eval.images = 4;
    spec.eval.bank = EVAL;
    spec.eval.history = 1;
    json_t *host = run_on(&spec, ENGINE_DEVICE_HOST), *cuda = run_on(&spec, ENGINE_DEVICE_CUDA);
    double errors[2] = {json_number_value(json_object_get(host, "mean_error")),
                        json_number_value(json_object_get(cuda, "mean_error"))};
    if (simt_memory_peak)
        cr_assert_float_eq(plan_off(&spec), 0, 0.05, "%g", plan_off(&spec));
    cr_assert_gt(errors[0], 0);
    cr_assert_float_eq(errors[1], errors[0], 1e-3 * errors[0]);
    json_decref(host);
    json_decref(cuda);
}
