/* engine_bench_loader: how many images per second the loader delivers to a consumer that does
 * nothing. */
#include <math.h>

#include <jansson.h>

#include "base/build.h"
#include "base/clock.h"
#include "base/mem.h"
#include "gpu/data/loader.h"
#include "gpu/engine.h"

struct measured {
    struct loader_stats before, after;
    double elapsed_s;
    uint64_t images;
};

static enum ij_status take_batch(struct loader *loader, uint64_t *images, struct ij_err *reterr_err)
{
    const struct loader_batch *batch;
    IJ_TRY(loader_next(loader, &batch, reterr_err));
    *images += batch->count;
    loader_release(loader);
    return IJ_OK;
}

/* The first batches warm caches and buffers and are not counted. */
static enum ij_status measure(struct loader *loader, double seconds, struct measured *ret_measured,
                              struct ij_err *reterr_err)
{
    struct measured measured = {0};
    uint64_t warm = 0;
    for (int i = 0; i < 2; i++)
        IJ_TRY(take_batch(loader, &warm, reterr_err));
    loader_stats(loader, &measured.before);
    int64_t start = clock_monotonic_ns();
    do {
        IJ_TRY(take_batch(loader, &measured.images, reterr_err));
        measured.elapsed_s = (double)(clock_monotonic_ns() - start) * 1e-9;
    } while (measured.elapsed_s < seconds);
    loader_stats(loader, &measured.after);
    *ret_measured = measured;
    return IJ_OK;
}

static char *to_json(const struct measured *measured, const struct loader_options *options,
                     size_t files, uint64_t bad)
{
    const struct loader_stats *a = &measured->before, *b = &measured->after;
    double read = b->read_s - a->read_s, decode = b->decode_s - a->decode_s;
    double resize = b->resize_s - a->resize_s, busy = fmax(read + decode + resize, 1e-9);
    double rate = (double)measured->images / measured->elapsed_s;
    json_t *json =
        json_pack("{s:f, s:f, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:f, s:I, s:I, s:s}",
                  "images_per_s", rate, "images_per_s_per_thread", rate / b->threads, "threads",
                  (json_int_t)b->threads, "crop", (json_int_t)options->crop, "batch",
                  (json_int_t)options->batch, "read_share", read / busy, "decode_share",
                  decode / busy, "resize_share", resize / busy, "ms_per_image_busy",
                  1e3 * busy / (double)(b->images - a->images + (b->images == a->images)), "images",
                  (json_int_t)measured->images, "seconds", measured->elapsed_s, "files",
                  (json_int_t)files, "bad_images", (json_int_t)bad, "build", build_id());
    char *text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    char *copy = text ? mem_strdup(text) : NULL;
    free(text);
    json_decref(json);
    return copy;
}

static enum ij_status bench_dataset(const struct engine_spec *spec, const struct dataset *dataset,
                                    double seconds, char **ret_json, struct ij_err *reterr_err)
{
    struct loader_options options = loader_options_train(&spec->data);
    struct measured measured = {0};
    struct loader_bad bad;
    struct loader *loader;
    options.batch = spec->optimizer.batch;
    options.seed = spec->seed;
    IJ_TRY(loader_new(dataset, &options, &loader, reterr_err));
    enum ij_status status = measure(loader, seconds, &measured, reterr_err);
    loader_bad(loader, &bad);
    loader_free(loader);
    IJ_TRY(status);
    *ret_json = to_json(&measured, &options, dataset_count(dataset), bad.count);
    if (!*ret_json)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the report");
    return IJ_OK;
}

enum ij_status engine_bench_loader(const struct engine_spec *spec, double seconds, char **ret_json,
                                   struct ij_err *reterr_err)
{
    struct dataset *dataset;
    IJ_TRY(dataset_open(&spec->data, DATASET_TRAIN, &dataset, reterr_err));
    enum ij_status status = bench_dataset(spec, dataset, seconds, ret_json, reterr_err);
    dataset_free(dataset);
    return status;
}
