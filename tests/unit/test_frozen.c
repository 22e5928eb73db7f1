/* The frozen encoder: its features are means of what the model computes, whoever owns the
 * weights. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/model/frozen.h"
#include "gpu/train/trainer.h"
#include "tests/unit/spec_fixture.h"

#define IMAGES  3
#define CROP    16
#define WIDTH   16
#define PATCHES 16

static struct backend *backend;
static struct vit_config config;
static uint8_t pixels[IMAGES * CROP * CROP * 3];

static void open_config(uint32_t depth)
{
    struct engine_spec spec = spec_fixture("vit_tiny", CROP, 4);
    spec.model.width = spec.model.pred_width = WIDTH;
    spec.model.depth = depth;
    spec.model.pred_depth = 1;
    spec.model.heads = 2;
    spec.model.init_std = 0.2;
    config = vit_config_from_spec(&spec);
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 7 + i / 100 * 31);
    cr_assert_eq(backend_host_new(1, &backend, NULL), IJ_OK);
}

static struct frozen *open_frozen(void)
{
    struct frozen *frozen = NULL;
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(frozen_new(backend, &config, IMAGES, &frozen, &err), IJ_OK, "%s", err.text);
    return frozen;
}

static void expect_near(const float *a, const float *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        cr_assert(fabs((double)(a[i] - b[i])) < 1e-5, "%zu: %g, %g", i, (double)a[i], (double)b[i]);
}

Test(frozen, last_is_the_mean_of_the_tokens)
{
    open_config(5);
    float last[IMAGES * WIDTH], concat[IMAGES * 4 * WIDTH], mean[IMAGES * WIDTH] = {0};
    static float tokens[IMAGES * PATCHES * WIDTH];
    struct frozen *frozen = open_frozen();
    cr_assert_eq(frozen_set_random(frozen, 1, NULL), IJ_OK);
    cr_assert_eq(frozen_features(frozen, pixels, IMAGES, last, concat, tokens, NULL), IJ_OK);
    for (int i = 0; i < IMAGES * PATCHES * WIDTH; i++)
        mean[i / (PATCHES * WIDTH) * WIDTH + i % WIDTH] += tokens[i] / PATCHES;
    expect_near(last, mean, IMAGES * WIDTH);
    /* The last block's quarter is the short feature; the quarters before differ from it. */
    for (int i = 0; i < IMAGES; i++) {
        expect_near(concat + (i * 4 + 3) * WIDTH, last + i * WIDTH, WIDTH);
        for (int q = 0; q < 3; q++)
            cr_expect(
                memcmp(concat + (i * 4 + q) * WIDTH, last + i * WIDTH, WIDTH * sizeof(float)) != 0);
    }
    frozen_free(frozen);
    backend->ops->free(backend);
}

/* With two blocks the two older quarters are zero. */
Test(frozen, missing_blocks_are_zero)
{
    open_config(2);
    float last[IMAGES * WIDTH], concat[IMAGES * 4 * WIDTH];
    struct frozen *frozen = open_frozen();
    cr_assert_eq(frozen_set_random(frozen, 1, NULL), IJ_OK);
    cr_assert_eq(frozen_features(frozen, pixels, IMAGES, last, concat, NULL, NULL), IJ_OK);
    for (int i = 0; i < 2 * WIDTH; i++)
        cr_expect(concat[i] == 0 && concat[2 * WIDTH + i] != 0);
    frozen_free(frozen);
    backend->ops->free(backend);
}

/* Random weights are those that a training run of the seed starts from, and one image alone gives
 * what it gives in a batch. */
Test(frozen, agrees_with_a_training_run)
{
    open_config(3);
    struct predictor_limits limits = {1, 1, 4, 4, 4};
    struct trainer *trainer = NULL;
    float own[IMAGES * WIDTH], borrowed[IMAGES * WIDTH], alone[WIDTH];
    struct frozen *frozen = open_frozen();
    cr_assert_eq(frozen_set_random(frozen, 42, NULL), IJ_OK);
    cr_assert_eq(frozen_features(frozen, pixels, IMAGES, own, NULL, NULL, NULL), IJ_OK);
    cr_assert_eq(frozen_features(frozen, pixels + 2 * CROP * CROP * 3, 1, alone, NULL, NULL, NULL),
                 IJ_OK);
    expect_near(alone, own + 2 * WIDTH, WIDTH);
    cr_assert_eq(trainer_new(backend, &config, &limits, TENSOR_U8, &trainer, NULL), IJ_OK);
    cr_assert_eq(trainer_set_random(trainer, 42, NULL), IJ_OK);
    frozen_set_borrowed(frozen, trainer->arenas[TRAINER_TARGET], NULL);
    cr_assert_eq(frozen_features(frozen, pixels, IMAGES, borrowed, NULL, NULL, NULL), IJ_OK);
    cr_expect_arr_eq(own, borrowed, sizeof own);
    frozen_free(frozen);
    trainer_free(trainer);
    backend->ops->free(backend);
}

Test(frozen, bfloat16_is_close)
{
    open_config(3);
    float wide[IMAGES * WIDTH], narrow[IMAGES * WIDTH];
    struct frozen *frozen = open_frozen();
    cr_assert_eq(frozen_set_random(frozen, 42, NULL), IJ_OK);
    cr_assert_eq(frozen_features(frozen, pixels, IMAGES, wide, NULL, NULL, NULL), IJ_OK);
    frozen_free(frozen);
    config.type = TENSOR_BF16;
    frozen = open_frozen();
    cr_assert_eq(frozen_set_random(frozen, 42, NULL), IJ_OK);
    cr_assert_eq(frozen_features(frozen, pixels, IMAGES, narrow, NULL, NULL, NULL), IJ_OK);
    double difference = 0, reference = 0;
    for (int i = 0; i < IMAGES * WIDTH; i++) {
        difference += (double)((wide[i] - narrow[i]) * (wide[i] - narrow[i]));
        reference += (double)(wide[i] * wide[i]);
    }
    cr_expect(difference > 0 && sqrt(difference / reference) < 0.03, "%g",
              sqrt(difference / reference));
    frozen_free(frozen);
    backend->ops->free(backend);
}
