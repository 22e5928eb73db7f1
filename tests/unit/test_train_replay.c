/*
 * Steps that are made twice: one bit that turns in the weights, the target encoder or the copy of
 * the state is found each time, a wrong result of the device as well; and a run that replays ends
 * with the same bits as one that does not.
 */
#include "gpu/train/train_replay.h"

#include "base/rng.h"
#include "gpu/ops/ops.h"
#include "gpu/train/train.h"
#include "tests/unit/train_fixture.h"

#define FLIPS  200
#define IMAGES 2
#define CROP   16

static uint8_t pixels[IMAGES * CROP * CROP * 3];
static const int32_t context[IMAGES * 4] = {0, 1, 2, 4, 0, 3, 4, 5};
static const int32_t targets[4 * IMAGES * 2] = {5, 6, 9, 10, 9, 10, 13, 14, 6, 7, 10, 11, 8, 9, 12,
                                                13};
static const struct ijepa_batch batch = {.pixels = pixels,
                                         .images = IMAGES,
                                         .context_count = 4,
                                         .target_count = 2,
                                         .context = context,
                                         .targets = targets};
static struct backend *backend;
static struct trainer *trainer;
static struct train_replay *replay;
static struct ops watched;
static const struct ops *sound;
static float *newest_copy; /* where the last download went */

static enum ij_status download(struct backend *b, void *host_memory, const void *device,
                               size_t bytes, struct ij_err *e)
{
    newest_copy = host_memory;
    return sound->download(b, host_memory, device, bytes, e);
}

static void open_trainer(void)
{
    struct engine_spec spec = train_spec("replay");
    struct vit_config config = vit_config_from_spec(&spec);
    struct predictor_limits limits = {IMAGES, 4, 4, 2, IMAGES * 4};
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37 % 251);
    spec.monitor.replay_every = 1;
    cr_assert_eq(backend_host_new(1, &backend, NULL), IJ_OK);
    sound = backend->ops;
    watched = *sound;
    watched.download = download;
    backend->ops = &watched;
    cr_assert_eq(trainer_new(backend, &config, &limits, TENSOR_U8, &trainer, NULL), IJ_OK);
    cr_assert_eq(trainer_set_random(trainer, 3, NULL), IJ_OK);
    cr_assert_eq(train_replay_new(trainer, &spec, &replay, NULL), IJ_OK);
}

static void close_trainer(void)
{
    train_replay_free(replay);
    trainer_free(trainer);
    backend->ops->free(backend);
}

static void flip(float *values, int64_t count, struct rng *rng)
{
    uint32_t word, place = rng_below(rng, (uint32_t)count);
    memcpy(&word, &values[place], sizeof word);
    word ^= 1u << rng_below(rng, 32);
    memcpy(&values[place], &word, sizeof word);
}

/* One step made twice; `spoiled` gets one wrong bit after the state was copied. NULL: nothing. */
static enum ij_status step(uint64_t number, float *const *spoiled, int64_t count, struct rng *rng,
                           struct ij_err *err)
{
    struct trainer_update update = {.step = number,
                                    .lr = 1e-3,
                                    .weight_decay = 0.05,
                                    .ema_momentum = 0.99,
                                    .beta1 = 0.9,
                                    .beta2 = 0.999,
                                    .eps = 1e-8};
    struct trainer_norms norms;
    struct ijepa_loss loss;
    cr_assert(train_replay_is_due(replay, number));
    cr_assert_eq(train_replay_begin(replay, err), IJ_OK);
    if (spoiled)
        flip(*spoiled, count, rng);
    cr_assert_eq(train_replay_keep(replay, &batch, 0, err), IJ_OK);
    IJ_TRY(trainer_micro_batch(trainer, &batch, 0, 1, &loss, err));
    IJ_TRY(train_replay_confirm(replay, number, err));
    IJ_TRY(trainer_update(trainer, &update, &norms, err));
    return train_replay_check(replay, &update, err);
}

/* 200 flips between the copy and the second step, each found: in the state, in the copy, as two
 * results, or, where the bit made a value infinite, at once. */
static void expect_found(float *const *place, int64_t count)
{
    struct rng rng;
    struct ij_err err = IJ_ERR_INIT;
    unsigned found = 0;
    rng_init(&rng, 5, RNG_CROP, 0, 0);
    for (uint64_t n = 1; n <= FLIPS; n++) {
        cr_assert_eq(trainer_set_random(trainer, n, NULL), IJ_OK);
        enum ij_status status = step(n, place, count, &rng, &err);
        cr_assert(status == IJ_DEVICE || status == IJ_NONFINITE, "flip %llu was not found",
                  (unsigned long long)n);
        found += status == IJ_DEVICE;
    }
    cr_expect_gt(found, FLIPS - 10, "few bits make a value infinite");
    cr_assert_eq(trainer_set_random(trainer, 3, NULL), IJ_OK);
    cr_expect_eq(step(1, NULL, 0, &rng, &err), IJ_OK, "%s", err.text);
}

Test(train_replay, bits_that_turn_in_the_weights, .init = open_trainer, .fini = close_trainer,
     .timeout = 60)
{
    expect_found(&trainer->arenas[TRAINER_PARAMETER], trainer->layout.floats);
}

Test(train_replay, bits_that_turn_in_the_target_encoder, .init = open_trainer,
     .fini = close_trainer, .timeout = 60)
{
    expect_found(&trainer->arenas[TRAINER_TARGET], trainer_floats(trainer, TRAINER_TARGET));
}

Test(train_replay, bits_that_turn_in_the_copy, .init = open_trainer, .fini = close_trainer,
     .timeout = 60)
{
    expect_found(&newest_copy, trainer_floats(trainer, TRAINER_TARGET));
}

Test(train_replay, what_is_found_is_told, .init = open_trainer, .fini = close_trainer)
{
    struct rng rng;
    struct ij_err err = IJ_ERR_INIT;
    rng_init(&rng, 5, RNG_CROP, 0, 0);
    cr_assert_eq(step(7, &newest_copy, 8, &rng, &err), IJ_DEVICE);
    cr_expect(strstr(err.text, "step 7") && strstr(err.text, "host memory"), "%s", err.text);
    trainer->arenas[TRAINER_PARAMETER][0] += 1;
    cr_assert_eq(step(8, NULL, 0, &rng, &err), IJ_OK, "a value is what it is: %s", err.text);
}

/* ---- In a run -------------------------------------------------------------------------------- */

static uint64_t updates, wrong_update; /* of the second: the one whose result is wrong */

static enum ij_status adamw_ema(struct backend *b, const struct op_adamw_ema *a, struct ij_err *e)
{
    IJ_TRY(sound->adamw_ema(b, a, e));
    if (++updates == wrong_update)
        a->parameter[11] += a->parameter[11] * 1e-6f + 1e-12f;
    return IJ_OK;
}

static enum ij_status run(const char *name, uint64_t every, uint64_t wrong, struct ij_err *err)
{
    struct engine_sink sink = {.metrics = train_on_metrics, .checkpoint = train_on_checkpoint};
    struct engine_spec spec = train_spec(name);
    spec.monitor.replay_every = every;
    spec.monitor.checkpoint_every_steps = 1;
    spec.monitor.keep_checkpoints = 0;
    spec.optimizer.batch = 2;
    spec.optimizer.accumulate = 2;
    updates = 0;
    wrong_update = wrong;
    cr_assert_eq(file_make_dirs(spec.directory, 0755, NULL), IJ_OK);
    cr_assert_eq(backend_host_new(1, &backend, NULL), IJ_OK);
    sound = backend->ops;
    watched = *sound;
    watched.adamw_ema = adamw_ema;
    backend->ops = &watched;
    enum ij_status status = train_run(backend, &spec, &sink, err);
    backend->ops->free(backend);
    return status;
}

static void expect_same_weights(const char *a, const char *b, unsigned at)
{
    char path[512];
    mem_auto char *x = NULL, *y = NULL;
    size_t m = 0, n = 0;
    train_path(path, a, at, "model.safetensors");
    cr_assert_eq(file_read(path, 1 << 24, &x, &m, NULL), IJ_OK);
    train_path(path, b, at, "model.safetensors");
    cr_assert_eq(file_read(path, 1 << 24, &y, &n, NULL), IJ_OK);
    cr_expect(m == n && memcmp(x, y, m) == 0);
}

Test(train_replay, a_run_ends_with_the_same_bits, .init = train_open, .fini = train_close,
     .timeout = 60)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(run("plain", 0, 0, &err), IJ_OK, "%s", err.text);
    uint64_t plain = updates;
    cr_assert_eq(run("replayed", 3, 0, &err), IJ_OK, "%s", err.text);
    cr_expect_eq(updates, plain + plain / 3);
    expect_same_weights("plain", "replayed", (unsigned)plain);
}

Test(train_replay, a_wrong_result_ends_a_run_before_it_is_saved, .init = train_open,
     .fini = train_close, .timeout = 60)
{
    struct ij_err err = IJ_ERR_INIT;
    cr_assert_eq(run("wrong", 3, 6 + 1, &err), IJ_DEVICE); /* the first making of step 6 */
    cr_expect(strstr(err.text, "step 6"), "%s", err.text);
    cr_expect(train_has("wrong", 5));
    cr_expect_not(train_has("wrong", 6));
}
