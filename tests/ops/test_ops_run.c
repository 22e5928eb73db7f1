/* A pretraining run on the CUDA backend's host build: a device that breaks in the middle of it. */
#include <stdio.h>
#include <stdlib.h>

#include "gpu/engine.h"
#include "tests/ops/ops_harness.h"
#include "tests/simt/simt_control.h"

enum { ERROR_ADDRESS = 700, BREAKS_AFTER = 2, EXIT_DEVICE = 69 };

static uint64_t run_steps;

static enum ij_status run_metrics(void *user, const char *stream, uint64_t step,
                                  const char *const *keys, const float *values, size_t count)
{
    (void)user, (void)keys, (void)values, (void)count;
    if (strcmp(stream, "train") != 0)
        return IJ_OK;
    run_steps = step;
    if (step == BREAKS_AFTER)
        simt_fail_next("cudaGetLastError", ERROR_ADDRESS);
    return IJ_OK;
}

static enum ij_status run_progress(void *user, const struct engine_progress *progress)
{
    (void)user, (void)progress;
    return IJ_OK;
}

static enum ij_status run_barrier(void *user, uint64_t step)
{
    (void)user, (void)step;
    return IJ_OK;
}

static enum ij_status run_checkpoint(void *user, const struct engine_checkpoint *checkpoint)
{
    (void)user, (void)checkpoint;
    return IJ_OK;
}

static enum ij_status run_text(void *user, const char *name, const char *text)
{
    (void)user, (void)name, (void)text;
    return IJ_OK;
}

static enum engine_command run_poll(void *user)
{
    (void)user;
    return ENGINE_CONTINUE;
}

static void run_spec(const char *root, struct engine_spec *spec)
{
    *spec = (struct engine_spec){
        .kind = ENGINE_PRETRAIN,
        .device = ENGINE_DEVICE_CUDA,
        .data = {.crop = 16,
                 .crop_scale = {0.5, 1},
                 .crop_ratio = {1, 1},
                 .std = {1, 1, 1},
                 .loader_threads = 1,
                 .bad_image_limit = 0.1},
        .model = {.patch = 4,
                  .width = 16,
                  .depth = 1,
                  .heads = 1,
                  .mlp_ratio = 2,
                  .pred_width = 16,
                  .pred_depth = 1,
                  .pred_heads = 1,
                  .init_std = 0.02},
        .masks = {.targets = 1,
                  .target_scale = {0.15, 0.2},
                  .target_aspect = {0.75, 1.5},
                  .context_scale = {0.85, 1.0},
                  .min_keep = 0},
        .optimizer = {.batch = 2,
                      .accumulate = 1,
                      .epochs = 4,
                      .ema_start = 0.99,
                      .ema_end = 1,
                      .ipe_scale = 1,
                      .lr = 1e-3,
                      .beta1 = 0.9,
                      .beta2 = 0.999,
                      .adam_eps = 1e-8,
                      .max_steps = 5},
        .monitor = {.keep_checkpoints = 1},
    };
    snprintf(spec->data.path, sizeof(spec->data.path), "%s/scenes", root);
    snprintf(spec->directory, sizeof(spec->directory), "%s/run", root);
}

Test(ops_run, a_broken_device_ends_the_run_with_operation_shape_and_step, .timeout = 120)
{
    char root[] = "/tmp/ijepad-ops-run-XXXXXX", scenes[64];
    struct ij_err err = IJ_ERR_INIT;
    struct engine_spec spec;
    const struct engine_sink sink = {.metrics = run_metrics,
                                     .progress = run_progress,
                                     .checkpoint_barrier = run_barrier,
                                     .checkpoint = run_checkpoint,
                                     .result = run_text,
                                     .warning = run_text,
                                     .poll = run_poll};
    if (!simt_fail_next)
        cr_skip_test("this program has no host build of the CUDA backend");
    cr_assert(mkdtemp(root));
    snprintf(scenes, sizeof(scenes), "%s/scenes", root);
    cr_assert_eq(engine_scenes(scenes, 20, 32, 1, &err), IJ_OK, "%s", err.text);
    run_spec(root, &spec);
    enum ij_status status = engine_run(&spec, &sink, &err);
    cr_assert_eq(status, IJ_DEVICE, "%s", err.text);
    cr_assert_eq(ij_status_exit_code(status), EXIT_DEVICE);
    cr_assert_eq(run_steps, BREAKS_AFTER, "the step after did not end");
    cr_assert(strstr(err.text, "cudaErrorIllegalAddress"), "%s", err.text);
    cr_assert(strstr(err.text, "patchify (2 x 16 x 4)"), "%s", err.text);
    cr_assert(strstr(err.text, "step 3"), "%s", err.text);
}

/* What is refused before it starts names the batch that would fit, and that one runs. */
Test(ops_run, that_does_not_fit_the_gpu_is_refused_with_what_would, .timeout = 120)
{
    char root[] = "/tmp/ijepad-ops-run-XXXXXX", scenes[64];
    struct ij_err err = IJ_ERR_INIT;
    struct engine_spec spec;
    struct engine_plan plan;
    struct engine_fit fit;
    const struct engine_sink sink = {.metrics = run_metrics,
                                     .progress = run_progress,
                                     .checkpoint_barrier = run_barrier,
                                     .checkpoint = run_checkpoint,
                                     .result = run_text,
                                     .warning = run_text,
                                     .poll = run_poll};
    if (!simt_set_memory)
        cr_skip_test("this program has no host build of the CUDA backend");
    cr_assert(mkdtemp(root));
    snprintf(scenes, sizeof(scenes), "%s/scenes", root);
    cr_assert_eq(engine_scenes(scenes, 20, 32, 1, &err), IJ_OK, "%s", err.text);
    run_spec(root, &spec);
    spec.optimizer.max_steps = 1;
    cr_assert_eq(engine_plan_memory(&spec, &plan, &err), IJ_OK, "%s", err.text);
    uint64_t room = plan.bytes_total + 4096; /* for two images, not for eight */
    spec.optimizer.batch = 8;
    cr_assert_eq(engine_fit(&spec, room, &fit, &err), IJ_OK);
    cr_assert(!fit.fits && fit.batch >= 2 && fit.batch < 8 && fit.split * fit.accumulate == 8);
    simt_set_memory(room);
    cr_assert_eq(engine_run(&spec, &sink, &err), IJ_INVALID, "%s", err.text);
    cr_assert_str_eq(err.field, "optimizer.batch");
    char wanted[64];
    snprintf(wanted, sizeof wanted, "a batch of %u would fit", fit.batch);
    cr_assert(strstr(err.text, wanted), "%s", err.text);
    spec.optimizer.batch = fit.batch;
    run_steps = 0;
    cr_assert_eq(engine_run(&spec, &sink, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(run_steps, 1);
    /* Memory that others hold now is another matter: it is tried again. */
    const size_t more = 64 << 20; /* enough for eight images */
    simt_set_memory(room + ENGINE_CONTEXT_BYTES + more);
    struct backend *other = NULL;
    void *held = NULL;
    cr_assert_eq(backend_cuda_new(0, &other, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(other->ops->allocate(other, ENGINE_CONTEXT_BYTES + more, &held, &err), IJ_OK);
    spec.optimizer.batch = 8;
    cr_assert_eq(engine_run(&spec, &sink, &err), IJ_NO_MEMORY, "%s", err.text);
    other->ops->release(other, held);
    other->ops->free(other);
    simt_set_memory((size_t)16 << 30);
}
