/* Fine-tuning against PyTorch in float64 (tests/golden/eval/make_finetune.py): logits, loss with
 * soft targets and dropped branches, every gradient, five steps with layer-wise rates. Gradients
 * by finite differences too. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/train/tuner.h"
#include "tests/unit/eval_golden.h"

enum { CROP = 16, DEPTH = 3, CLASSES = 5, IMAGES = 6, STEPS = 5 };
enum { PIXELS = IMAGES * CROP * CROP * 3, FACTORS = DEPTH * 2 * IMAGES };

static struct backend *backend;
static struct safetensors *file;
static struct tuner *tuner;
static uint8_t pixels[STEPS][PIXELS];
static float targets[STEPS][IMAGES * CLASSES], drop[STEPS][FACTORS];

static void open_all(void)
{
    static int32_t levels[STEPS * PIXELS];
    struct engine_spec spec = {
        .data = {.crop = CROP, .mean = {0.485, 0.456, 0.406}, .std = {0.229, 0.224, 0.225}},
        .model = {.patch = 4,
                  .width = 16,
                  .depth = DEPTH,
                  .heads = 2,
                  .mlp_ratio = 2,
                  .pred_width = 8,
                  .pred_depth = 1,
                  .init_std = 0.02}};
    const struct vit_config config = vit_config_from_spec(&spec);
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(backend_host_new(2, &backend, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(tuner_new(backend, &config, CLASSES, IMAGES, &tuner, &err), IJ_OK, "%s", err.text);
    file = golden_open("finetune.safetensors");
    golden_i32(file, "", "pixels", levels, STEPS * PIXELS);
    for (int i = 0; i < STEPS * PIXELS; i++)
        pixels[i / PIXELS][i % PIXELS] = (uint8_t)levels[i];
    golden_f32(file, "", "targets", &targets[0][0], STEPS * IMAGES * CLASSES);
    golden_f32(file, "", "drop", &drop[0][0], STEPS * FACTORS);
}

static void close_all(void)
{
    safetensors_free(file);
    tuner_free(tuner);
    backend->ops->free(backend);
}

TestSuite(tuner, .init = open_all, .fini = close_all);

static bool is_final_norm(const struct layout_tensor *t)
{
    return strncmp(t->name, "encoder.norm.", 13) == 0;
}

/* The file's initial weights, the final norm as it comes. */
static float *load_start(void)
{
    float *values = mem_array(float, (size_t)tuner->layout.floats);
    for (size_t i = 0; i < tuner->layout.count; i++) {
        const struct layout_tensor *t = &tuner->layout.tensors[i];
        if (!is_final_norm(t))
            golden_f32(file, "init.", t->name, values + t->offset, (uint64_t)t->count);
    }
    cr_assert_eq(tuner_write(tuner, TUNER_PARAMETER, values, NULL), IJ_OK);
    return values;
}

static double step_loss(int s)
{
    const struct tuner_batch batch = {pixels[s], IMAGES, targets[s], drop[s]};
    double loss;
    cr_assert_eq(tuner_micro_batch(tuner, &batch, 0, 1, &loss, NULL), IJ_OK);
    return loss;
}

/* A key's bias adds the same to every score of a row, so its gradient is zero; AdamW makes whole
 * steps of what rounding leaves of it. */
static bool ends_in_qkv_bias(const char *name)
{
    size_t size = strlen(name);
    return size > 13 && strcmp(name + size - 13, "attn.qkv.bias") == 0;
}

/* Norm-wise over one tensor, or absolutely where it is next to nothing. */
static void expect_tensor(const char *prefix, const struct layout_tensor *t, const float *got,
                          double tolerance)
{
    mem_auto double *expected = mem_array(double, (size_t)t->count);
    double error = 0, size = 0;
    golden_f64(file, prefix, t->name, expected, (uint64_t)t->count);
    for (int64_t i = 0; i < t->count; i++) {
        if (ends_in_qkv_bias(t->name) && i / (t->count / 3) == 1)
            continue;
        error += pow((double)got[t->offset + i] - expected[i], 2);
        size += expected[i] * expected[i];
    }
    cr_expect_leq(sqrt(error), tolerance * sqrt(size) + 1e-7, "%s%s: error %g of %g", prefix,
                  t->name, sqrt(error), sqrt(size));
}

Test(tuner, logits_loss_and_gradients_agree_with_pytorch)
{
    double losses[STEPS];
    mem_auto float *start = load_start();
    mem_auto float *gradient = mem_array(float, (size_t)tuner->layout.floats);
    golden_f64(file, "", "losses", losses, STEPS);
    cr_assert_float_eq(step_loss(0), losses[0], 1e-5);
    cr_assert_eq(tuner_read(tuner, TUNER_GRADIENT, gradient, NULL), IJ_OK);
    for (size_t i = 0; i < tuner->layout.count; i++)
        if (!is_final_norm(&tuner->layout.tensors[i]))
            expect_tensor("grad.", &tuner->layout.tensors[i], gradient, 1e-4);
}

Test(tuner, five_steps_agree_with_pytorch)
{
    double losses[STEPS], recipe[3], norm;
    mem_auto float *weights = load_start();
    golden_f64(file, "", "losses", losses, STEPS);
    golden_f64(file, "", "recipe", recipe, 3);
    for (int s = 0; s < STEPS; s++) {
        const struct tuner_update update = {.step = (uint64_t)s + 1,
                                            .lr = recipe[0],
                                            .weight_decay = recipe[1],
                                            .layer_decay = recipe[2],
                                            .beta1 = 0.9,
                                            .beta2 = 0.999,
                                            .eps = 1e-8};
        cr_assert_float_eq(step_loss(s), losses[s], 1e-4, "step %d", s);
        cr_assert_eq(tuner_update(tuner, &update, &norm, NULL), IJ_OK);
    }
    cr_assert_eq(tuner_read(tuner, TUNER_PARAMETER, weights, NULL), IJ_OK);
    for (size_t i = 0; i < tuner->layout.count; i++)
        if (!is_final_norm(&tuner->layout.tensors[i]))
            expect_tensor("final.", &tuner->layout.tensors[i], weights, 1e-4);
}

/* Along a random direction of each tensor: (L(w + e v) - L(w - e v)) / 2 e = g v. */
Test(tuner, gradients_agree_with_finite_differences)
{
    mem_auto float *start = load_start();
    size_t floats = (size_t)tuner->layout.floats;
    mem_auto float *gradient = mem_array(float, floats), *moved = mem_array(float, floats);
    step_loss(1);
    cr_assert_eq(tuner_read(tuner, TUNER_GRADIENT, gradient, NULL), IJ_OK);
    for (size_t i = 0; i < tuner->layout.count; i++) {
        const struct layout_tensor *t = &tuner->layout.tensors[i];
        struct rng rng;
        double expected = 0, value[2], e = 2e-3;
        if (is_final_norm(t))
            continue;
        for (int side = 0; side < 2; side++) {
            rng_init(&rng, 4, RNG_TEST, 0, i);
            memcpy(moved, start, floats * sizeof *moved);
            expected = 0;
            for (int64_t k = t->offset; k < t->offset + t->count; k++) {
                /* Half along the gradient, so that the difference is well above rounding. */
                double v = rng_normal(&rng) / sqrt((double)t->count) +
                           (gradient[k] > 0 ? 1 : -1) / sqrt((double)t->count);
                moved[k] = start[k] + (float)((side ? -e : e) * v);
                expected += (double)gradient[k] * v;
            }
            cr_assert_eq(tuner_write(tuner, TUNER_PARAMETER, moved, NULL), IJ_OK);
            value[side] = step_loss(1);
        }
        cr_assert_float_eq((value[0] - value[1]) / (2 * e), expected, 0.01 * fabs(expected) + 1e-4,
                           "%s: %g, expected %g", t->name, (value[0] - value[1]) / (2 * e),
                           expected);
    }
}

Test(tuner, micro_batches_add_up_to_the_batch)
{
    mem_auto float *start = load_start();
    size_t floats = (size_t)tuner->layout.floats;
    mem_auto float *whole = mem_array(float, floats), *parts = mem_array(float, floats);
    struct tuner_batch batch = {pixels[2], IMAGES, targets[2], NULL};
    double loss, half[2];
    cr_assert_eq(tuner_micro_batch(tuner, &batch, 0, 1, &loss, NULL), IJ_OK);
    cr_assert_eq(tuner_read(tuner, TUNER_GRADIENT, whole, NULL), IJ_OK);
    for (uint32_t i = 0; i < 2; i++) {
        batch.pixels = pixels[2] + i * PIXELS / 2;
        batch.targets = targets[2] + i * IMAGES / 2 * CLASSES;
        batch.images = IMAGES / 2;
        cr_assert_eq(tuner_micro_batch(tuner, &batch, i, 2, &half[i], NULL), IJ_OK);
    }
    cr_assert_float_eq((half[0] + half[1]) / 2, loss, 1e-6);
    cr_assert_eq(tuner_read(tuner, TUNER_GRADIENT, parts, NULL), IJ_OK);
    for (size_t i = 0; i < floats; i++)
        cr_assert_float_eq(parts[i], whole[i], 1e-6 + 1e-4 * fabs((double)whole[i]));
}

Test(tuner, clipping_and_values_that_are_not_finite)
{
    mem_auto float *start = load_start();
    mem_auto float *after = mem_array(float, (size_t)tuner->layout.floats);
    struct tuner_update update = {
        .step = 1, .lr = 1e-3, .layer_decay = 1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
    double norm;
    step_loss(0);
    start[0] = NAN;
    cr_assert_eq(tuner_write(tuner, TUNER_GRADIENT, start, NULL), IJ_OK);
    start[0] = 0;
    cr_assert_eq(tuner_write(tuner, TUNER_PARAMETER, start, NULL), IJ_OK);
    cr_assert_eq(tuner_update(tuner, &update, &norm, NULL), IJ_NONFINITE);
    cr_assert_eq(tuner_read(tuner, TUNER_PARAMETER, after, NULL), IJ_OK);
    cr_assert_arr_eq(after, start, (size_t)tuner->layout.floats * sizeof *after);
    /* m = 0.1 scale g: the first moment shows the clipped gradient. */
    step_loss(0);
    update.clip = 1e-3;
    cr_assert_eq(tuner_update(tuner, &update, &norm, NULL), IJ_OK);
    cr_assert_gt(norm, 1e-3);
    double square = 0;
    cr_assert_eq(tuner_read(tuner, TUNER_MOMENT1, after, NULL), IJ_OK);
    for (int64_t i = 0; i < tuner->layout.floats; i++)
        square += (double)after[i] * (double)after[i];
    cr_assert_float_eq(sqrt(square) / 0.1, 1e-3 * norm / (norm + 1e-6), 1e-6);
}

Test(tuner, layers_and_their_rates)
{
    const struct classifier_layout *l = &tuner->layout;
    cr_assert_eq(l->layers, DEPTH + 2);
    cr_assert_float_eq(classifier_layout_rate(l, 0.75, 0), pow(0.75, DEPTH + 1), 1e-15);
    cr_assert_float_eq(classifier_layout_rate(l, 0.75, DEPTH), 0.75, 1e-15);
    cr_assert_eq(classifier_layout_rate(l, 0.75, DEPTH + 1), 1);
    cr_assert_eq(l->first[1] - l->first[0], 2, "patch embedding");
    cr_assert_eq(l->first[2] - l->first[1], 12, "a block");
    cr_assert_eq(l->first[DEPTH + 2] - l->first[DEPTH + 1], 4, "norm and head");
    cr_assert_eq(l->first[DEPTH + 2], l->count - 2, "all but the final norm");
}
