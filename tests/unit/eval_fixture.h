/* A small labelled dataset and a small model, for the tests of evaluation. Each test is its own
 * process, so the statics are its own. */
#ifndef TESTS_UNIT_EVAL_FIXTURE_H
#define TESTS_UNIT_EVAL_FIXTURE_H

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <turbojpeg.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "gpu/checkpoint/checkpoint.h"
#include "gpu/engine.h"
#include "gpu/model/layout.h"
#include "gpu/model/spec_json.h"
#include "gpu/model/weights_init.h"

enum { EVAL_SIDE = 16, EVAL_TRAIN_EACH = 20, EVAL_HELD_EACH = 10, EVAL_CLASSES = 3 };

static char eval_root[] = "/tmp/test_eval.XXXXXX";
static struct backend *backend;

/* One picture of a class: its hue, disturbed. */
static void eval_paint(uint8_t *pixels, int class, uint64_t sample)
{
    struct rng rng;
    rng_init(&rng, 77, RNG_TEST, (uint64_t) class, sample);
    for (int i = 0; i < EVAL_SIDE * EVAL_SIDE; i++)
        for (int c = 0; c < 3; c++) {
            double value = (c == class ? 170 : 80) + 25 * rng_normal(&rng);
            pixels[i * 3 + c] = (uint8_t)fmin(255, fmax(0, value));
        }
}

static void eval_write_image(const char *split, int class, int number)
{
    static const char *const names[EVAL_CLASSES] = {"red", "green", "blue"};
    uint8_t pixels[EVAL_SIDE * EVAL_SIDE * 3];
    char path[256];
    unsigned char *data = NULL;
    unsigned long size = 0;
    snprintf(path, sizeof path, "%s/data/%s/%s", eval_root, split, names[class]);
    cr_assert_eq(file_make_dirs(path, 0755, NULL), IJ_OK);
    snprintf(path, sizeof path, "%s/data/%s/%s/%03d.jpg", eval_root, split, names[class], number);
    eval_paint(pixels, class, (uint64_t)number + (strcmp(split, "val") == 0 ? 1000 : 0));
    tjhandle codec = tjInitCompress();
    cr_assert_eq(tjCompress2(codec, pixels, EVAL_SIDE, 0, EVAL_SIDE, TJPF_RGB, &data, &size,
                             TJSAMP_444, 95, 0),
                 0);
    FILE *file = fopen(path, "wb");
    cr_assert_eq(fwrite(data, 1, size, file), size);
    fclose(file);
    tjFree(data);
    tjDestroy(codec);
}

static void eval_open(void)
{
    struct ij_err err = IJ_ERR_INIT;
    strcpy(eval_root, "/tmp/test_eval.XXXXXX"); /* a runner may open it once per test */
    cr_assert_not_null(mkdtemp(eval_root));
    cr_assert_eq(backend_host_new(1, &backend, &err), IJ_OK, "%s", err.text);
    for (int class = 0; class < EVAL_CLASSES; class ++) {
        for (int i = 0; i < EVAL_TRAIN_EACH; i++)
            eval_write_image("train", class, i);
        for (int i = 0; i < EVAL_HELD_EACH; i++)
            eval_write_image("val", class, i);
    }
}

static void eval_close(void)
{
    backend->ops->free(backend);
    (void)!file_remove_tree(eval_root, NULL);
}

static struct engine_spec eval_spec(enum engine_kind kind)
{
    struct engine_spec spec = {.kind = kind,
                               .device = ENGINE_DEVICE_HOST,
                               .seed = 5,
                               .threads = 1,
                               .data = {.labels = ENGINE_LABELS_FOLDER,
                                        .crop = EVAL_SIDE,
                                        .crop_scale = {0.3, 1},
                                        .crop_ratio = {0.75, 1.34},
                                        .mean = {0.5, 0.5, 0.5},
                                        .std = {0.25, 0.25, 0.25},
                                        .loader_threads = 1,
                                        .bad_image_limit = 0.1},
                               .model = {.patch = 4,
                                         .width = 24,
                                         .depth = 5,
                                         .heads = 2,
                                         .mlp_ratio = 2,
                                         .pred_width = 16,
                                         .pred_depth = 1,
                                         .init_std = 0.02,
                                         .patch_init_std = 0.2},
                               .monitor = {.eval_images = 40},
                               .probe = {.epochs = 20,
                                         .distance_epochs = 20,
                                         .rates = {4, {0.01, 0.03, 0.1, 0.3}},
                                         .weight_decays = {1, {5e-4}}},
                               .eval = {.batch = 16,
                                        .augment_scale = {0.5, 1},
                                        .neighbors = 5,
                                        .temperature = 0.07,
                                        .random_baseline = true,
                                        .seeds = 2}};
    snprintf(spec.data.path, sizeof spec.data.path, "%s/data", eval_root);
    snprintf(spec.directory, sizeof spec.directory, "%s/result", eval_root);
    return spec;
}

/* Writes a checkpoint of `spec`'s model whose target encoder has the initial weights of `seed` and
 * whose context encoder those of seed + 1; *ret_info says where. */
__attribute__((unused)) static void eval_checkpoint(const struct engine_spec *spec, uint64_t seed,
                                                    struct checkpoint_info *ret_info)
{
    struct layout layout;
    const struct vit_config config = vit_config_from_spec(spec);
    char directory[128];
    struct ij_err err = IJ_ERR_INIT;
    snprintf(directory, sizeof directory, "%s/run", eval_root);
    cr_assert_eq(file_make_dirs(directory, 0755, NULL), IJ_OK);
    cr_assert_eq(layout_init(&layout, &config, &err), IJ_OK, "%s", err.text);
    float *target = mem_array(float, (size_t)layout.floats);
    float *context = mem_array(float, (size_t)layout.floats);
    weights_init_fill(&layout, &config, seed, target);
    weights_init_fill(&layout, &config, seed + 1, context);
    struct safetensors_tensor *tensors = mem_array(struct safetensors_tensor, 2 * layout.count);
    char(*names)[LAYOUT_TARGET_NAME_MAX] = mem_alloc_zero(layout.count, sizeof *names);
    size_t count = 0;
    for (size_t i = 0; i < layout.count; i++) {
        const struct layout_tensor *t = &layout.tensors[i];
        struct safetensors_tensor tensor = {
            .name = t->name, .type = SAFETENSORS_F32, .dims = t->dims};
        memcpy(tensor.shape, t->shape, (size_t)t->dims * sizeof *t->shape);
        tensor.data = context + t->offset;
        tensors[count++] = tensor;
        if (!t->encoder)
            continue;
        layout_target_name(t, names[i]);
        tensor.name = names[i];
        tensor.data = target + t->offset;
        tensors[count++] = tensor;
    }
    char *parameters = spec_json_write(spec);
    const struct checkpoint_content content = {
        .state = {.step = 12, .epochs_done = 1.5, .parameters = parameters, .build = "b"},
        .sections = {{tensors, count}, {tensors, 1}}};
    cr_assert_eq(checkpoint_write(directory, &content, NULL, ret_info, &err), IJ_OK, "%s",
                 err.text);
    mem_free(parameters);
    mem_free(names);
    mem_free(tensors);
    mem_free(target);
    mem_free(context);
    layout_done(&layout);
}

#endif
