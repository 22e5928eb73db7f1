/* See probe_augmented.h. */
#include "gpu/eval/probe_augmented.h"

#include <string.h>

#include "base/mem.h"

struct probe_augmented {
    struct frozen *frozen;
    const struct dataset *dataset;
    struct eval_progress *progress;
    struct loader *loader;
    size_t width, long_width;
    float *last, *concat; /* (images, width), (images, 4 width) of the batch in hand */
    int32_t *labels;
    size_t held, used; /* images in hand, and how many of them have been given away */
};

static enum ij_status open_loader(struct probe_augmented *a,
                                  const struct probe_augmented_options *options,
                                  struct ij_err *reterr_err)
{
    struct loader_options loader = loader_options_train(options->data);
    loader.view = dataset_is_scene(a->dataset) ? LOADER_STRETCH : LOADER_RANDOM_CROP;
    loader.scale[0] = options->scale[0];
    loader.scale[1] = options->scale[1];
    loader.ratio[0] = 3.0 / 4;
    loader.ratio[1] = 4.0 / 3;
    loader.bicubic = true;
    loader.flip = true;
    loader.keep_last = true;
    loader.batch = (uint32_t)options->images;
    loader.seed = options->seed;
    return loader_new(a->dataset, &loader, &a->loader, reterr_err);
}

enum ij_status probe_augmented_new(struct frozen *frozen, const struct dataset *dataset,
                                   const struct probe_augmented_options *options,
                                   struct eval_progress *progress,
                                   struct probe_augmented **ret_augmented,
                                   struct ij_err *reterr_err)
{
    enum ij_status status;
    struct probe_augmented *a = mem_new(struct probe_augmented);
    if (!a)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for an augmented probe");
    a->frozen = frozen;
    a->dataset = dataset;
    a->progress = progress;
    a->width = (size_t)options->width;
    a->long_width = a->width * FROZEN_CONCAT_BLOCKS;
    a->last = mem_array(float, (size_t)options->images * a->width);
    a->concat = mem_array(float, (size_t)options->images * a->long_width);
    a->labels = mem_array(int32_t, (size_t)options->images);
    if (!a->last || !a->concat || !a->labels)
        status = IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a batch of features");
    else
        status = open_loader(a, options, reterr_err);
    if (status != IJ_OK) {
        probe_augmented_free(a);
        return status;
    }
    *ret_augmented = a;
    return IJ_OK;
}

void probe_augmented_free(struct probe_augmented *augmented)
{
    if (!augmented)
        return;
    loader_free(augmented->loader);
    mem_free(augmented->last);
    mem_free(augmented->concat);
    mem_free(augmented->labels);
    mem_free(augmented);
}

/* The next images through the encoder. */
static enum ij_status refill(struct probe_augmented *a, struct ij_err *reterr_err)
{
    const struct loader_batch *batch = NULL;
    IJ_TRY(loader_next(a->loader, &batch, reterr_err));
    enum ij_status status = frozen_features(a->frozen, batch->pixels, (int64_t)batch->count,
                                            a->last, a->concat, NULL, reterr_err);
    memcpy(a->labels, batch->labels, batch->count * sizeof *a->labels);
    a->held = batch->count;
    a->used = 0;
    loader_release(a->loader);
    IJ_TRY(status);
    return a->progress ? eval_progress_add(a->progress, a->held, "training", reterr_err) : IJ_OK;
}

static enum ij_status fill(void *user, uint32_t epoch, uint64_t batch, int64_t rows, float *last,
                           float *concat, int32_t *labels, struct ij_err *reterr_err)
{
    struct probe_augmented *a = user;
    if (batch == 0) { /* what the last epoch left over is dropped */
        loader_seek(a->loader, epoch, 0);
        a->held = a->used = 0;
    }
    for (size_t done = 0; done < (size_t)rows;) {
        if (a->used == a->held)
            IJ_TRY(refill(a, reterr_err));
        size_t left = a->held - a->used,
               n = (size_t)rows - done < left ? (size_t)rows - done : left;
        memcpy(last + done * a->width, a->last + a->used * a->width, n * a->width * sizeof(float));
        memcpy(concat + done * a->long_width, a->concat + a->used * a->long_width,
               n * a->long_width * sizeof(float));
        memcpy(labels + done, a->labels + a->used, n * sizeof *labels);
        a->used += n;
        done += n;
    }
    return IJ_OK;
}

struct probe_feed probe_augmented_feed(struct probe_augmented *augmented)
{
    return (struct probe_feed){
        .fill = fill, .user = augmented, .images = dataset_count(augmented->dataset)};
}
