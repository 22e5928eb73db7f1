/*
 * The loader over whole epochs, for loader_peer.py, which times the same crops in Python.
 *
 *     loader_epochs crops DIR           one line per image: x y width height path, as epoch 0 draws
 *     loader_epochs pixels DIR FILE     the crops of epoch 0, (images, 224, 224, 3), in list order
 *     loader_epochs time DIR THREADS EPOCHS   seconds of wall clock and of processor for them
 *
 * Crops are 224 pixels of 0.3 to 1.0 of the area without flips, seed 0; batches of 50 images.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/rng.h"
#include "gpu/data/crop.h"
#include "gpu/data/image_reader.h"
#include "gpu/data/loader.h"

#define SIDE  224
#define BATCH 50

static const double scale[2] = {0.3, 1.0}, ratio[2] = {3.0 / 4.0, 4.0 / 3.0};

static enum ij_status open_all(const char *path, struct dataset **ret_dataset, struct ij_err *err)
{
    struct engine_data data = {.labels = ENGINE_LABELS_NONE};
    snprintf(data.path, sizeof data.path, "%s", path);
    snprintf(data.eval_path, sizeof data.eval_path, "%s", path); /* all images, no split */
    return dataset_open(&data, DATASET_TRAIN, ret_dataset, err);
}

static enum ij_status print_crops(const struct dataset *dataset, const char *root,
                                  struct ij_err *err)
{
    struct image_reader *reader;
    struct dataset_buffer bytes = {0};
    enum ij_status status = IJ_OK;
    IJ_TRY(image_reader_new(&reader, err));
    for (size_t i = 0; status == IJ_OK && i < dataset_count(dataset); i++) {
        struct image_info info;
        struct rng rng;
        status = dataset_read(dataset, i, &bytes, err);
        if (status == IJ_OK)
            status = image_reader_open(reader, bytes.data, bytes.size, &info, err);
        if (status != IJ_OK)
            break;
        rng_init(&rng, 0, RNG_CROP, 0, i);
        struct image_box box = crop_random_box(info.width, info.height, scale, ratio, &rng);
        printf("%u %u %u %u %s/%s\n", box.x, box.y, box.width, box.height, root,
               dataset_name(dataset, i));
    }
    mem_free(bytes.data);
    image_reader_free(reader);
    return status;
}

static enum ij_status start(const struct dataset *dataset, uint32_t threads, bool shuffle,
                            struct loader **ret_loader, struct ij_err *err)
{
    const struct loader_options options = {.crop = SIDE,
                                           .batch = BATCH,
                                           .scale = {scale[0], scale[1]},
                                           .ratio = {ratio[0], ratio[1]},
                                           .shuffle = shuffle,
                                           .keep_last = true,
                                           .threads = threads};
    return loader_new(dataset, &options, ret_loader, err);
}

static enum ij_status take(struct loader *loader, uint64_t batches, int fd, struct ij_err *err)
{
    for (uint64_t i = 0; i < batches; i++) {
        const struct loader_batch *batch;
        IJ_TRY(loader_next(loader, &batch, err));
        enum ij_status status = IJ_OK;
        if (fd >= 0)
            status = file_write_all(fd, batch->pixels, (size_t)batch->count * SIDE * SIDE * 3,
                                    "pixels", err);
        loader_release(loader);
        IJ_TRY(status);
    }
    return IJ_OK;
}

static enum ij_status write_pixels(const struct dataset *dataset, const char *path,
                                   struct ij_err *err)
{
    struct loader *loader;
    fd_auto int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return IJ_ERR(err, IJ_IO, "cannot create %s", path);
    IJ_TRY(start(dataset, 1, false, &loader, err));
    enum ij_status status = take(loader, loader_batches(loader), fd, err);
    loader_free(loader);
    return status;
}

static double processor_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

/* Start and end of the threads count too; what is made beyond the last batch is not asked for. */
static enum ij_status time_epochs(const struct dataset *dataset, uint32_t threads, uint64_t epochs,
                                  struct ij_err *err)
{
    struct loader *loader;
    double processor = processor_s();
    int64_t begin = clock_monotonic_ns();
    IJ_TRY(start(dataset, threads, true, &loader, err));
    enum ij_status status = take(loader, epochs * loader_batches(loader), -1, err);
    double wall = (double)(clock_monotonic_ns() - begin) * 1e-9;
    loader_free(loader);
    printf("{\"images\": %llu, \"wall_s\": %.4f, \"processor_s\": %.4f}\n",
           (unsigned long long)(epochs * dataset_count(dataset)), wall, processor_s() - processor);
    return status;
}

static enum ij_status run(int argc, char **argv, struct ij_err *err)
{
    struct dataset *dataset = NULL;
    if (argc < 3)
        return IJ_ERR(err, IJ_INVALID, "loader_epochs crops|pixels|time DIR ...");
    IJ_TRY(open_all(argv[2], &dataset, err));
    enum ij_status status = IJ_ERR(err, IJ_INVALID, "unknown task, or too few arguments");
    if (strcmp(argv[1], "crops") == 0)
        status = print_crops(dataset, argv[2], err);
    else if (strcmp(argv[1], "pixels") == 0 && argc == 4)
        status = write_pixels(dataset, argv[3], err);
    else if (strcmp(argv[1], "time") == 0 && argc == 5)
        status = time_epochs(dataset, (uint32_t)strtoul(argv[3], NULL, 10),
                             strtoul(argv[4], NULL, 10), err);
    dataset_free(dataset);
    return status;
}

int main(int argc, char **argv)
{
    struct ij_err err = IJ_ERR_INIT;
    enum ij_status status = run(argc, argv, &err);
    if (status != IJ_OK)
        fprintf(stderr, "loader_epochs: %s\n", err.text);
    return ij_status_exit_code(status);
}
