/* Batches that travel beside the operations: the order of copies and operations, and that training
 * sees the same bytes. The host build of the CUDA backend copies as late as the order allows. */
#include "gpu/engine_device.h"
#include "gpu/model/masks.h"
#include "gpu/train/trainer.h"
#include "tests/ops/ops_harness.h"
#include "tests/simt/simt_control.h"

enum { BYTES = 4096, CROP = 32, IMAGES = 5, STEPS = 5 };

/* ---- Order ----------------------------------------------------------------------------------- */

static void fill(struct backend *backend, int lane, void *device, int value)
{
    struct ij_err err = IJ_ERR_INIT;
    void *host = NULL;
    cr_assert_eq(backend->ops->lane_open(backend, lane, device, BYTES, &host, &err), IJ_OK, "%s",
                 err.text);
    memset(host, value, BYTES);
    cr_assert_eq(backend->ops->lane_send(backend, lane, BYTES, &err), IJ_OK, "%s", err.text);
}

static void use(struct backend *backend, int lane, void *device, int value)
{
    struct ij_err err = IJ_ERR_INIT;
    uint8_t got[BYTES];
    cr_assert_eq(backend->ops->lane_enter(backend, lane, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(backend->ops->download(backend, got, device, BYTES, &err), IJ_OK);
    for (int i = 0; i < BYTES; i++)
        cr_assert_eq(got[i], value, "byte %d of lane %d", i, lane);
    cr_assert_eq(backend->ops->lane_leave(backend, lane, &err), IJ_OK, "%s", err.text);
}

Test(ops_lanes, content_is_there_when_a_lane_is_entered)
{
    struct backend *list[OPS_BACKENDS_MAX];
    struct ij_err err = IJ_ERR_INIT;
    int count = ops_backends(list);
    for (int i = 0; i < count; i++) {
        const struct ops *ops = list[i]->ops;
        void *device[OPS_LANES];
        for (int lane = 0; lane < OPS_LANES; lane++)
            cr_assert_eq(ops->allocate(list[i], BYTES, &device[lane], &err), IJ_OK);
        fill(list[i], 0, device[0], 1);
        for (int batch = 1; batch < 8; batch++) {
            fill(list[i], batch % OPS_LANES, device[batch % OPS_LANES], batch + 1);
            use(list[i], (batch - 1) % OPS_LANES, device[(batch - 1) % OPS_LANES], batch);
        }
        for (int lane = 0; lane < OPS_LANES; lane++)
            ops->release(list[i], device[lane]);
    }
    ops_backends_free(list, count);
}

/* Streams and events are numbered as they are made: the backend's stream, then a stream and two
 * events (full, empty) per lane. */
Test(ops_lanes, a_copy_waits_for_the_operations_before_and_they_for_it)
{
    struct backend *backend = NULL;
    struct ij_err err = IJ_ERR_INIT;
    void *device[OPS_LANES];
    if (!simt_log_begin)
        cr_skip_test("this program has no host build of the CUDA backend");
    cr_assert_eq(backend_cuda_new(0, &backend, &err), IJ_OK, "%s", err.text);
    for (int lane = 0; lane < OPS_LANES; lane++)
        cr_assert_eq(backend->ops->allocate(backend, BYTES, &device[lane], &err), IJ_OK);
    simt_log_begin();
    fill(backend, 0, device[0], 1);
    use(backend, 0, device[0], 1);
    fill(backend, 1, device[1], 2);
    fill(backend, 0, device[0], 3);
    use(backend, 1, device[1], 2);
    use(backend, 0, device[0], 3);
    cr_assert_str_eq(simt_log_text(), "copy s2\nrecord s2 e1\n"                      /* fill 0 */
                                      "wait s1 e1\nrecord s1 e2\n"                   /* use 0 */
                                      "copy s3\nrecord s3 e3\n"                      /* fill 1 */
                                      "host e1\nwait s2 e2\ncopy s2\nrecord s2 e1\n" /* fill 0 */
                                      "wait s1 e3\nrecord s1 e4\n"                   /* use 1 */
                                      "wait s1 e1\nrecord s1 e2\n");                 /* use 0 */
    for (int lane = 0; lane < OPS_LANES; lane++)
        backend->ops->release(backend, device[lane]);
    backend->ops->free(backend);
}

/* ---- Training -------------------------------------------------------------------------------- */

static void training_spec(struct engine_spec *spec, bool float8)
{
    *spec = (struct engine_spec){
        .target_precision = float8 ? ENGINE_TARGET_FLOAT8 : ENGINE_TARGET_SAME,
        .data = {.crop = CROP, .std = {0.25, 0.25, 0.25}, .mean = {0.5, 0.5, 0.5}},
        .model = {.patch = 8,
                  .width = 32,
                  .depth = 2,
                  .heads = 2,
                  .mlp_ratio = 2,
                  .pred_width = 16,
                  .pred_depth = 1,
                  .pred_heads = 1,
                  .init_std = 0.05},
        .masks = {.targets = 2,
                  .target_scale = {0.15, 0.2},
                  .target_aspect = {0.75, 1.5},
                  .context_scale = {0.85, 1.0}},
        .optimizer = {.batch = IMAGES, .accumulate = 1},
    };
}

struct training {
    struct engine_spec spec;
    struct masks masks;
    struct trainer *trainer;
    int64_t parts; /* that batches were worked on in */
    uint8_t pixels[IMAGES * CROP * CROP * 3];
};

/* Batch `index`, in memory that the next one overwrites. */
static struct ijepa_batch batch_of(struct training *t, uint64_t index)
{
    struct rng rng;
    rng_init(&rng, 9, RNG_TEST, 0, index);
    for (size_t i = 0; i < sizeof(t->pixels); i++)
        t->pixels[i] = (uint8_t)rng_u32(&rng);
    masks_draw(&t->masks, 0, index, IMAGES);
    return (struct ijepa_batch){.pixels = t->pixels,
                                .images = IMAGES,
                                .context_count = t->masks.context_count,
                                .target_count = t->masks.target_count,
                                .context = t->masks.context,
                                .targets = t->masks.targets};
}

static void training_step(struct training *t, uint64_t index, bool ahead, float *ret_loss)
{
    struct ij_err err = IJ_ERR_INIT;
    struct ijepa_loss loss;
    struct trainer_norms norms;
    struct trainer_update update = {.step = index + 1,
                                    .lr = 1e-3,
                                    .ema_momentum = 0.9,
                                    .beta1 = 0.9,
                                    .beta2 = 0.99,
                                    .eps = 1e-6};
    struct ijepa_batch batch;
    if (!ahead || index == 0)
        batch = batch_of(t, index);
    bool here = !ahead || index == 0;
    cr_assert_eq(trainer_start(t->trainer, here ? &batch : NULL, 0, 1, &err), IJ_OK, "%s",
                 err.text);
    if (ahead && index + 1 < STEPS) {
        batch = batch_of(t, index + 1);
        cr_assert_eq(trainer_prefetch(t->trainer, &batch, &err), IJ_OK, "%s", err.text);
        memset(t->pixels, 0xee, sizeof(t->pixels)); /* the caller's again */
    }
    cr_assert_eq(trainer_loss(t->trainer, &loss, &err), IJ_OK, "%s", err.text);
    t->parts += ijepa_parts(t->trainer->ijepa);
    cr_assert_eq(trainer_update(t->trainer, &update, &norms, &err), IJ_OK, "%s", err.text);
    *ret_loss = loss.loss;
}

/* `cramped`: room for one image with the longest context. Returns the parts of all batches. */
static int64_t train(struct backend *backend, bool float8, bool ahead, bool cramped,
                     float (*ret_losses)[STEPS])
{
    static struct training t;
    struct ij_err err = IJ_ERR_INIT;
    t.parts = 0;
    training_spec(&t.spec, float8);
    struct mask_sizes_rules rules = mask_sizes_from_spec(&t.spec);
    struct predictor_limits limits;
    struct vit_config config = vit_config_from_spec(&t.spec);
    cr_assert_eq(masks_init(&t.masks, &rules, 3, IMAGES, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(ijepa_limits(&rules, IMAGES, &limits, &err), IJ_OK);
    if (cramped)
        limits.context_rows = limits.context_count;
    cr_assert_eq(trainer_new(backend, &config, &limits, TENSOR_U8, &t.trainer, &err), IJ_OK, "%s",
                 err.text);
    cr_assert_eq(trainer_set_random(t.trainer, 3, &err), IJ_OK, "%s", err.text);
    for (uint64_t i = 0; i < STEPS; i++)
        training_step(&t, i, ahead, &(*ret_losses)[i]);
    int64_t parts = t.parts;
    trainer_free(t.trainer);
    masks_done(&t.masks);
    return parts;
}

Test(ops_lanes, training_sees_the_same_bytes_when_batches_travel_ahead, .timeout = 120)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int i = 0; i < count; i++) {
        float plain[STEPS], ahead[STEPS];
        (void)train(list[i], false, false, false, &plain);
        (void)train(list[i], false, true, false, &ahead);
        cr_assert_arr_eq(ahead, plain, sizeof(plain), "%s", list[i]->name);
    }
    ops_backends_free(list, count);
}

/* A batch whose contexts are longer than planned for is worked on in parts: the
 * losses of some steps are those of whole batches, up to the order of sums. */
Test(ops_lanes, a_batch_in_parts_is_the_whole, .timeout = 120)
{
    struct backend *list[OPS_BACKENDS_MAX];
    int count = ops_backends(list);
    for (int i = 0; i < count; i++) {
        float whole[STEPS], parts[STEPS];
        cr_assert_eq(train(list[i], false, true, false, &whole), STEPS);
        cr_assert_gt(train(list[i], false, true, true, &parts), STEPS);
        for (int step = 0; step < STEPS; step++)
            cr_assert_float_eq(parts[step], whole[step], 2e-6 * (double)whole[step], "%s, step %d",
                               list[i]->name, step);
        cr_assert(whole[0] != whole[STEPS - 1], "it learns");
    }
    ops_backends_free(list, count);
}

/* ---- A target encoder in float8 -------------------------------------------------------------- */

/* Both devices make the same codes: their losses are as near as float32 makes them. Against the
 * plain target encoder the losses are near, and not the same. */
Test(ops_lanes, a_target_encoder_in_float8_is_the_same_on_both_and_near_the_other, .timeout = 120)
{
    struct backend *list[OPS_BACKENDS_MAX];
    float plain[STEPS], losses[OPS_BACKENDS_MAX][STEPS];
    int count = ops_backends(list);
    (void)train(list[0], false, false, false, &plain);
    for (int i = 0; i < count; i++) {
        (void)train(list[i], true, true, false, &losses[i]);
        for (int step = 0; step < STEPS; step++) {
            double apart = fabs((double)losses[i][step] / (double)losses[0][step] - 1);
            double off = fabs((double)losses[i][step] / (double)plain[step] - 1);
            cr_assert_leq(apart, 1e-3, "%s, step %d: %g", list[i]->name, step, apart);
            cr_assert(off > 0 && off < 0.05, "%s, step %d: %g", list[i]->name, step, off);
        }
    }
    ops_backends_free(list, count);
}

Test(ops_lanes, a_target_encoder_in_float8_is_refused_where_there_is_none)
{
    struct ij_err err = IJ_ERR_INIT;
    struct backend *backend = NULL;
    struct trainer *trainer = NULL;
    struct engine_spec spec;
    if (!simt_set_architecture)
        cr_skip_test("this program has no host build of the CUDA backend");
    training_spec(&spec, true);
    struct mask_sizes_rules rules = mask_sizes_from_spec(&spec);
    struct predictor_limits limits;
    struct vit_config config = vit_config_from_spec(&spec);
    simt_set_architecture(80);
    cr_assert_eq(backend_cuda_new(0, &backend, &err), IJ_OK, "%s", err.text);
    cr_assert_eq(ijepa_limits(&rules, IMAGES, &limits, &err), IJ_OK);
    cr_assert_eq(trainer_new(backend, &config, &limits, TENSOR_U8, &trainer, &err), IJ_UNSUPPORTED);
    cr_assert_str_eq(err.field, "target_precision");
    backend->ops->free(backend);
    simt_set_architecture(90);
}
