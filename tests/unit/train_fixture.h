/*
 * Tiny pretraining runs: a folder of 16-pixel JPEGs, a model of two blocks, and a host that records
 * what it is told and stops or refuses where a test wants it. Each test is its own process.
 */
#ifndef TESTS_UNIT_TRAIN_FIXTURE_H
#define TESTS_UNIT_TRAIN_FIXTURE_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <turbojpeg.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/engine.h"
#include "tests/unit/spec_fixture.h"

#define TRAIN_STEPS_MAX 64

static char train_root[] = "/tmp/ijepad-train-XXXXXX";

/* What the host heard and when it interferes; steps count from 1, 0 means never. */
static struct train_host {
    uint64_t polls, stop_at_poll, abort_at_poll, save_at_poll, refuse_step;
    uint64_t frames[TRAIN_STEPS_MAX]; /* of the stream "train", by step */
    float loss[TRAIN_STEPS_MAX], lr[TRAIN_STEPS_MAX];
    uint64_t checks[TRAIN_STEPS_MAX]; /* frames of the stream "ssl" */
    uint64_t checkpoints, warnings, progress_step, progress_steps;
    char warning[64];
    bool nonfinite;
} host;

static inline enum ij_status train_on_metrics(void *user, const char *stream, uint64_t step,
                                              const char *const *keys, const float *values,
                                              size_t count)
{
    (void)user;
    cr_assert(step < TRAIN_STEPS_MAX);
    if (strcmp(stream, "ssl") == 0) {
        host.checks[step]++;
        return IJ_OK;
    }
    cr_assert_str_eq(stream, "train");
    host.frames[step]++;
    for (size_t i = 0; i < count; i++) {
        host.nonfinite = host.nonfinite || !isfinite(values[i]);
        if (strcmp(keys[i], "loss") == 0)
            host.loss[step] = values[i];
        if (strcmp(keys[i], "lr") == 0)
            host.lr[step] = values[i];
    }
    return step == host.refuse_step && step > 0 ? IJ_NO_SPACE : IJ_OK;
}

static inline enum ij_status train_on_progress(void *user, const struct engine_progress *progress)
{
    (void)user;
    host.progress_step = progress->step;
    host.progress_steps = progress->steps;
    return IJ_OK;
}

static inline enum ij_status train_on_checkpoint(void *user,
                                                 const struct engine_checkpoint *checkpoint)
{
    (void)user, (void)checkpoint;
    host.checkpoints++;
    return IJ_OK;
}

static inline enum ij_status train_on_warning(void *user, const char *code, const char *text)
{
    (void)user, (void)text;
    host.warnings++;
    snprintf(host.warning, sizeof host.warning, "%s", code);
    return IJ_OK;
}

static inline enum engine_command train_on_poll(void *user)
{
    (void)user;
    host.polls++;
    if (host.polls == host.stop_at_poll)
        return ENGINE_STOP;
    if (host.polls == host.abort_at_poll)
        return ENGINE_ABORT;
    return host.polls == host.save_at_poll ? ENGINE_CHECKPOINT_NOW : ENGINE_CONTINUE;
}

static inline void train_write_image(const char *folder, unsigned index)
{
    uint8_t pixels[16 * 16 * 3];
    char path[256];
    for (unsigned i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * (index % 7 + 1) * 5 + index * 37);
    unsigned char *data = NULL;
    unsigned long size = 0;
    tjhandle handle = tjInitCompress();
    cr_assert_eq(tjCompress2(handle, pixels, 16, 0, 16, TJPF_RGB, &data, &size, TJSAMP_444, 95, 0),
                 0);
    snprintf(path, sizeof path, "%s/%s/%u.jpg", train_root, folder, index);
    cr_assert_eq(file_write_durable(path, data, size, 0644, NULL), IJ_OK);
    tjFree(data);
    tjDestroy(handle);
}

/* 21 images for training, 8 held out, in two classes. */
static inline void train_open(void)
{
    char path[256];
    static const char *const folders[] = {"data/train/a", "data/train/b", "data/val/a",
                                          "data/val/b"};
    cr_assert(mkdtemp(train_root));
    for (unsigned f = 0; f < 4; f++) {
        snprintf(path, sizeof path, "%s/%s", train_root, folders[f]);
        cr_assert_eq(file_make_dirs(path, 0755, NULL), IJ_OK);
        for (unsigned i = 0; i < (f == 0 ? 11u : f == 1 ? 10u : 4u); i++)
            train_write_image(folders[f], f * 100 + i);
    }
}

static inline void train_close(void)
{
    cr_assert_eq(file_remove_tree(train_root, NULL), IJ_OK);
}

/* 5 steps an epoch of 4 images, 20 steps; grid of 4 x 4. `name`: the run's folder. */
static inline struct engine_spec train_spec(const char *name)
{
    struct engine_spec s = spec_fixture("vit_tiny", 16, 4);
    snprintf(s.data.path, sizeof s.data.path, "%s/data", train_root);
    snprintf(s.directory, sizeof s.directory, "%s/%s", train_root, name);
    s.data.labels = ENGINE_LABELS_FOLDER;
    s.data.loader_threads = 1;
    s.threads = 1;
    s.model.width = s.model.pred_width = 16;
    s.model.depth = s.model.pred_depth = 2;
    s.model.heads = 2;
    s.masks.target_scale[0] = 0.2;
    s.masks.target_scale[1] = 0.25;
    s.masks.min_keep = 1;
    s.optimizer.batch = 4;
    s.optimizer.epochs = 4;
    s.optimizer.warmup_epochs = 1;
    s.monitor.keep_checkpoints = 10;
    return s;
}

static inline enum ij_status train_go(const struct engine_spec *spec, struct ij_err *err)
{
    struct engine_sink sink = {.metrics = train_on_metrics,
                               .progress = train_on_progress,
                               .checkpoint = train_on_checkpoint,
                               .warning = train_on_warning,
                               .poll = train_on_poll};
    host.polls = 0;
    *err = (struct ij_err)IJ_ERR_INIT;
    return engine_run(spec, &sink, err);
}

static inline void train_path(char path[512], const char *run, unsigned step, const char *file)
{
    snprintf(path, 512, "%s/%s/checkpoints/step-%012u/%s", train_root, run, step, file);
}

static inline bool train_has(const char *run, unsigned step)
{
    char path[512];
    train_path(path, run, step, "state.json");
    return access(path, R_OK) == 0;
}

/* The checkpoints of two runs at `step` are the same, byte for byte. */
static inline void train_expect_equal(const char *a, const char *b, unsigned step)
{
    static const char *const files[] = {"model.safetensors", "optimizer.safetensors", "state.json"};
    for (size_t i = 0; i < 3; i++) {
        char path[512];
        mem_auto char *x = NULL, *y = NULL;
        size_t m = 0, n = 0;
        train_path(path, a, step, files[i]);
        cr_assert_eq(file_read(path, 1 << 24, &x, &m, NULL), IJ_OK, "%s", path);
        train_path(path, b, step, files[i]);
        cr_assert_eq(file_read(path, 1 << 24, &y, &n, NULL), IJ_OK, "%s", path);
        cr_expect(m == n && memcmp(x, y, m) == 0, "%s of step %u differs", files[i], step);
    }
}

/* Flips one byte in the middle of a checkpoint's model. */
static inline void train_damage(const char *run, unsigned step)
{
    char path[512], byte;
    train_path(path, run, step, "model.safetensors");
    FILE *file = fopen(path, "r+b");
    cr_assert(file && fseek(file, 5000, SEEK_SET) == 0 && fread(&byte, 1, 1, file) == 1);
    byte = (char)(byte ^ 1);
    cr_assert(fseek(file, 5000, SEEK_SET) == 0 && fwrite(&byte, 1, 1, file) == 1);
    cr_assert_eq(fclose(file), 0);
}

#endif
