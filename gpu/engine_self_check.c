/*
 * Is this machine's GPU to be trusted with runs? Two training steps of a small model on it, in both
 * precisions, against the host backend, which reference files have proven. See engine.h.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/engine.h"
#include "gpu/engine_device.h"
#include "gpu/model/masks.h"
#include "gpu/train/trainer.h"

#define SEED   5
#define BATCH  4
#define STEPS  2
#define CROP   64
#define PIXELS (BATCH * CROP * CROP * 3)

/* What the two devices are compared by. */
struct outcome {
    float loss[STEPS];
    float *gradient, *parameter; /* of the first step; after the last update; owned */
    int64_t floats;
};

/* Largest relative difference that rounding in another order explains. In bfloat16 both sides round
 * what they store, at other places. */
struct limits {
    double loss, gradient, parameter;
};
static const struct limits float32_limits = {1e-5, 1e-4, 1e-4};
static const struct limits bfloat16_limits = {1e-2, 5e-2, 2e-2};

static struct engine_spec check_spec(enum engine_device device, enum engine_precision precision)
{
    struct engine_spec spec = {
        .kind = ENGINE_PRETRAIN,
        .device = device,
        .precision = precision,
        .data = {.crop = CROP, .std = {0.25, 0.25, 0.25}, .mean = {0.5, 0.5, 0.5}},
        .model = {.patch = 8,
                  .width = 96,
                  .depth = 2,
                  .heads = 3,
                  .mlp_ratio = 4,
                  .pred_width = 48,
                  .pred_depth = 2,
                  .pred_heads = 2,
                  .init_std = 0.05},
        .masks = {.targets = 4,
                  .target_scale = {0.15, 0.2},
                  .target_aspect = {0.75, 1.5},
                  .context_scale = {0.85, 1.0},
                  .min_keep = 4},
        .optimizer = {.batch = BATCH, .accumulate = 1},
    };
    return spec;
}

static enum ij_status step(struct trainer *trainer, struct masks *masks, const uint8_t *pixels,
                           uint64_t index, struct outcome *outcome, struct ij_err *reterr_err)
{
    struct ijepa_loss loss;
    struct trainer_norms norms;
    masks_draw(masks, 0, index, BATCH);
    struct ijepa_batch batch = {.pixels = pixels,
                                .images = BATCH,
                                .context_count = masks->context_count,
                                .target_count = masks->target_count,
                                .context = masks->context,
                                .targets = masks->targets};
    struct trainer_update update = {.step = index + 1,
                                    .lr = 1e-3,
                                    .weight_decay = 0.04,
                                    .ema_momentum = 0.99,
                                    .beta1 = 0.9,
                                    .beta2 = 0.999,
                                    .eps = 1e-4}; /* no step for a gradient that is only noise */
    IJ_TRY(trainer_micro_batch(trainer, &batch, 0, 1, &loss, reterr_err));
    outcome->loss[index] = loss.loss;
    if (index == 0)
        IJ_TRY(trainer_read(trainer, TRAINER_GRADIENT, outcome->gradient, reterr_err));
    return trainer_update(trainer, &update, &norms, reterr_err);
}

static enum ij_status steps_on(struct backend *backend, const struct engine_spec *spec,
                               struct masks *masks, struct trainer **trainer,
                               struct outcome *outcome, struct ij_err *reterr_err)
{
    struct mask_sizes_rules rules = mask_sizes_from_spec(spec);
    struct predictor_limits most;
    struct vit_config config = vit_config_from_spec(spec);
    struct rng rng;
    mem_auto uint8_t *pixels = mem_array(uint8_t, PIXELS);
    rng_init(&rng, SEED, RNG_TEST, 0, 0);
    for (int i = 0; pixels && i < PIXELS; i++)
        pixels[i] = (uint8_t)rng_u32(&rng);
    IJ_TRY(masks_init(masks, &rules, SEED, BATCH, reterr_err));
    IJ_TRY(ijepa_limits(&rules, BATCH, &most, reterr_err));
    IJ_TRY(trainer_new(backend, &config, &most, TENSOR_U8, trainer, reterr_err));
    outcome->floats = trainer_floats(*trainer, TRAINER_PARAMETER);
    outcome->gradient = mem_array(float, (size_t)outcome->floats);
    outcome->parameter = mem_array(float, (size_t)outcome->floats);
    if (!pixels || !outcome->gradient || !outcome->parameter)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory to check a device");
    IJ_TRY(trainer_set_random(*trainer, SEED, reterr_err));
    for (uint64_t i = 0; i < STEPS; i++)
        IJ_TRY(step(*trainer, masks, pixels, i, outcome, reterr_err));
    return trainer_read(*trainer, TRAINER_PARAMETER, outcome->parameter, reterr_err);
}

static enum ij_status outcome_of(enum engine_device device, enum engine_precision precision,
                                 struct outcome *outcome, struct ij_err *reterr_err)
{
    struct engine_spec spec = check_spec(device, precision);
    struct backend *backend = NULL;
    struct trainer *trainer = NULL;
    struct masks masks;
    memset(&masks, 0, sizeof masks);
    IJ_TRY(engine_device_open(&spec, &backend, reterr_err));
    enum ij_status status = steps_on(backend, &spec, &masks, &trainer, outcome, reterr_err);
    trainer_free(trainer);
    masks_done(&masks);
    backend->ops->free(backend);
    return status;
}

/* |a - b| / |b|; not a number if anything is. */
static double distance(const float *a, const float *b, int64_t count)
{
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / norm);
}

static enum ij_status compare(const char *precision, const struct outcome *gpu,
                              const struct outcome *host, const struct limits *limits,
                              void (*report)(void *user, const char *line), void *user,
                              struct ij_err *reterr_err)
{
    const struct {
        const char *what;
        double error, limit;
    } rows[] = {
        {"losses", distance(gpu->loss, host->loss, STEPS), limits->loss},
        {"gradients", distance(gpu->gradient, host->gradient, gpu->floats), limits->gradient},
        {"weights after two updates", distance(gpu->parameter, host->parameter, gpu->floats),
         limits->parameter}};
    char line[160];
    enum ij_status status = IJ_OK;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bool good = rows[i].error <= rows[i].limit; /* NaN is not */
        snprintf(line, sizeof line, "%-9s %-26s %.3e  limit %.0e  %s", precision, rows[i].what,
                 rows[i].error, rows[i].limit, good ? "ok" : "DIFFERS");
        report(user, line);
        if (!good && status == IJ_OK)
            status = IJ_ERR_FIELD(reterr_err, IJ_DATA, "device",
                                  "the GPU computes %s in %s that differ from the host's by %.2g",
                                  rows[i].what, precision, rows[i].error);
    }
    return status;
}

static enum ij_status check_precision(enum engine_precision precision,
                                      void (*report)(void *user, const char *line), void *user,
                                      struct ij_err *reterr_err)
{
    struct outcome gpu = {.floats = 0}, host = {.floats = 0};
    enum ij_status status = outcome_of(ENGINE_DEVICE_CUDA, precision, &gpu, reterr_err);
    if (status == IJ_OK)
        status = outcome_of(ENGINE_DEVICE_HOST, precision, &host, reterr_err);
    if (status == IJ_OK)
        status = compare(precision == ENGINE_BFLOAT16 ? "bfloat16" : "float32", &gpu, &host,
                         precision == ENGINE_BFLOAT16 ? &bfloat16_limits : &float32_limits, report,
                         user, reterr_err);
    mem_free(gpu.gradient);
    mem_free(gpu.parameter);
    mem_free(host.gradient);
    mem_free(host.parameter);
    return status;
}

enum ij_status engine_check_device(void (*report)(void *user, const char *line), void *user,
                                   struct ij_err *reterr_err)
{
    IJ_TRY(check_precision(ENGINE_FLOAT32, report, user, reterr_err));
    return check_precision(ENGINE_BFLOAT16, report, user, reterr_err);
}
