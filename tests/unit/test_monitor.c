/* The monitor of a pretraining run: right figures, the same images every time, no effect on
 * weights. */
#include "tests/unit/eval_fixture.h"

#include "gpu/eval/monitor.h"

TestSuite(monitor, .init = eval_open, .fini = eval_close);

static struct layout layout;
static float *weights;

static struct monitor *monitor_of(const struct engine_spec *spec)
{
    const struct vit_config config = vit_config_from_spec(spec);
    struct monitor *monitor = NULL;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(monitor_new(backend, &config, spec, &monitor, &err), IJ_OK, "%s", err.text);
    layout_done(&layout);
    mem_free(weights);
    cr_assert_eq(layout_init(&layout, &config, NULL), IJ_OK);
    weights = mem_alloc_aligned(64, (size_t)layout.floats * sizeof(float));
    weights_init_fill(&layout, &config, spec->seed, weights);
    return monitor;
}

static struct monitor_result check(struct monitor *monitor, const struct engine_sink *sink)
{
    struct monitor_result result;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(monitor_check(monitor, weights, NULL, 42, sink, &result, &err), IJ_OK, "%s",
                 err.text);
    return result;
}

static char keys_seen[256];
static float values_seen[8];
static enum ij_status on_metrics(void *user, const char *stream, uint64_t step,
                                 const char *const *keys, const float *values, size_t count)
{
    (void)user;
    cr_assert_str_eq(stream, "ssl");
    cr_assert_eq(step, 42);
    keys_seen[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        strcat(strcat(keys_seen, keys[i]), " ");
        values_seen[i] = values[i];
    }
    return IJ_OK;
}
static const struct engine_sink sink = {.metrics = on_metrics};

Test(monitor, figures_of_random_weights)
{
    struct engine_spec spec = eval_spec(ENGINE_PRETRAIN);
    struct monitor *monitor = monitor_of(&spec);
    struct monitor_result r = check(monitor, &sink);
    cr_assert_str_eq(keys_seen,
                     "ssl/rankme ssl/target_std ssl/target_std_min ssl/pair_cos probe/knn_top1 ");
    cr_assert(r.images_train == 20 && r.images_eval == 20);
    cr_assert(r.rankme > 1 && r.rankme <= 24);
    cr_assert(r.target_std > 0 && r.target_std < 1.01 && r.target_std_min <= r.target_std);
    cr_assert(r.pair_cos > -0.1 && r.pair_cos <= 1);
    cr_assert_geq(r.knn_top1, 0.8, "hues are easy even for random weights");
    cr_assert_eq(values_seen[0], (float)r.rankme);
    cr_assert_eq(values_seen[4], (float)r.knn_top1);
    monitor_free(monitor);
}

Test(monitor, a_collapsed_encoder_shows)
{
    struct engine_spec spec = eval_spec(ENGINE_PRETRAIN);
    struct monitor *monitor = monitor_of(&spec);
    for (int64_t i = 0; i < (int64_t)spec.model.width; i++) {
        weights[layout.norm_weight + i] = 0;
        weights[layout.norm_bias + i] = (float)(i % 5);
    }
    struct monitor_result r = check(monitor, NULL);
    cr_assert_float_eq(r.rankme, 1, 1e-3);
    cr_assert_float_eq(r.pair_cos, 1, 1e-6);
    cr_assert_float_eq(r.target_std, 0, 1e-6);
    cr_assert_float_eq(r.knn_top1, 1.0 / EVAL_CLASSES, 0.25);
    monitor_free(monitor);
}

Test(monitor, checks_repeat_and_the_seed_chooses_the_images)
{
    struct engine_spec spec = eval_spec(ENGINE_PRETRAIN);
    struct monitor *monitor = monitor_of(&spec);
    struct monitor_result first = check(monitor, NULL), second = check(monitor, NULL);
    cr_assert_arr_eq(&first, &second, sizeof first);
    monitor_free(monitor);
    spec.data.loader_threads = 3;
    monitor = monitor_of(&spec);
    second = check(monitor, NULL);
    cr_assert_arr_eq(&first, &second, sizeof first, "threads of the loader do not matter");
    monitor_free(monitor);
    spec.seed++;
    monitor = monitor_of(&spec);
    const struct vit_config config = vit_config_from_spec(&spec);
    weights_init_fill(&layout, &config, spec.seed - 1, weights);
    second = check(monitor, NULL);
    cr_assert_neq(first.rankme, second.rankme, "other images");
    monitor_free(monitor);
}

Test(monitor, without_labels_there_is_no_vote)
{
    struct engine_spec spec = eval_spec(ENGINE_PRETRAIN);
    spec.data.labels = ENGINE_LABELS_NONE;
    spec.monitor.eval_images = 100000;
    struct monitor *monitor = monitor_of(&spec);
    struct monitor_result r = check(monitor, &sink);
    cr_assert_str_eq(keys_seen, "ssl/rankme ssl/target_std ssl/target_std_min ssl/pair_cos ");
    cr_assert(isnan(r.knn_top1));
    cr_assert(r.images_train == 60 && r.images_eval == 30, "all there are");
    monitor_free(monitor);
}

Test(monitor, a_check_changes_no_weight)
{
    struct engine_spec spec = eval_spec(ENGINE_PRETRAIN);
    struct monitor *monitor = monitor_of(&spec);
    size_t bytes = (size_t)layout.floats * sizeof(float);
    float *before = mem_alloc_aligned(64, bytes);
    memcpy(before, weights, bytes);
    check(monitor, NULL);
    cr_assert_eq(memcmp(before, weights, bytes), 0);
    mem_free(before);
    monitor_free(monitor);
}
