/* The pretraining run: exact stop and resume, what the host hears, checkpoints, refusals. */
#include "tests/unit/train_fixture.h"

TestSuite(train, .init = train_open, .fini = train_close, .timeout = 120);

Test(train, reports_every_step_once)
{
    struct engine_spec spec = train_spec("one");
    struct ij_err err;
    spec.monitor.eval_every_epochs = 2;
    spec.monitor.eval_images = 16;
    cr_assert_eq(train_go(&spec, &err), IJ_OK, "%s", err.text);
    cr_expect_eq(host.frames[0], 0);
    for (unsigned step = 1; step <= 20; step++)
        cr_expect_eq(host.frames[step], 1, "step %u", step);
    cr_expect_eq(host.frames[21], 0);
    cr_expect_not(host.nonfinite);
    for (unsigned step = 0; step <= 20; step++)
        cr_expect_eq(host.checks[step], step % 10 == 0, "check at step %u", step);
    cr_expect(host.progress_step == 20 && host.progress_steps == 20);
    cr_expect(fabs((double)host.lr[1] - (2e-4 + 8e-4 / 5)) < 1e-9);
    cr_expect(host.loss[20] < host.loss[1]);
    cr_expect(train_has("one", 20) && host.checkpoints == 1);
}

/* Train 20 steps, and train 10, save, load, train 10: the same bytes. */
Test(train, resumes_exactly)
{
    struct engine_spec whole = train_spec("whole"), split = train_spec("split");
    struct ij_err err;
    cr_assert_eq(train_go(&whole, &err), IJ_OK, "%s", err.text);
    host.stop_at_poll = 11;
    cr_assert_eq(train_go(&split, &err), IJ_STOPPED);
    cr_assert(train_has("split", 10));
    host.stop_at_poll = 0;
    cr_assert_eq(train_go(&split, &err), IJ_OK, "%s", err.text);
    cr_expect_eq(host.frames[10] + host.frames[11], 4, "two runs, each step once");
    train_expect_equal("whole", "split", 20);
}

/* In the middle of an epoch, with micro-batches, images that do not fill a step, the other sampler
 * and clipping. */
Test(train, resumes_exactly_with_accumulation)
{
    struct engine_spec specs[2] = {train_spec("whole"), train_spec("split")};
    struct ij_err err;
    for (int i = 0; i < 2; i++) {
        specs[i].optimizer.accumulate = 2; /* 5 micro-batches an epoch: 2 steps, 1 left out */
        specs[i].optimizer.clip_grad = 0.1;
        specs[i].masks.sampler = ENGINE_MASKS_UNBIASED;
        specs[i].data.flip = true;
    }
    cr_assert_eq(train_go(&specs[0], &err), IJ_OK, "%s", err.text);
    cr_assert_eq(host.progress_steps, 8);
    for (unsigned step = 0; step < 8; step += 3) { /* stops at 3 and 6, then ends at 8 */
        host.stop_at_poll = 4;
        cr_assert_eq(train_go(&specs[1], &err), step < 6 ? IJ_STOPPED : IJ_OK, "%s", err.text);
    }
    train_expect_equal("whole", "split", 8);
}

Test(train, resumes_exactly_in_bfloat16)
{
    struct engine_spec specs[2] = {train_spec("whole"), train_spec("split")};
    struct ij_err err;
    specs[0].precision = specs[1].precision = ENGINE_BFLOAT16;
    specs[0].optimizer.max_steps = specs[1].optimizer.max_steps = 6;
    cr_assert_eq(train_go(&specs[0], &err), IJ_OK, "%s", err.text);
    cr_expect_not(host.nonfinite);
    host.stop_at_poll = 4;
    cr_assert_eq(train_go(&specs[1], &err), IJ_STOPPED, "%s", err.text);
    cr_assert_eq(train_go(&specs[1], &err), IJ_OK, "%s", err.text);
    train_expect_equal("whole", "split", 6);
}

/* A damaged newest checkpoint is named in a warning; the one before is used and the end is the
 * same. */
Test(train, falls_back_from_a_damaged_checkpoint)
{
    struct engine_spec whole = train_spec("whole"), split = train_spec("split");
    struct ij_err err;
    split.monitor.checkpoint_every_steps = 4;
    cr_assert_eq(train_go(&whole, &err), IJ_OK, "%s", err.text);
    host.abort_at_poll = 11;
    cr_assert_eq(train_go(&split, &err), IJ_STOPPED);
    cr_assert(train_has("split", 8) && !train_has("split", 10));
    train_damage("split", 8);
    host.abort_at_poll = 0;
    cr_assert_eq(train_go(&split, &err), IJ_OK, "%s", err.text);
    cr_expect(host.warnings == 1 && strcmp(host.warning, "checkpoint_corrupt") == 0);
    cr_expect_eq(host.frames[5], 3, "step 5 was trained again");
    train_expect_equal("whole", "split", 20);
}

/* Never from the beginning over checkpoints that are there. */
Test(train, stops_where_no_checkpoint_is_valid)
{
    struct engine_spec spec = train_spec("one");
    struct ij_err err;
    spec.optimizer.max_steps = 2;
    cr_assert_eq(train_go(&spec, &err), IJ_OK, "%s", err.text);
    train_damage("one", 2);
    cr_expect_eq(train_go(&spec, &err), IJ_CORRUPT);
    cr_expect(strstr(err.text, "checkpoints is valid"), "%s", err.text);
}

Test(train, continues_another_run_from_a_checkpoint)
{
    struct engine_spec whole = train_spec("whole"), first = train_spec("first");
    struct engine_spec second = train_spec("second");
    struct ij_err err;
    cr_assert_eq(train_go(&whole, &err), IJ_OK, "%s", err.text);
    first.optimizer.max_steps = 7;
    cr_assert_eq(train_go(&first, &err), IJ_OK, "%s", err.text);
    snprintf(second.resume, sizeof second.resume, "%s/first/checkpoints/step-%012u", train_root, 7);
    cr_assert_eq(train_go(&second, &err), IJ_OK, "%s", err.text);
    cr_expect_not(train_has("second", 7));
    train_expect_equal("whole", "second", 20);
}

Test(train, refuses_a_checkpoint_of_another_shape)
{
    struct engine_spec spec = train_spec("one");
    struct ij_err err;
    spec.optimizer.max_steps = 2;
    cr_assert_eq(train_go(&spec, &err), IJ_OK, "%s", err.text);
    spec.optimizer.max_steps = 4;
    spec.model.depth = 3;
    cr_expect_eq(train_go(&spec, &err), IJ_CONFLICT);
    cr_expect_str_eq(err.field, "model.depth");
    spec.model.depth = 2;
    spec.optimizer.batch = 3;
    cr_expect_eq(train_go(&spec, &err), IJ_CONFLICT);
    cr_expect_str_eq(err.field, "data.path");
    spec.optimizer.batch = 4;
    cr_expect_eq(train_go(&spec, &err), IJ_OK, "%s", err.text);
}

Test(train, a_step_needs_enough_images)
{
    struct engine_spec spec = train_spec("one");
    struct ij_err err;
    spec.optimizer.batch = 22;
    cr_expect_eq(train_go(&spec, &err), IJ_DATA);
    cr_expect_str_eq(err.field, "data.path");
    cr_expect(strstr(err.text, "21 images"), "%s", err.text);
    spec.optimizer.batch = 21;
    spec.optimizer.epochs = 1;
    cr_expect_eq(train_go(&spec, &err), IJ_OK, "%s", err.text);
}

Test(train, commands_of_the_host)
{
    struct engine_spec spec = train_spec("one");
    struct ij_err err;
    host.save_at_poll = 4;
    host.abort_at_poll = 6;
    cr_expect_eq(train_go(&spec, &err), IJ_STOPPED);
    cr_expect(train_has("one", 3) && !train_has("one", 5) && host.checkpoints == 1);
}

Test(train, a_refusal_by_the_host_ends_the_run)
{
    struct engine_spec spec = train_spec("one");
    struct ij_err err;
    host.refuse_step = 3;
    cr_expect_eq(train_go(&spec, &err), IJ_NO_SPACE);
    cr_expect_eq(host.frames[4], 0);
}

Test(train, checkpoints_by_steps_and_epochs)
{
    struct engine_spec spec = train_spec("one");
    struct ij_err err;
    spec.monitor.checkpoint_every_steps = 8;
    spec.monitor.checkpoint_every_epochs = 1.5;
    cr_assert_eq(train_go(&spec, &err), IJ_OK, "%s", err.text);
    for (unsigned step = 1; step <= 20; step++) {
        bool due = step % 8 == 0 || step == 15 || step == 20; /* 1.5 epochs are 7.5 steps */
        cr_expect_eq(train_has("one", step), due, "step %u", step);
    }
}

/* A finished run that is started again has nothing left to do. */
Test(train, a_finished_run_stays_finished)
{
    struct engine_spec spec = train_spec("one");
    struct ij_err err;
    spec.optimizer.max_steps = 3;
    cr_assert_eq(train_go(&spec, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(train_go(&spec, &err), IJ_OK, "%s", err.text);
    cr_expect(host.frames[3] == 1 && host.checkpoints == 1);
}

Test(train, no_gpu_is_said_plainly)
{
    struct engine_spec spec = train_spec("one");
    struct ij_err err;
    spec.device = ENGINE_DEVICE_CUDA;
    cr_expect_eq(train_go(&spec, &err), IJ_UNSUPPORTED);
    cr_expect_str_eq(err.field, "device");
}
