/* See monitor.h. */
#include "gpu/eval/monitor.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/data/dataset.h"
#include "gpu/data/loader.h"
#include "gpu/eval/knn.h"
#include "gpu/eval/masked_view.h"
#include "gpu/eval/rankme.h"
#include "gpu/model/frozen.h"

#define KNN_NEIGHBORS   20
#define KNN_TEMPERATURE 0.07
#define FRAME_MAX       32

/* Decoded images of one half. */
struct half {
    size_t count;
    uint8_t *pixels; /* (count, crop, crop, 3) */
    int32_t *labels;
};

struct monitor {
    struct backend *backend; /* borrowed */
    struct trainer *trainer; /* borrowed */
    struct vit_config config;
    struct frozen *frozen;
    struct half train, eval;
    size_t classes;  /* 0: no labels, or nothing to classify */
    float *features; /* (train.count + eval.count, width), the training half first */
    float *tokens;   /* (MONITOR_BATCH, patches, width) */
    struct rankme_spread spread;
    struct masked_view *view; /* of the held-out half, or of the training one where there is none */
};

/* ---- The fixed images ------------------------------------------------------------------------ */

static size_t image_bytes(const struct vit_config *config)
{
    return (size_t)(config->crop * config->crop * 3);
}

static enum ij_status fill_half(struct half *half, struct loader *loader, size_t bytes,
                                struct ij_err *reterr_err)
{
    size_t filled = 0;
    while (filled < half->count) {
        const struct loader_batch *batch = NULL;
        IJ_TRY(loader_next(loader, &batch, reterr_err));
        size_t left = half->count - filled, n = batch->count < left ? batch->count : left;
        memcpy(half->pixels + filled * bytes, batch->pixels, n * bytes);
        memcpy(half->labels + filled, batch->labels, n * sizeof *half->labels);
        loader_release(loader);
        filled += n;
    }
    return IJ_OK;
}

/* The first `wanted` images of a shuffle whose seed comes from (seed, RNG_SUBSET, split). */
static enum ij_status load_half(struct half *half, const struct engine_spec *spec,
                                const struct dataset *dataset, enum dataset_split split,
                                size_t wanted, size_t bytes, struct ij_err *reterr_err)
{
    struct loader_options options = loader_options_eval(&spec->data, dataset);
    struct loader *loader = NULL;
    struct rng rng;
    rng_init(&rng, spec->seed, RNG_SUBSET, 1, split);
    options.seed = rng_u64(&rng);
    options.shuffle = true;
    options.batch = MONITOR_BATCH;
    half->count = dataset_count(dataset) < wanted ? dataset_count(dataset) : wanted;
    half->pixels = mem_alloc_zero(half->count, bytes);
    half->labels = mem_array(int32_t, half->count);
    if (!half->pixels || !half->labels)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %zu images to watch", half->count);
    IJ_TRY(loader_new(dataset, &options, &loader, reterr_err));
    enum ij_status status = fill_half(half, loader, bytes, reterr_err);
    loader_free(loader);
    return status;
}

static enum ij_status load_split(struct monitor *monitor, const struct engine_spec *spec,
                                 enum dataset_split split, struct half *half,
                                 struct ij_err *reterr_err)
{
    struct dataset *dataset = NULL;
    size_t wanted = (spec->monitor.eval_images + 1) / 2;
    enum ij_status status = dataset_open_any(&spec->data, split, &dataset, reterr_err);
    if (status == IJ_DATA && split == DATASET_EVAL && spec->data.eval_path[0] == '\0')
        return IJ_OK; /* too few images for a held-out half: watched without it */
    IJ_TRY(status);
    if (split == DATASET_TRAIN || monitor->classes > 0) /* both halves have them, or none */
        monitor->classes = dataset_class_count(dataset);
    status =
        load_half(half, spec, dataset, split, wanted, image_bytes(&monitor->config), reterr_err);
    dataset_free(dataset);
    return status;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static enum ij_status prepare(struct monitor *monitor, const struct engine_spec *spec,
                              struct ij_err *reterr_err)
{
    int64_t width = monitor->config.encoder.width;
    IJ_TRY(load_split(monitor, spec, DATASET_TRAIN, &monitor->train, reterr_err));
    IJ_TRY(load_split(monitor, spec, DATASET_EVAL, &monitor->eval, reterr_err));
    if (monitor->eval.count == 0)
        monitor->classes = 0;
    IJ_TRY(rankme_spread_init(&monitor->spread, width, reterr_err));
    monitor->features =
        mem_alloc_zero(monitor->train.count + monitor->eval.count, (size_t)width * sizeof(float));
    monitor->tokens = mem_array(float, (size_t)(MONITOR_BATCH * monitor->config.patches * width));
    if (!monitor->features || !monitor->tokens)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the features to watch");
    const struct half *seen = monitor->eval.count ? &monitor->eval : &monitor->train;
    IJ_TRY(masked_view_new(monitor->trainer, spec, seen->pixels, seen->count, &monitor->view,
                           reterr_err));
    return frozen_new(monitor->backend, &monitor->config, MONITOR_BATCH, &monitor->frozen,
                      reterr_err);
}

enum ij_status monitor_new(struct trainer *trainer, const struct engine_spec *spec,
                           struct monitor **ret_monitor, struct ij_err *reterr_err)
{
    struct monitor *monitor = mem_new(struct monitor);
    if (!monitor)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the monitor");
    monitor->backend = trainer->backend;
    monitor->trainer = trainer;
    monitor->config = trainer->config;
    enum ij_status status = prepare(monitor, spec, reterr_err);
    if (status != IJ_OK) {
        monitor_free(monitor);
        return status;
    }
    *ret_monitor = monitor;
    return IJ_OK;
}

static void half_done(struct half *half)
{
    mem_free(half->pixels);
    mem_free(half->labels);
}

void monitor_free(struct monitor *monitor)
{
    if (!monitor)
        return;
    frozen_free(monitor->frozen);
    masked_view_free(monitor->view);
    half_done(&monitor->train);
    half_done(&monitor->eval);
    rankme_spread_done(&monitor->spread);
    mem_free(monitor->features);
    mem_free(monitor->tokens);
    mem_free(monitor);
}

/* ---- A check --------------------------------------------------------------------------------- */

/* Features of one half to `features`; its tokens go into the spread. */
static enum ij_status encode_half(struct monitor *monitor, const struct half *half, float *features,
                                  struct ij_err *reterr_err)
{
    const struct vit_config *config = &monitor->config;
    for (size_t first = 0; first < half->count; first += MONITOR_BATCH) {
        size_t left = half->count - first, n = left < MONITOR_BATCH ? left : MONITOR_BATCH;
        IJ_TRY(frozen_features(monitor->frozen, half->pixels + first * image_bytes(config),
                               (int64_t)n, features + first * (size_t)config->encoder.width, NULL,
                               monitor->tokens, reterr_err));
        rankme_spread_add(&monitor->spread, monitor->tokens, n * (size_t)config->patches,
                          (double)VIT_CONFIG_TARGET_EPS);
    }
    return IJ_OK;
}

static enum ij_status vote(struct monitor *monitor, const float *eval_features, double *ret_top1,
                           struct ij_err *reterr_err)
{
    const struct knn_options options = {KNN_NEIGHBORS, KNN_TEMPERATURE, monitor->classes};
    const struct knn_set bank = {monitor->features, monitor->train.labels, monitor->train.count};
    const struct knn_set query = {eval_features, monitor->eval.labels, monitor->eval.count};
    return knn_top1(monitor->backend, &options, monitor->config.encoder.width, &bank, &query,
                    ret_top1, reterr_err);
}

static enum ij_status measure(struct monitor *monitor, struct monitor_result *result,
                              struct ij_err *reterr_err)
{
    int64_t width = monitor->config.encoder.width;
    size_t train = monitor->train.count, all = train + monitor->eval.count;
    float *eval_features = monitor->features + train * (size_t)width;
    rankme_spread_clear(&monitor->spread);
    IJ_TRY(encode_half(monitor, &monitor->train, monitor->features, reterr_err));
    IJ_TRY(encode_half(monitor, &monitor->eval, eval_features, reterr_err));
    *result = (struct monitor_result){.knn_top1 = (double)NAN,
                                      .images_train = (uint32_t)train,
                                      .images_eval = (uint32_t)monitor->eval.count};
    result->target = rankme_spread_summary(&monitor->spread);
    result->pair_cos = rankme_pair_cosine(monitor->features, all, width);
    IJ_TRY(rankme_compute(monitor->features, all, width, &result->rankme, &result->spectrum,
                          reterr_err));
    IJ_TRY(masked_view_measure(monitor->view, &result->masked, reterr_err));
    IJ_TRY(trainer_ema_gap(monitor->trainer, &result->ema_gap, reterr_err));
    return monitor->classes ? vote(monitor, eval_features, &result->knn_top1, reterr_err) : IJ_OK;
}

/* A frame that is being put together. */
struct frame {
    const char *keys[FRAME_MAX];
    float values[FRAME_MAX];
    size_t count;
};

static void put(struct frame *frame, const char *key, double value)
{
    IJ_ASSERT(frame->count < FRAME_MAX);
    frame->keys[frame->count] = key;
    frame->values[frame->count++] = (float)value;
}

static void put_spectrum(struct frame *frame, const struct rankme_spectrum *spectrum)
{
    static const char *const keys[RANKME_PLACES_MAX] = {
        "ssl/spectrum_1",    "ssl/spectrum_2",   "ssl/spectrum_4",    "ssl/spectrum_8",
        "ssl/spectrum_16",   "ssl/spectrum_32",  "ssl/spectrum_64",   "ssl/spectrum_128",
        "ssl/spectrum_256",  "ssl/spectrum_512", "ssl/spectrum_1024", "ssl/spectrum_2048",
        "ssl/spectrum_4096", "ssl/spectrum_8192"};
    for (size_t i = 0; i < spectrum->places; i++)
        put(frame, keys[i], spectrum->level[i]);
}

static void put_masked(struct frame *frame, const struct masked_view_result *m)
{
    put(frame, "ssl/ctx_std", m->context.mean);
    put(frame, "ssl/ctx_std_p5", m->context.p5);
    put(frame, "ssl/ctx_std_min", m->context.least);
    put(frame, "ssl/pred_std", m->prediction.mean);
    put(frame, "ssl/pred_std_p5", m->prediction.p5);
    put(frame, "ssl/pred_std_min", m->prediction.least);
}

static enum ij_status emit(const struct engine_sink *sink, uint64_t step,
                           const struct monitor_result *r, struct ij_err *reterr_err)
{
    struct frame frame = {.count = 0};
    put(&frame, "ssl/rankme", r->rankme);
    put(&frame, "ssl/lidar", r->masked.lidar);
    put(&frame, "ssl/explained", r->masked.explained);
    put(&frame, "ssl/target_std", r->target.mean);
    put(&frame, "ssl/target_std_p5", r->target.p5);
    put(&frame, "ssl/target_std_min", r->target.least);
    put(&frame, "ssl/dead_dims", r->target.dead);
    put_masked(&frame, &r->masked);
    put(&frame, "ssl/pair_cos", r->pair_cos);
    put(&frame, "ssl/ema_gap", r->ema_gap);
    put_spectrum(&frame, &r->spectrum);
    if (!isnan(r->knn_top1)) /* there are labels */
        put(&frame, "probe/knn_top1", r->knn_top1);
    if (!sink || !sink->metrics)
        return IJ_OK;
    enum ij_status status =
        sink->metrics(sink->user, "ssl", step, frame.keys, frame.values, frame.count);
    return status == IJ_OK ? IJ_OK : IJ_ERR(reterr_err, status, "the host refused a metrics frame");
}

enum ij_status monitor_check(struct monitor *monitor, uint64_t step, const struct engine_sink *sink,
                             struct monitor_result *ret_result, struct ij_err *reterr_err)
{
    struct monitor_result result;
    frozen_set_borrowed(monitor->frozen, monitor->trainer->arenas[TRAINER_TARGET],
                        monitor->trainer->target_bf16);
    IJ_TRY(measure(monitor, &result, reterr_err));
    IJ_TRY(emit(sink, step, &result, reterr_err));
    if (ret_result)
        *ret_result = result;
    return IJ_OK;
}
