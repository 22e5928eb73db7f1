/*
 * Rates of evaluation as JSON lines: `bench_eval [threads]`, by the wall clock, best of some
 * rounds.
 *
 * Products are given with their GFLOP/s and its share of the machine's peak: what is missing is
 * what is no product. "features" is a dataset of JPEGs through the loader and a ViT-S/16, as a
 * share of the rate at which the same encoder takes pixels that are there.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"
#include "gpu/data/jpeg_writer.h"
#include "gpu/eval/features.h"
#include "gpu/eval/knn.h"
#include "gpu/eval/lidar.h"
#include "gpu/eval/logistic.h"
#include "gpu/eval/probe_group.h"
#include "gpu/eval/rankme.h"
#include "gpu/ops/host/host_peak.h"

#define WIDTH    384
#define ROWS     8192
#define CLASSES  100
#define HEADS    14
#define BATCH    512
#define ROUNDS   3
#define IMAGES   128
#define SIDE     300
#define TOGETHER 64

struct bench {
    struct backend *backend;
    double peak;
    float *x;
    int32_t *labels;
    char folder[64];
};

static double since(int64_t start_ns)
{
    return (double)(clock_monotonic_ns() - start_ns) * 1e-9;
}

/* One line; `flop` in products, 0: none are counted. */
static void tell(const struct bench *b, const char *what, double seconds, double flop)
{
    printf("{\"bench\":\"eval\",\"what\":\"%s\",\"ms\":%.1f", what, seconds * 1e3);
    if (flop > 0)
        printf(",\"gflops\":%.1f,\"share_of_peak\":%.3f", flop / seconds * 1e-9,
               flop / seconds * 1e-9 / b->peak);
    printf("}\n");
    fflush(stdout);
}

/* ---- Judging features ------------------------------------------------------------------------ */

static enum ij_status run_knn(struct bench *b, struct ij_err *err)
{
    const struct knn_options options = {.neighbors = 20, .temperature = 0.07, .classes = CLASSES};
    const struct knn_set bank = {b->x, b->labels, ROWS}, query = {b->x, b->labels, ROWS / 2};
    double top1;
    return knn_top1(b->backend, &options, WIDTH, &bank, &query, &top1, err);
}

static enum ij_status run_logistic(struct bench *b, struct ij_err *err)
{
    const struct logistic_options options = {.width = WIDTH,
                                             .classes = CLASSES,
                                             .penalty = 1e-6,
                                             .intercept = true,
                                             .iterations = 5,
                                             .tolerance = 0};
    struct logistic_fit fit;
    IJ_TRY(logistic_train(b->backend, &options, b->x, b->labels, ROWS, &fit, err));
    logistic_done(&fit);
    return IJ_OK;
}

static enum ij_status run_rankme(struct bench *b, struct ij_err *err)
{
    double rank;
    return rankme_compute(b->x, 2048, WIDTH, &rank, err);
}

static enum ij_status run_lidar(struct bench *b, struct ij_err *err)
{
    double rank;
    return lidar_compute(b->x, 256, 8, WIDTH, &rank, err);
}

static enum ij_status time_best(struct bench *b, const char *what, double flop,
                                enum ij_status (*run)(struct bench *b, struct ij_err *err),
                                struct ij_err *err)
{
    double best = 1e30;
    for (int round = 0; round < ROUNDS; round++) {
        int64_t start = clock_monotonic_ns();
        IJ_TRY(run(b, err));
        double seconds = since(start);
        best = seconds < best ? seconds : best;
    }
    tell(b, what, best, flop);
    return IJ_OK;
}

/* One epoch of the rows through a group of heads. */
static enum ij_status time_heads(struct bench *b, struct ij_err *err)
{
    double decays[HEADS] = {0}, rates[HEADS], best = 1e30;
    const struct probe_group_options options = {.width = WIDTH,
                                                .classes = CLASSES,
                                                .heads = HEADS,
                                                .rows_max = BATCH,
                                                .batch_norm = true,
                                                .weight_decays = decays};
    struct probe_group *group = NULL;
    for (int h = 0; h < HEADS; h++)
        rates[h] = 0.01;
    IJ_TRY(probe_group_new(b->backend, &options, &group, err));
    enum ij_status status = IJ_OK;
    for (int round = 0; status == IJ_OK && round < ROUNDS; round++) {
        int64_t start = clock_monotonic_ns();
        for (size_t row = 0; status == IJ_OK && row < ROWS; row += BATCH)
            status = probe_group_step(group, b->x + row * WIDTH, b->labels + row, BATCH, rates,
                                      NULL, err);
        double seconds = since(start);
        best = seconds < best ? seconds : best;
    }
    probe_group_free(group);
    tell(b, "probe heads, 8192 rows x 14 heads x 100 classes", best,
         4.0 * ROWS * WIDTH * HEADS * CLASSES);
    return status;
}

/* ---- Extracting them ------------------------------------------------------------------------- */

/* Not durable: what it costs to reach a disk is not measured here. */
static enum ij_status write_file(const char *path, const uint8_t *data, size_t size,
                                 struct ij_err *err)
{
    fd_auto int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return fd < 0 ? IJ_ERR(err, IJ_IO, "cannot create %s", path)
                  : file_write_all(fd, data, size, path, err);
}

/* JPEGs of soft waves with some noise: about as many bytes per pixel as photographs. */
static enum ij_status write_images(struct bench *b, struct ij_err *err)
{
    struct jpeg_writer *writer = NULL;
    struct rng rng;
    mem_auto uint8_t *pixels = mem_array(uint8_t, SIDE * SIDE * 3);
    enum ij_status status = jpeg_writer_new(&writer, err);
    rng_init(&rng, 3, RNG_TEST, 0, 0);
    for (int i = 0; status == IJ_OK && i < IMAGES; i++) {
        const uint8_t *data = NULL;
        size_t size = 0;
        char path[128];
        for (int p = 0; p < SIDE * SIDE * 3; p++)
            pixels[p] = (uint8_t)((p / (3 * SIDE) + p % (3 * SIDE) / 7 * (i % 5 + 1) +
                                   (int)rng_below(&rng, 24)) &
                                  255);
        snprintf(path, sizeof path, "%s/%03d.jpg", b->folder, i);
        status = jpeg_writer_compress(writer, pixels, SIDE, SIDE, 88, &data, &size, err);
        if (status == IJ_OK)
            status = write_file(path, data, size, err);
    }
    jpeg_writer_free(writer);
    return status;
}

static enum ij_status open_encoder(struct bench *b, struct frozen **ret_frozen,
                                   struct engine_data *data, struct ij_err *err)
{
    struct engine_spec spec = {.kind = ENGINE_FEATURES, .precision = ENGINE_FLOAT32};
    if (!engine_model_by_name("vit_small", &spec.model))
        return IJ_ERR(err, IJ_INVALID, "no vit_small");
    spec.model.patch = 16;
    spec.model.pred_width = WIDTH;
    spec.model.init_std = 0.02;
    spec.data.crop = 224;
    spec.data.bad_image_limit = 0;
    for (int c = 0; c < 3; c++) {
        spec.data.mean[c] = 0.45;
        spec.data.std[c] = 0.23;
    }
    snprintf(spec.data.path, sizeof spec.data.path, "%s", b->folder);
    snprintf(spec.data.eval_path, sizeof spec.data.eval_path, "%s", b->folder);
    *data = spec.data;
    const struct vit_config config = vit_config_from_spec(&spec);
    IJ_TRY(frozen_new(b->backend, &config, TOGETHER, ret_frozen, err));
    return frozen_set_random(*ret_frozen, 0, err);
}

static enum ij_status forward_rate(struct frozen *frozen, double *ret_rate, struct ij_err *err)
{
    size_t bytes = (size_t)TOGETHER * 224 * 224 * 3;
    mem_auto uint8_t *pixels = mem_array(uint8_t, bytes);
    mem_auto float *rows = mem_array(float, TOGETHER *WIDTH);
    int64_t start = clock_monotonic_ns();
    for (int i = 0; i < IMAGES; i += TOGETHER)
        IJ_TRY(frozen_features(frozen, pixels, TOGETHER, rows, NULL, NULL, err));
    *ret_rate = IMAGES / since(start);
    return IJ_OK;
}

static enum ij_status extract_rate(struct frozen *frozen, const struct engine_data *data,
                                   double *ret_rate, struct ij_err *err)
{
    struct dataset *dataset;
    struct features features;
    IJ_TRY(dataset_open(data, DATASET_TRAIN, &dataset, err));
    struct loader_options options = loader_options_eval(data, dataset);
    options.batch = TOGETHER;
    int64_t start = clock_monotonic_ns();
    enum ij_status status =
        features_extract(frozen, WIDTH, dataset, &options, 0, false, NULL, &features, err);
    *ret_rate = IMAGES / since(start);
    if (status == IJ_OK)
        features_done(&features);
    dataset_free(dataset);
    return status;
}

static enum ij_status time_features(struct bench *b, struct ij_err *err)
{
    struct frozen *frozen = NULL;
    struct engine_data data;
    double forward = 0, extract = 0, rate = 0;
    IJ_TRY(write_images(b, err));
    enum ij_status status = open_encoder(b, &frozen, &data, err);
    for (int round = 0; status == IJ_OK && round < 2; round++) {
        status = forward_rate(frozen, &rate, err);
        forward = rate > forward ? rate : forward;
        if (status == IJ_OK)
            status = extract_rate(frozen, &data, &rate, err);
        extract = rate > extract ? rate : extract;
    }
    frozen_free(frozen);
    printf(
        "{\"bench\":\"eval\",\"what\":\"features, ViT-S/16 at 224\",\"forward_images_per_s\":%.1f,"
        "\"extract_images_per_s\":%.1f,\"share\":%.3f}\n",
        forward, extract, extract / forward);
    return status;
}

/* ---------------------------------------------------------------------------------------------- */

static enum ij_status run_all(struct bench *b, struct ij_err *err)
{
    struct rng rng;
    b->x = mem_array(float, (size_t)ROWS *WIDTH);
    b->labels = mem_array(int32_t, ROWS);
    if (!b->x || !b->labels)
        return IJ_ERR(err, IJ_NO_MEMORY, "no memory for features");
    rng_init(&rng, 1, RNG_TEST, 0, 0);
    for (size_t i = 0; i < (size_t)ROWS * WIDTH; i++)
        b->x[i] = (float)rng_uniform(&rng) - 0.5f;
    for (size_t i = 0; i < ROWS; i++)
        b->labels[i] = (int32_t)rng_below(&rng, CLASSES);
    IJ_TRY(time_best(b, "k-NN, 4096 queries in a bank of 8192", 2.0 * ROWS * (ROWS / 2) * WIDTH,
                     run_knn, err));
    IJ_TRY(time_heads(b, err));
    IJ_TRY(time_best(b, "logistic regression, 8192 rows, 5 iterations", 0, run_logistic, err));
    IJ_TRY(time_best(b, "RankMe, 2048 rows", 0, run_rankme, err));
    IJ_TRY(time_best(b, "LiDAR, 256 images x 8", 0, run_lidar, err));
    return time_features(b, err);
}

int main(int argc, char **argv)
{
    uint64_t threads = 0;
    struct bench bench = {.folder = "/tmp/bench_eval.XXXXXX"};
    struct ij_err err = IJ_ERR_INIT;
    if (argc > 2 || (argc == 2 && !text_to_u64(argv[1], &threads)) || threads > 1024 ||
        !mkdtemp(bench.folder) || backend_host_new((int)threads, &bench.backend, &err) != IJ_OK) {
        fprintf(stderr, "usage: bench_eval [threads]\n");
        return 2;
    }
    bench.peak = host_peak_gflops(bench.backend->threads);
    printf("{\"bench\":\"eval\",\"threads\":%d,\"peak_gflops\":%.1f}\n", bench.backend->threads,
           bench.peak);
    enum ij_status status = run_all(&bench, &err);
    if (status != IJ_OK)
        fprintf(stderr, "bench_eval: %s\n", err.text);
    (void)!file_remove_tree(bench.folder, NULL);
    mem_free(bench.x);
    mem_free(bench.labels);
    bench.backend->ops->free(bench.backend);
    return ij_status_exit_code(status);
}
