/*
 * The loader: from a dataset to batches of uint8 pixels, by N threads and a bounded ring.
 *
 * Order: epoch e visits the samples in a Fisher-Yates permutation keyed by (seed, RNG_ORDER, e), or
 * in list order without `shuffle`; crop and flip of a sample are keyed by (seed, RNG_CROP, e,
 * sample). So every byte is a function of (dataset, options, epoch, batch): the number of threads,
 * a pause or a resume cannot change it. Batches follow each other for ever: after the last of epoch
 * e comes the first of e + 1. With several ranks, batch b of rank r is the (b * ranks + r)-th run
 * of `batch` samples of the epoch.
 *
 * A bad image (undecodable, too large, too deep, unreadable) is counted once, kept with its cause,
 * and replaced by the first good one of a sequence keyed by (seed, RNG_SUBSTITUTE, epoch, sample).
 * Once more than ceil(bad_image_limit * count) images are bad, loader_next returns IJ_DATA with the
 * first ones.
 *
 * loader_next, loader_release, loader_seek and loader_free belong to one consumer thread;
 * loader_bad and loader_stats may be called from any.
 */
#ifndef GPU_DATA_LOADER_H
#define GPU_DATA_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "gpu/data/dataset.h"

#define LOADER_BAD_LISTED  16
#define LOADER_NAME_MAX    256
#define LOADER_CAUSE_MAX   128
#define LOADER_THREADS_MAX 256

/* What is cut out of an image. */
enum loader_view {
    LOADER_RANDOM_CROP, /* random resized crop, bilinear: pretraining */
    LOADER_CENTER_CROP, /* shorter side to round(crop * 256 / 224), bicubic, then the centre; an
                           image that already has crop x crop pixels is left as it is */
    LOADER_STRETCH,     /* whole image to crop x crop, bicubic: scenes */
};

struct loader_options {
    uint32_t crop;  /* pixels per side, 1..4096 */
    uint32_t batch; /* images */
    uint64_t seed;
    enum loader_view view;
    double scale[2]; /* random crop: share of the area; 0, 0 means 0.3, 1 */
    double ratio[2]; /* random crop: width / height; 0, 0 means 3/4, 4/3 */
    bool bicubic;    /* random crop: bicubic instead of bilinear */
    double
        rand_augment; /* magnitude of RandAugment (rand_augment.h) after crop and mirror; 0: off */
    uint8_t fill[3];  /* what it sees beyond the image */
    bool flip;        /* mirror with probability 1/2 */
    bool shuffle;
    bool keep_last;         /* the last batch of an epoch may be smaller; default: it is dropped */
    uint32_t rank, ranks;   /* ranks 0 means 1 */
    uint32_t threads;       /* 0: one per core, at most 16 */
    uint32_t depth;         /* batches in the ring; 0: 4 */
    double bad_image_limit; /* share of the dataset, 0..1 */
    uint64_t epoch, batch_first; /* where to begin */
};

/* Borrowed until loader_release. */
struct loader_batch {
    const uint8_t *pixels;   /* (count, crop, crop, 3) RGB */
    const uint64_t *samples; /* (count) dataset index of the image that is shown */
    const int32_t *labels;   /* (count) its label, -1: none */
    uint32_t count;          /* = batch but for the last one under keep_last */
    uint64_t epoch, batch;   /* batch: index within the epoch */
};

struct loader_bad_image {
    uint64_t sample;
    char name[LOADER_NAME_MAX], cause[LOADER_CAUSE_MAX];
};
struct loader_bad {
    uint64_t count; /* all */
    size_t listed;  /* the first ones, by sample index among those met so far */
    struct loader_bad_image images[LOADER_BAD_LISTED];
};

struct loader_stats {
    uint64_t images, batches;          /* images made; batches taken */
    double wait_s;                     /* the consumer stood waiting */
    double read_s, decode_s, resize_s; /* summed over threads, time of the loader's own work */
    uint32_t threads;                  /* that decode; as many read ahead */
    uint32_t confined;                 /* decoders in a jail (decoder_jail.h); they enter it as
                                          they start */
};

struct loader;

/* Options for pretraining (random crop, flip as set, shuffled) and for evaluation (centre crop, or
 * stretch for scenes; list order, last batch kept). Batch and seed are left to the caller. */
struct loader_options loader_options_train(const struct engine_data *data);
struct loader_options loader_options_eval(const struct engine_data *data,
                                          const struct dataset *dataset);

/* Borrows the dataset for its life and starts the threads: `threads` that decode, each in its jail
 * where the kernel has one, and as many that read files for them. IJ_INVALID names the option;
 * IJ_DATA (field "optimizer.batch") where the dataset is smaller than ranks * batch and keep_last
 * is off.
 */
IJ_MUST_USE enum ij_status loader_new(const struct dataset *dataset,
                                      const struct loader_options *options,
                                      struct loader **ret_loader, struct ij_err *reterr_err);
void loader_free(struct loader *loader); /* from any state; a batch still held dies with it */

uint64_t loader_batches(const struct loader *loader); /* per epoch and rank */

/* The next batch; waits for it. One batch is held at a time: release it first. */
IJ_MUST_USE enum ij_status loader_next(struct loader *loader, const struct loader_batch **ret_batch,
                                       struct ij_err *reterr_err);
void loader_release(struct loader *loader);
/* Would loader_next give a batch at once? None may be held. */
bool loader_is_ready(struct loader *loader);
/* The next batch will be `batch` of `epoch`; batches made ahead are thrown away. */
void loader_seek(struct loader *loader, uint64_t epoch, uint64_t batch);

void loader_bad(struct loader *loader, struct loader_bad *ret_bad);
/* Each bad image met so far and why, durably in `path` (bad_images_csv); may be called from any. */
IJ_MUST_USE enum ij_status loader_bad_write(struct loader *loader, const char *path,
                                            struct ij_err *reterr_err);
void loader_stats(struct loader *loader, struct loader_stats *ret_stats);

#endif
