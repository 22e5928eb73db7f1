/* The monitor of a pretraining run: right figures, the same images every time, no effect on
 * weights. */
#include "tests/unit/eval_fixture.h"

#include "gpu/eval/monitor.h"

TestSuite(monitor, .init = eval_open, .fini = eval_close);

static struct trainer *trainer;

static struct engine_spec spec_of(void)
{
    struct engine_spec spec = eval_spec(ENGINE_PRETRAIN);
    spec.masks = (struct engine_masks){.sampler = ENGINE_MASKS_UNBIASED,
                                       .targets = 2,
                                       .target_scale = {0.2, 0.3},
                                       .target_aspect = {0.75, 1.5},
                                       .context_scale = {0.85, 1}};
    spec.optimizer.batch = 8;
    return spec;
}

static struct monitor *monitor_of(const struct engine_spec *spec)
{
    const struct vit_config config = vit_config_from_spec(spec);
    struct mask_sizes_rules rules = mask_sizes_from_spec(spec);
    struct predictor_limits limits;
    struct monitor *monitor = NULL;
    struct ij_err err = IJ_ERR_INIT;
    trainer_free(trainer);
    cr_assert_eq(ijepa_limits(&rules, spec->optimizer.batch, &limits, &err), IJ_OK);
    cr_assert_eq(trainer_new(backend, &config, &limits, TENSOR_U8, &trainer, &err), IJ_OK, "%s",
                 err.text);
    cr_assert_eq(trainer_set_random(trainer, spec->seed, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(monitor_new(trainer, spec, &monitor, &err), IJ_OK, "%s", err.text);
    return monitor;
}

static float *read_arena(enum trainer_arena arena)
{
    float *values = mem_array(float, (size_t)trainer_floats(trainer, arena));
    cr_assert_eq(trainer_read(trainer, arena, values, NULL), IJ_OK);
    return values;
}

static struct monitor_result check(struct monitor *monitor, const struct engine_sink *sink)
{
    struct monitor_result result;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(monitor_check(monitor, 42, sink, &result, &err), IJ_OK, "%s", err.text);
    return result;
}

static char keys_seen[512];
static float values_seen[32];
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
    struct engine_spec spec = spec_of();
    struct monitor *monitor = monitor_of(&spec);
    struct monitor_result r = check(monitor, &sink);
    cr_assert_str_eq(keys_seen,
                     "ssl/rankme ssl/lidar ssl/explained ssl/target_std ssl/target_std_p5 "
                     "ssl/target_std_min ssl/dead_dims ssl/ctx_std ssl/ctx_std_p5 ssl/ctx_std_min "
                     "ssl/pred_std ssl/pred_std_p5 ssl/pred_std_min ssl/pair_cos ssl/ema_gap "
                     "ssl/spectrum_1 ssl/spectrum_2 ssl/spectrum_4 ssl/spectrum_8 "
                     "ssl/spectrum_16 probe/knn_top1 ");
    cr_assert(r.images_train == 20 && r.images_eval == 20);
    cr_assert(r.rankme > 1 && r.rankme <= 24);
    cr_assert(r.target.mean > 0 && r.target.mean < 1.01 && r.target.least <= r.target.p5 &&
              r.target.p5 <= r.target.mean);
    cr_assert(r.masked.context.mean > 0 && r.masked.prediction.mean > 0);
    cr_assert(r.masked.lidar > 1 && r.masked.lidar <= 19, "20 images: %g", r.masked.lidar);
    cr_assert(r.masked.explained < 0.2, "random weights predict nothing: %g", r.masked.explained);
    cr_assert_eq(r.ema_gap, 0, "both encoders begin as one");
    cr_assert(r.pair_cos > -0.1 && r.pair_cos <= 1);
    cr_assert_geq(r.knn_top1, 0.8, "hues are easy even for random weights");
    cr_assert_eq(values_seen[0], (float)r.rankme);
    cr_assert_eq(values_seen[15], 0, "the largest singular value over itself");
    for (int i = 16; i < 20; i++)
        cr_assert(values_seen[i] <= values_seen[i - 1] && values_seen[i] >= RANKME_LEVEL_MIN);
    cr_assert_eq(values_seen[20], (float)r.knn_top1);
    monitor_free(monitor);
}

Test(monitor, a_collapsed_encoder_shows)
{
    struct engine_spec spec = spec_of();
    struct monitor *monitor = monitor_of(&spec);
    float *weights = read_arena(TRAINER_PARAMETER);
    for (int64_t i = 0; i < (int64_t)spec.model.width; i++) {
        weights[trainer->layout.norm_weight + i] = 0;
        weights[trainer->layout.norm_bias + i] = (float)(i % 5);
    }
    cr_assert_eq(trainer_write(trainer, TRAINER_PARAMETER, weights, NULL), IJ_OK);
    cr_assert_eq(trainer_write(trainer, TRAINER_TARGET, weights, NULL), IJ_OK);
    mem_free(weights);
    struct monitor_result r = check(monitor, NULL);
    cr_assert_float_eq(r.rankme, 1, 1e-3);
    cr_assert_float_eq(r.pair_cos, 1, 1e-6);
    cr_assert_float_eq(r.target.mean, 0, 1e-6);
    cr_assert_float_eq(r.masked.context.mean, 0, 1e-6);
    cr_assert_float_eq(r.knn_top1, 1.0 / EVAL_CLASSES, 0.25);
    monitor_free(monitor);
}

Test(monitor, checks_repeat_and_the_seed_chooses_the_images)
{
    struct engine_spec spec = spec_of();
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
    cr_assert_eq(trainer_set_random(trainer, spec.seed - 1, NULL), IJ_OK);
    second = check(monitor, NULL);
    cr_assert_neq(first.rankme, second.rankme, "other images");
    monitor_free(monitor);
}

Test(monitor, without_labels_there_is_no_vote)
{
    struct engine_spec spec = spec_of();
    spec.data.labels = ENGINE_LABELS_NONE;
    spec.monitor.eval_images = 100000;
    struct monitor *monitor = monitor_of(&spec);
    struct monitor_result r = check(monitor, &sink);
    cr_assert_str_eq(keys_seen,
                     "ssl/rankme ssl/lidar ssl/explained ssl/target_std ssl/target_std_p5 "
                     "ssl/target_std_min ssl/dead_dims ssl/ctx_std ssl/ctx_std_p5 ssl/ctx_std_min "
                     "ssl/pred_std ssl/pred_std_p5 ssl/pred_std_min ssl/pair_cos ssl/ema_gap "
                     "ssl/spectrum_1 ssl/spectrum_2 ssl/spectrum_4 ssl/spectrum_8 "
                     "ssl/spectrum_16 ");
    cr_assert(isnan(r.knn_top1));
    cr_assert(r.images_train == 60 && r.images_eval == 30, "all there are");
    monitor_free(monitor);
}

Test(monitor, a_check_changes_no_weight)
{
    struct engine_spec spec = spec_of();
    struct monitor *monitor = monitor_of(&spec);
    size_t bytes = (size_t)trainer_floats(trainer, TRAINER_PARAMETER) * sizeof(float);
    size_t target_bytes = (size_t)trainer_floats(trainer, TRAINER_TARGET) * sizeof(float);
    float *before = read_arena(TRAINER_PARAMETER), *target = read_arena(TRAINER_TARGET);
    check(monitor, NULL);
    float *after = read_arena(TRAINER_PARAMETER), *target_after = read_arena(TRAINER_TARGET);
    cr_assert_arr_eq(before, after, bytes);
    cr_assert_arr_eq(target, target_after, target_bytes);
    mem_free(before);
    mem_free(after);
    mem_free(target);
    mem_free(target_after);
    monitor_free(monitor);
}

/* |w - 1.5 w| / |w|, for every tensor of the encoder and nothing of the predictor. */
Test(monitor, the_gap_between_the_encoders)
{
    struct engine_spec spec = spec_of();
    struct monitor *monitor = monitor_of(&spec);
    float *target = read_arena(TRAINER_TARGET);
    for (int64_t i = 0; i < trainer_floats(trainer, TRAINER_TARGET); i++)
        target[i] *= 1.5f;
    cr_assert_eq(trainer_write(trainer, TRAINER_TARGET, target, NULL), IJ_OK);
    cr_assert_float_eq(check(monitor, NULL).ema_gap, 0.5, 1e-7);
    mem_free(target);
    monitor_free(monitor);
}
