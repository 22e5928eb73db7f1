/*
 * The model against an end-to-end computation of the published modules in float64, and the ways in
 * which it saves work against doing all of it.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/train/trainer.h"
#include "tests/unit/spec_fixture.h"

#define IMAGES    2
#define CROP      32
#define WIDTH     32
#define PATCHES   16
#define CONTEXT   5
#define TARGETS   4
#define TOLERANCE 2e-5 /* float32 against float64 */

static const int32_t context[IMAGES * CONTEXT] = {0, 1, 2, 4, 8, 0, 3, 4, 5, 6};
static const int32_t targets[2 * IMAGES * TARGETS] = {5, 6, 9,  10, 9, 10, 13, 14,
                                                      6, 7, 10, 11, 8, 9,  12, 13};
static float pixels[IMAGES * 3 * CROP * CROP];
static struct backend *backend;
static struct trainer *trainer;
static const struct ijepa_batch batch = {.pixels = pixels,
                                         .images = IMAGES,
                                         .context_count = CONTEXT,
                                         .target_count = TARGETS,
                                         .context = context,
                                         .targets = targets};

static struct vit_config small_config(enum tensor_type type)
{
    struct engine_spec spec = spec_fixture("vit_tiny", CROP, 8);
    spec.model.width = WIDTH;
    spec.model.depth = 2;
    spec.model.heads = 4;
    spec.model.pred_width = 16;
    spec.model.pred_depth = 2;
    struct vit_config config = vit_config_from_spec(&spec);
    config.type = type;
    return config;
}

/* Element i of tensor k is 0.08 sin(0.7 i + 1.3 k + 0.5), norm weights add 1; the target encoder is
 * the encoder times 0.9. */
static void set_weights(void)
{
    const struct layout *l = &trainer->layout;
    mem_auto float *values = mem_array(float, (size_t)l->floats);
    for (size_t k = 0; k < l->count; k++)
        for (int64_t i = 0; i < l->tensors[k].count; i++) {
            double value = 0.08 * sin(0.7 * (double)i + 1.3 * (double)k + 0.5);
            value += l->tensors[k].init == LAYOUT_INIT_ONE ? 1 : 0;
            values[l->tensors[k].offset + i] = (float)value;
        }
    cr_assert_eq(trainer_write(trainer, TRAINER_PARAMETER, values, NULL), IJ_OK);
    for (int64_t i = 0; i < l->encoder_floats; i++)
        values[i] *= 0.9f;
    cr_assert_eq(trainer_write(trainer, TRAINER_TARGET, values, NULL), IJ_OK);
}

static void open_parts(enum tensor_type type, int64_t context_max, int64_t context_rows)
{
    struct vit_config config = small_config(type);
    struct predictor_limits limits = {IMAGES, 2, context_max, TARGETS, context_rows};
    struct ij_err err = IJ_ERR_INIT;
    for (size_t i = 0; i < COUNT_OF(pixels); i++)
        pixels[i] = (float)sin(0.013 * (double)i);
    cr_assert_eq(backend_host_new(1, &backend, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(trainer_new(backend, &config, &limits, TENSOR_F32, &trainer, &err), IJ_OK, "%s",
                 err.text);
    set_weights();
}

static void open_model(enum tensor_type type)
{
    open_parts(type, PATCHES, IMAGES * PATCHES);
}

static void open_float32(void)
{
    open_model(TENSOR_F32);
}

static void close_model(void)
{
    trainer_free(trainer);
    backend->ops->free(backend);
}

TestSuite(ijepa, .init = open_float32, .fini = close_model, .timeout = 60);

static void expect_four(const char *what, const float *got, const double want[4])
{
    for (int i = 0; i < 4; i++)
        cr_expect(fabs((double)got[i] - want[i]) < TOLERANCE, "%s[%d]: %.9g, expected %.9g", what,
                  i, (double)got[i], want[i]);
}

Test(ijepa, forward_values)
{
    float values[2 * IMAGES * PATCHES * WIDTH];
    struct block_arena weights = trainer_weights(trainer, false), target = trainer_target(trainer);
    struct ijepa *m = trainer->ijepa;
    struct ijepa_loss loss;
    cr_assert_eq(ijepa_load(m, &batch, NULL), IJ_OK);
    cr_assert_eq(ijepa_copy_target_features(m, &target, values, NULL), IJ_OK);
    expect_four("target encoder", values,
                (double[]){-.2910781254, -1.6819873638, -.3589606494, -.5659548319});
    cr_assert_eq(ijepa_target(m, &target, NULL), IJ_OK);
    cr_assert_eq(ijepa_predict(m, &weights, NULL), IJ_OK);
    cr_assert_eq(ijepa_copy_context_features(m, values, NULL), IJ_OK);
    expect_four("context", values,
                (double[]){-.2316979910, -1.9298081966, -.3445485748, -.5108663202});
    expect_four("context of the second image", values + (CONTEXT + 4) * WIDTH,
                (double[]){1.1773207794, -.8664451978, -.4202207491, -.2127614629});
    cr_assert_eq(ijepa_copy_prediction(m, values, NULL), IJ_OK);
    expect_four("prediction", values,
                (double[]){.0476023290, .9268672596, .4125572189, -.6743500992});
    expect_four("last prediction", values + (3 * TARGETS + 3) * WIDTH,
                (double[]){-.0383546968, .8348304173, .4611463914, -.5625855802});
    cr_assert_eq(ijepa_loss(m, 1, NULL), IJ_OK);
    cr_assert_eq(ijepa_read_loss(m, &loss, NULL), IJ_OK);
    cr_expect(fabs((double)loss.loss - 0.542309595055) < 1e-6, "%.9g", (double)loss.loss);
    cr_expect(loss.nonfinite_share == 0);
}

static double norm_of(const float *gradient, const struct layout_tensor *t)
{
    double sum = 0;
    for (int64_t i = 0; i < t->count; i++)
        sum += (double)gradient[t->offset + i] * (double)gradient[t->offset + i];
    return sqrt(sum);
}

Test(ijepa, gradient_norms)
{
    static const struct {
        const char *name;
        double norm;
    } rows[] = {
        {"encoder.patch_embed.proj.weight", 1.9198680263e-3},
        {"encoder.blocks.0.attn.qkv.weight", 5.3559813824e-5},
        {"encoder.blocks.1.mlp.fc2.weight", 3.7828300568e-4},
        {"encoder.norm.weight", 1.7744729459e-4},
        {"predictor.mask_token", 5.3960121774e-2},
        {"predictor.predictor_embed.weight", 9.3262703585e-3},
        {"predictor.predictor_blocks.0.attn.qkv.weight", 3.0235899379e-2},
        {"predictor.predictor_blocks.1.mlp.fc2.weight", 1.3304884094e-1},
        {"predictor.predictor_norm.weight", 6.4384331034e-2},
        {"predictor.predictor_proj.weight", 4.6012617216e-1},
        {"predictor.predictor_proj.bias", 1.1961457314e-1},
    };
    const struct layout *l = &trainer->layout;
    struct ijepa_loss loss;
    mem_auto float *gradient = mem_array(float, (size_t)l->floats);
    cr_assert_eq(trainer_micro_batch(trainer, &batch, 0, 1, &loss, NULL), IJ_OK);
    cr_assert_eq(trainer_read(trainer, TRAINER_GRADIENT, gradient, NULL), IJ_OK);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        size_t at = layout_find(l, rows[i].name);
        cr_assert(at < l->count, "%s", rows[i].name);
        double norm = norm_of(gradient, &l->tensors[at]);
        cr_expect(fabs(norm / rows[i].norm - 1) < 1e-4, "%s: %.9g", rows[i].name, norm);
    }
    double encoder = 0, predictor = 0;
    for (size_t i = 0; i < l->count; i++) {
        double norm = norm_of(gradient, &l->tensors[i]);
        *(l->tensors[i].encoder ? &encoder : &predictor) += norm * norm;
    }
    cr_expect(fabs(sqrt(encoder) / 2.2638510450e-3 - 1) < 1e-4);
    cr_expect(fabs(sqrt(predictor) / 5.6493311705e-1 - 1) < 1e-4);
}

/* Sum over the encoder's trainable values of an arena. */
static double sum_of(enum trainer_arena arena)
{
    const struct layout *l = &trainer->layout;
    mem_auto float *values = mem_array(float, (size_t)l->floats);
    double sum = 0;
    cr_assert_eq(trainer_read(trainer, arena, values, NULL), IJ_OK);
    for (size_t i = 0; i < l->count && l->tensors[i].encoder; i++)
        for (int64_t j = 0; j < l->tensors[i].count; j++)
            sum += (double)values[l->tensors[i].offset + j];
    return sum;
}

static struct trainer_update first_update(void)
{
    struct trainer_update update = {.step = 1,
                                    .lr = 1e-3,
                                    .weight_decay = 0.04,
                                    .ema_momentum = 0.996,
                                    .beta1 = 0.9,
                                    .beta2 = 0.999,
                                    .eps = 1e-8};
    return update;
}

Test(ijepa, one_update)
{
    struct trainer_update update = first_update();
    struct trainer_norms norms;
    struct ijepa_loss loss;
    cr_assert_eq(trainer_micro_batch(trainer, &batch, 0, 1, &loss, NULL), IJ_OK);
    cr_assert_eq(trainer_update(trainer, &update, &norms, NULL), IJ_OK);
    double both = sqrt(2.2638510450e-3 * 2.2638510450e-3 + 5.6493311705e-1 * 5.6493311705e-1);
    cr_expect(fabs(norms.all / both - 1) < 1e-4);
    cr_expect(fabs(sum_of(TRAINER_PARAMETER) - 159.8152014835) < 2e-3, "%.9g",
              sum_of(TRAINER_PARAMETER));
    cr_expect(fabs(sum_of(TRAINER_TARGET) - 143.9803176652) < 2e-3, "%.9g", sum_of(TRAINER_TARGET));
    cr_assert_eq(trainer_micro_batch(trainer, &batch, 0, 1, &loss, NULL), IJ_OK);
    cr_expect(fabs((double)loss.loss - 0.517912644873) < 1e-5, "%.9g", (double)loss.loss);
}

/* Clipping at the norm itself changes nothing; below it, AdamW's first step hardly depends on the
 * gradient's size, but the moments do. */
Test(ijepa, clipping_scales_the_gradient)
{
    struct trainer_update update = first_update();
    struct trainer_norms norms;
    struct ijepa_loss loss;
    int64_t count = trainer->layout.floats;
    mem_auto float *free_moment = mem_array(float, (size_t)count);
    mem_auto float *moment = mem_array(float, (size_t)count);
    cr_assert_eq(trainer_micro_batch(trainer, &batch, 0, 1, &loss, NULL), IJ_OK);
    cr_assert_eq(trainer_update(trainer, &update, &norms, NULL), IJ_OK);
    cr_assert_eq(trainer_read(trainer, TRAINER_MOMENT1, free_moment, NULL), IJ_OK);
    set_weights();
    mem_auto float *zero = mem_array(float, (size_t)count);
    cr_assert_eq(trainer_write(trainer, TRAINER_MOMENT1, zero, NULL), IJ_OK);
    cr_assert_eq(trainer_write(trainer, TRAINER_MOMENT2, zero, NULL), IJ_OK);
    update.clip = norms.all / 4;
    cr_assert_eq(trainer_micro_batch(trainer, &batch, 0, 1, &loss, NULL), IJ_OK);
    cr_assert_eq(trainer_update(trainer, &update, &norms, NULL), IJ_OK);
    cr_assert_eq(trainer_read(trainer, TRAINER_MOMENT1, moment, NULL), IJ_OK);
    for (int64_t i = 0; i < count; i++)
        cr_assert(fabs((double)(moment[i] * 4 - free_moment[i])) <=
                  1e-4 * fabs((double)free_moment[i]) + 1e-12);
}

/* ---- Work that is saved ---------------------------------------------------------------------- */

/* Targets from the needed rows alone equal those cut out of all rows. */
Test(ijepa, needed_target_rows_are_exact)
{
    float all[IMAGES * PATCHES * WIDTH], got[2 * IMAGES * TARGETS * WIDTH];
    struct block_arena target = trainer_target(trainer);
    cr_assert_eq(ijepa_load(trainer->ijepa, &batch, NULL), IJ_OK);
    cr_assert_eq(ijepa_copy_target_features(trainer->ijepa, &target, all, NULL), IJ_OK);
    cr_assert_eq(ijepa_target(trainer->ijepa, &target, NULL), IJ_OK);
    cr_assert_eq(ijepa_copy_target(trainer->ijepa, got, NULL), IJ_OK);
    for (int r = 0; r < 2 * IMAGES * TARGETS; r++) {
        const float *row = all + (r / TARGETS % IMAGES * PATCHES + targets[r]) * WIDTH;
        double mean = 0, variance = 0;
        for (int i = 0; i < WIDTH; i++)
            mean += (double)row[i] / WIDTH;
        for (int i = 0; i < WIDTH; i++)
            variance += ((double)row[i] - mean) * ((double)row[i] - mean) / WIDTH;
        for (int i = 0; i < WIDTH; i++) {
            double want = ((double)row[i] - mean) / sqrt(variance + 1e-5);
            cr_assert(fabs((double)got[r * WIDTH + i] - want) < 2e-6);
        }
    }
}

/* A context of all patches is the whole image: the training path equals the forward-only one. */
Test(ijepa, context_of_all_patches_is_the_whole_encoder)
{
    float whole[IMAGES * PATCHES * WIDTH], kept[IMAGES * PATCHES * WIDTH];
    int32_t all[IMAGES * PATCHES];
    struct block_arena weights = trainer_weights(trainer, false);
    struct ijepa_batch full = batch;
    for (int i = 0; i < IMAGES * PATCHES; i++)
        all[i] = i % PATCHES;
    full.context = all;
    full.context_count = PATCHES;
    cr_assert_eq(ijepa_load(trainer->ijepa, &full, NULL), IJ_OK);
    cr_assert_eq(ijepa_copy_target_features(trainer->ijepa, &weights, whole, NULL), IJ_OK);
    cr_assert_eq(ijepa_predict(trainer->ijepa, &weights, NULL), IJ_OK);
    cr_assert_eq(ijepa_copy_context_features(trainer->ijepa, kept, NULL), IJ_OK);
    for (int i = 0; i < IMAGES * PATCHES * WIDTH; i++)
        cr_assert(fabs((double)(whole[i] - kept[i])) < 2e-6);
}

/* ---- Accumulation and limits ----------------------------------------------------------------- */

/* The same micro-batch twice, each with half the weight, is one step on it. */
Test(ijepa, accumulation_averages)
{
    int64_t count = trainer->layout.floats;
    struct ijepa_loss loss;
    mem_auto float *once = mem_array(float, (size_t)count);
    mem_auto float *twice = mem_array(float, (size_t)count);
    cr_assert_eq(trainer_micro_batch(trainer, &batch, 0, 1, &loss, NULL), IJ_OK);
    cr_assert_eq(trainer_read(trainer, TRAINER_GRADIENT, once, NULL), IJ_OK);
    cr_assert_eq(trainer_micro_batch(trainer, &batch, 0, 2, &loss, NULL), IJ_OK);
    cr_assert_eq(trainer_micro_batch(trainer, &batch, 1, 2, &loss, NULL), IJ_OK);
    cr_assert_eq(trainer_read(trainer, TRAINER_GRADIENT, twice, NULL), IJ_OK);
    double difference = 0, reference = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += (double)((twice[i] - once[i]) * (twice[i] - once[i]));
        reference += (double)(once[i] * once[i]);
    }
    cr_expect(reference > 0 && sqrt(difference / reference) < 1e-6);
}

/* Room for the context tokens of one image: a part each, and together what the whole gives. */
Test(ijepa, parts_are_the_whole)
{
    struct ijepa_loss whole, parts;
    int64_t count = trainer->layout.floats;
    mem_auto float *once = mem_array(float, (size_t)count);
    mem_auto float *split = mem_array(float, (size_t)count);
    cr_assert_eq(trainer_micro_batch(trainer, &batch, 0, 1, &whole, NULL), IJ_OK);
    cr_assert_eq(ijepa_parts(trainer->ijepa), 1);
    cr_assert_eq(trainer_read(trainer, TRAINER_GRADIENT, once, NULL), IJ_OK);
    close_model();
    open_parts(TENSOR_F32, PATCHES, 2 * CONTEXT - 1);
    cr_assert_eq(trainer_micro_batch(trainer, &batch, 0, 1, &parts, NULL), IJ_OK);
    cr_assert_eq(ijepa_parts(trainer->ijepa), 2);
    cr_assert_eq(trainer_read(trainer, TRAINER_GRADIENT, split, NULL), IJ_OK);
    double difference = 0, reference = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += (double)((split[i] - once[i]) * (split[i] - once[i]));
        reference += (double)(once[i] * once[i]);
    }
    cr_expect(reference > 0 && sqrt(difference / reference) < 1e-6);
    cr_expect(fabs((double)(parts.loss - whole.loss)) < 1e-6 * (double)whole.loss);
    cr_expect(fabs((double)(parts.cosine - whole.cosine)) < 1e-6);
    cr_expect(parts.nonfinite_share == 0 && whole.loss > 0);
}

/* The share of what is not finite is that of the batch, whichever part it is in. */
Test(ijepa, parts_share_what_is_not_finite)
{
    struct ijepa_loss loss;
    close_model();
    open_parts(TENSOR_F32, PATCHES, CONTEXT);
    pixels[COUNT_OF(pixels) / 2] = NAN; /* patch 0 of the second image, in its context */
    cr_assert_eq(trainer_micro_batch(trainer, &batch, 0, 1, &loss, NULL), IJ_OK);
    cr_expect_eq(loss.nonfinite_share, 0.5F);
}

Test(ijepa, a_batch_beyond_the_plan_is_refused)
{
    struct ijepa_batch large = batch;
    large.target_count = TARGETS + 1;
    cr_expect_eq(ijepa_load(trainer->ijepa, &large, NULL), IJ_INVALID);
    large = batch;
    large.images = IMAGES + 1;
    cr_expect_eq(ijepa_load(trainer->ijepa, &large, NULL), IJ_INVALID);
}

/* Everything is planned and allocated before the first step. */
Test(ijepa, a_step_allocates_nothing)
{
    struct trainer_update update = first_update();
    struct trainer_norms norms;
    struct ijepa_loss loss;
    mem_fail_after(0); /* the next one */
    enum ij_status step = trainer_micro_batch(trainer, &batch, 0, 1, &loss, NULL);
    enum ij_status end = trainer_update(trainer, &update, &norms, NULL);
    void *refused = mem_alloc_zero(1, 1);
    mem_fail_after(-1);
    cr_expect(step == IJ_OK && end == IJ_OK);
    cr_expect_null(refused, "the allocator was armed");
    mem_free(refused);
}

Test(ijepa, a_gradient_that_is_not_finite_changes_nothing)
{
    struct trainer_update update = first_update();
    struct trainer_norms norms;
    int64_t count = trainer->layout.floats;
    mem_auto float *before = mem_array(float, (size_t)count);
    mem_auto float *after = mem_array(float, (size_t)count);
    mem_auto float *gradient = mem_array(float, (size_t)count);
    gradient[trainer->layout.tensors[3].offset] = NAN;
    cr_assert_eq(trainer_write(trainer, TRAINER_GRADIENT, gradient, NULL), IJ_OK);
    cr_assert_eq(trainer_read(trainer, TRAINER_PARAMETER, before, NULL), IJ_OK);
    cr_expect_eq(trainer_update(trainer, &update, &norms, NULL), IJ_NONFINITE);
    cr_assert_eq(trainer_read(trainer, TRAINER_PARAMETER, after, NULL), IJ_OK);
    cr_expect_arr_eq(before, after, (size_t)count * sizeof(float));
}

/* ---- bfloat16 -------------------------------------------------------------------------------- */

TestSuite(ijepa_bf16, .fini = close_model, .timeout = 60);

/* Products in bfloat16 keep 8 bits: loss within 1 %, the gradient as a whole within 5 %. */
Test(ijepa_bf16, follows_float32)
{
    open_model(TENSOR_BF16);
    struct ijepa_loss loss;
    struct trainer_update update = first_update();
    struct trainer_norms norms;
    cr_assert_eq(trainer_micro_batch(trainer, &batch, 0, 1, &loss, NULL), IJ_OK);
    cr_expect(fabs((double)loss.loss / 0.542309595055 - 1) < 0.01, "%.9g", (double)loss.loss);
    cr_assert_eq(trainer_update(trainer, &update, &norms, NULL), IJ_OK);
    cr_expect(fabs(norms.all / 5.6493765309e-1 - 1) < 0.05, "%.9g", norms.all);
    cr_assert_eq(trainer_micro_batch(trainer, &batch, 0, 1, &loss, NULL), IJ_OK);
    cr_expect(fabs((double)loss.loss / 0.517912644873 - 1) < 0.01, "%.9g", (double)loss.loss);
}

/* ---- Targets at the encoder's input ---------------------------------------------------------- */

static struct ijepa *input_model(struct vit_config *config, struct layout *layout, int64_t blocks,
                                 int64_t target_count)
{
    struct predictor_limits limits = {IMAGES, blocks, CONTEXT, target_count, IMAGES * CONTEXT};
    struct ijepa *m = NULL;
    *config = small_config(TENSOR_F32);
    config->target_at_input = true;
    *layout = trainer->layout;
    cr_assert_eq(ijepa_new(backend, config, layout, &limits, TENSOR_F32, &m, NULL), IJ_OK);
    return m;
}

static void copy_targets(struct ijepa *m, const struct ijepa_batch *b, float *ret_values)
{
    struct block_arena target = trainer_target(trainer);
    cr_assert_eq(ijepa_load(m, b, NULL), IJ_OK);
    cr_assert_eq(ijepa_target(m, &target, NULL), IJ_OK);
    cr_assert_eq(ijepa_copy_target(m, ret_values, NULL), IJ_OK);
}

/* A target that is all of the image is the same at either place. */
Test(ijepa, target_at_input_of_the_whole_image_is_that_at_output)
{
    static float at_input[IMAGES * PATCHES * WIDTH], features[IMAGES * PATCHES * WIDTH];
    int32_t all[IMAGES * PATCHES];
    struct vit_config config;
    struct layout layout;
    struct block_arena target = trainer_target(trainer);
    struct ijepa *m = input_model(&config, &layout, 1, PATCHES);
    for (int32_t i = 0; i < IMAGES * PATCHES; i++)
        all[i] = i % PATCHES;
    struct ijepa_batch whole = batch;
    whole.target_count = PATCHES;
    whole.targets = all;
    copy_targets(m, &whole, at_input);
    cr_assert_eq(ijepa_copy_target_features(m, &target, features, NULL), IJ_OK);
    for (size_t row = 0; row < IMAGES * PATCHES; row++) {
        const float *x = features + row * WIDTH, *y = at_input + row * WIDTH;
        double mean = 0, square = 0;
        for (int i = 0; i < WIDTH; i++)
            mean += (double)x[i] / WIDTH;
        for (int i = 0; i < WIDTH; i++)
            square += ((double)x[i] - mean) * ((double)x[i] - mean) / WIDTH;
        for (int i = 0; i < WIDTH; i++)
            cr_assert(fabs((double)y[i] - ((double)x[i] - mean) / sqrt(square + 1e-5)) < TOLERANCE);
    }
    ijepa_free(m);
}

/* What lies outside a target block cannot change it at the input, and does at the output. */
Test(ijepa, target_at_input_sees_its_block_alone)
{
    static float before[2 * IMAGES * TARGETS * WIDTH], after[2 * IMAGES * TARGETS * WIDTH];
    struct vit_config config;
    struct layout layout;
    struct ijepa *m = input_model(&config, &layout, 2, TARGETS);
    float kept = pixels[0];
    copy_targets(m, &batch, before);
    pixels[0] = 5; /* patch 0 of the first image, which no target block holds */
    copy_targets(m, &batch, after);
    cr_expect_arr_eq(before, after, sizeof before);
    pixels[0] = kept;
    copy_targets(trainer->ijepa, &batch, before);
    pixels[0] = 5;
    copy_targets(trainer->ijepa, &batch, after);
    cr_expect(memcmp(before, after, sizeof before) != 0);
    pixels[0] = kept;
    /* Patch 9 is in the first image's block A alone: A changes, B does not. */
    copy_targets(m, &batch, before);
    size_t place = (size_t)2 * 8 * CROP + 8; /* channel 0, patch row 2, column 1 */
    kept = pixels[place];
    pixels[place] = 5;
    copy_targets(m, &batch, after);
    size_t block = (size_t)TARGETS * WIDTH;
    cr_expect(memcmp(before, after, block * sizeof *before) != 0);
    cr_expect_arr_eq(before + IMAGES * block, after + IMAGES * block, block * sizeof *before);
    pixels[place] = kept;
    ijepa_free(m);
}
