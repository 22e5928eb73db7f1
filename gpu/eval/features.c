/* See features.h. */
#include "gpu/eval/features.h"

#include <string.h>

#include "base/mem.h"

static enum ij_status allocate(struct features *f, size_t count, int64_t width, bool want_concat,
                               struct ij_err *reterr_err)
{
    *f = (struct features){.width = width};
    f->last = mem_alloc_zero(count, (size_t)width * sizeof(float));
    f->labels = mem_array(int32_t, count);
    f->samples = mem_array(uint32_t, count);
    if (want_concat)
        f->concat = mem_alloc_zero(count, (size_t)width * FROZEN_CONCAT_BLOCKS * sizeof(float));
    if (f->last && f->labels && f->samples && (f->concat || !want_concat))
        return IJ_OK;
    features_done(f);
    return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the features of %zu images", count);
}

/* Appends the features of one batch, at most `room` images of it. */
static enum ij_status append_batch(struct features *f, struct frozen *frozen,
                                   const struct loader_batch *batch, size_t room,
                                   struct ij_err *reterr_err)
{
    size_t images = batch->count < room ? batch->count : room, width = (size_t)f->width;
    float *last = f->last + f->count * width;
    float *concat = f->concat ? f->concat + f->count * width * FROZEN_CONCAT_BLOCKS : NULL;
    IJ_TRY(frozen_features(frozen, batch->pixels, (int64_t)images, last, concat, NULL, reterr_err));
    memcpy(f->labels + f->count, batch->labels, images * sizeof *f->labels);
    for (size_t i = 0; i < images; i++)
        f->samples[f->count + i] = (uint32_t)batch->samples[i];
    f->count += images;
    return IJ_OK;
}

static enum ij_status extract_all(struct features *f, struct frozen *frozen, struct loader *loader,
                                  size_t count, struct eval_progress *progress,
                                  struct ij_err *reterr_err)
{
    while (f->count < count) {
        const struct loader_batch *batch = NULL;
        size_t before = f->count;
        IJ_TRY(loader_next(loader, &batch, reterr_err));
        enum ij_status status = append_batch(f, frozen, batch, count - f->count, reterr_err);
        loader_release(loader);
        IJ_TRY(status);
        if (progress)
            IJ_TRY(eval_progress_add(progress, f->count - before, "evaluating", reterr_err));
    }
    return IJ_OK;
}

enum ij_status features_extract(struct frozen *frozen, int64_t width, const struct dataset *dataset,
                                const struct loader_options *options, size_t count_max,
                                bool want_concat, struct eval_progress *progress,
                                struct features *ret_features, struct ij_err *reterr_err)
{
    struct features features;
    struct loader *loader = NULL;
    size_t count = dataset_count(dataset);
    if (count_max > 0 && count_max < count)
        count = count_max;
    IJ_TRY(allocate(&features, count, width, want_concat, reterr_err));
    enum ij_status status = loader_new(dataset, options, &loader, reterr_err);
    if (status == IJ_OK)
        status = extract_all(&features, frozen, loader, count, progress, reterr_err);
    if (status == IJ_OK) {
        struct loader_bad bad;
        loader_bad(loader, &bad);
        features.bad = bad.count;
    }
    loader_free(loader);
    if (status != IJ_OK) {
        features_done(&features);
        return status;
    }
    *ret_features = features;
    return IJ_OK;
}

void features_done(struct features *features)
{
    mem_free(features->last);
    mem_free(features->concat);
    mem_free(features->labels);
    mem_free(features->samples);
    *features = (struct features){.count = 0};
}
