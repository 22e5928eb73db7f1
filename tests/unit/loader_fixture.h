/* Twenty-three JPEGs in three class folders, for the tests of the loader. Each test is its own
 * process, so the statics are its own. */
#ifndef TESTS_UNIT_LOADER_FIXTURE_H
#define TESTS_UNIT_LOADER_FIXTURE_H

#include "tests/unit/image_fixture.h"

#include "base/hash.h"
#include "gpu/data/loader.h"

#define IMAGES 23
#define BATCH  5
#define CROP   16

static struct engine_data data;
static struct dataset *dataset;
static struct ij_err err;

static inline void reopen(void)
{
    dataset_free(dataset);
    dataset = NULL;
    cr_assert_eq(dataset_open(&data, DATASET_TRAIN, &dataset, &err), IJ_OK, "%s", err.text);
}

static inline void loader_set_up(void)
{
    image_folder_make();
    for (unsigned i = 0; i < IMAGES; i++) {
        char name[64];
        snprintf(name, sizeof(name), "c%u/%02u.jpg", i % 3, i);
        image_write_jpeg(name, 20 + i * 3, 70 - i * 2, i);
    }
    snprintf(data.path, sizeof(data.path), "%s", image_folder);
    strcpy(data.eval_path, data.path); /* all images, no split */
    data.labels = ENGINE_LABELS_FOLDER;
    reopen();
}

static inline void loader_tear_down(void)
{
    dataset_free(dataset);
    image_folder_remove();
}

static inline struct loader_options train_options(void)
{
    return (struct loader_options){.crop = CROP,
                                   .batch = BATCH,
                                   .seed = 42,
                                   .flip = true,
                                   .shuffle = true,
                                   .threads = 2,
                                   .bad_image_limit = 0};
}

static inline struct loader *must_start(const struct loader_options *options)
{
    struct loader *loader = NULL;
    cr_assert_eq(loader_new(dataset, options, &loader, &err), IJ_OK, "%s", err.text);
    return loader;
}

/* A digest of all that the next batch holds. */
static inline void next_digest(struct loader *loader, struct hash *hash)
{
    const struct loader_batch *batch;
    cr_assert_eq(loader_next(loader, &batch, &err), IJ_OK, "%s", err.text);
    hash_update(hash, batch->pixels, (size_t)batch->count * CROP * CROP * 3);
    hash_update(hash, batch->samples, batch->count * sizeof(batch->samples[0]));
    hash_update(hash, batch->labels, batch->count * sizeof(batch->labels[0]));
    hash_update(hash, &batch->epoch, sizeof(batch->epoch));
    hash_update(hash, &batch->batch, sizeof(batch->batch));
    loader_release(loader);
}

static inline void digest_of(const struct loader_options *options, int batches,
                             uint8_t digest[HASH_SIZE])
{
    struct hash hash;
    struct loader *loader = must_start(options);
    hash_init(&hash);
    for (int i = 0; i < batches; i++)
        next_digest(loader, &hash);
    hash_final(&hash, digest);
    loader_free(loader);
}

#endif
