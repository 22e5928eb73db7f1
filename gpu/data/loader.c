/*
 * See loader.h. One mutex guards the ring; threads take one image at a time, in order, from the
 * newest open batch, and open the next one while fewer than `depth` are in the ring.
 *
 *     serial numbers:   taken < ... < head <= ... < opened <= head + depth
 *     slot of a batch:  serial % depth
 *     `cursor`:         next image of batch opened - 1 that no thread has yet
 *
 * A seek waits for the images in work, then begins anew at serial 0. The first failure is kept and
 * given to the consumer; the threads then wait for the end.
 */
#include "gpu/data/loader.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "gpu/data/bad_images.h"
#include "gpu/data/image_maker.h"
#include "gpu/data/sample_order.h"

#define CROP_MAX        4096u
#define BATCH_MAX       65536u
#define DEPTH_MAX       256u
#define RING_BYTES_MAX  ((uint64_t)16 << 30)
#define DEFAULT_DEPTH   4u
#define DEFAULT_THREADS 16u

struct slot {
    struct loader_batch batch; /* what the consumer sees; its arrays are the ones below */
    uint8_t *pixels;
    uint64_t *planned, *shown;
    int32_t *labels;
    uint32_t done; /* images finished */
};

struct loader {
    const struct dataset *dataset;
    struct loader_options options; /* complete */
    struct bad_images *bad;
    uint64_t batches; /* per epoch */
    size_t image_bytes;
    struct slot *slots;
    uint32_t *order;      /* guarded by mutex: the order of `order_epoch` */
    uint64_t order_epoch; /* guarded by mutex */
    bool order_valid;
    pthread_t *threads;
    uint32_t thread_count;

    pthread_mutex_t mutex;
    pthread_cond_t work, ready, idle;
    /* guarded by mutex, all of the following */
    uint64_t head, opened, next_epoch, next_batch;
    uint32_t cursor, active;
    bool stop, paused, holding;
    enum ij_status status;
    struct ij_err err;
    struct image_maker_times times;
    uint64_t images_made, batches_taken;
    int64_t wait_ns;
};

/* ---- Options --------------------------------------------------------------------------------- */

struct loader_options loader_options_train(const struct engine_data *data)
{
    return (struct loader_options){
        .crop = data->crop,
        .view = LOADER_RANDOM_CROP,
        .scale = {data->crop_scale[0], data->crop_scale[1]},
        .ratio = {data->crop_ratio[0], data->crop_ratio[1]},
        .flip = data->flip,
        .shuffle = true,
        .threads = data->loader_threads,
        .bad_image_limit = data->bad_image_limit,
    };
}

struct loader_options loader_options_eval(const struct engine_data *data,
                                          const struct dataset *dataset)
{
    return (struct loader_options){
        .crop = data->crop,
        .view = dataset_is_scene(dataset) ? LOADER_STRETCH : LOADER_CENTER_CROP,
        .keep_last = true,
        .threads = data->loader_threads,
        .bad_image_limit = data->bad_image_limit,
    };
}

static uint32_t core_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return 1;
    return (uint32_t)CPU_COUNT(&set);
}

static void complete(struct loader_options *options)
{
    if (options->scale[0] == 0 && options->scale[1] == 0) {
        options->scale[0] = 0.3;
        options->scale[1] = 1.0;
    }
    if (options->ratio[0] == 0 && options->ratio[1] == 0) {
        options->ratio[0] = 3.0 / 4.0;
        options->ratio[1] = 4.0 / 3.0;
    }
    if (options->ranks == 0)
        options->ranks = 1;
    if (options->depth == 0)
        options->depth = DEFAULT_DEPTH;
    if (options->threads == 0) {
        uint32_t cores = core_count();
        options->threads = cores < DEFAULT_THREADS ? cores : DEFAULT_THREADS;
    }
}

static enum ij_status check_number(const char *field, uint64_t value, uint64_t low, uint64_t high,
                                   struct ij_err *reterr_err)
{
    if (value >= low && value <= high)
        return IJ_OK;
    return IJ_ERR_FIELD(reterr_err, IJ_INVALID, field, "must be %llu to %llu, not %llu",
                        (unsigned long long)low, (unsigned long long)high,
                        (unsigned long long)value);
}

static enum ij_status check(const struct loader_options *options, struct ij_err *reterr_err)
{
    IJ_TRY(check_number("data.crop", options->crop, 1, CROP_MAX, reterr_err));
    IJ_TRY(check_number("optimizer.batch", options->batch, 1, BATCH_MAX, reterr_err));
    IJ_TRY(
        check_number("data.loader_threads", options->threads, 1, LOADER_THREADS_MAX, reterr_err));
    IJ_TRY(check_number("depth", options->depth, 1, DEPTH_MAX, reterr_err));
    IJ_TRY(check_number("rank", options->rank, 0, options->ranks - 1, reterr_err));
    uint64_t ring = 3ull * options->crop * options->crop * options->batch * options->depth;
    if (ring > RING_BYTES_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_TOO_LARGE, "optimizer.batch",
                            "%u batches of pixels take %llu bytes, more than %llu", options->depth,
                            (unsigned long long)ring, (unsigned long long)RING_BYTES_MAX);
    const double *scale = options->scale, *ratio = options->ratio;
    if (!(scale[0] > 0 && scale[0] <= scale[1] && scale[1] <= 1))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "data.crop_scale",
                            "must be two shares with 0 < low <= high <= 1");
    if (!(ratio[0] > 0 && ratio[0] <= ratio[1] && ratio[1] <= 100))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "data.crop_ratio",
                            "must be two ratios with 0 < low <= high <= 100");
    if (!(options->bad_image_limit >= 0 && options->bad_image_limit <= 1))
        return IJ_ERR_FIELD(reterr_err, IJ_INVALID, "data.bad_image_limit",
                            "must be a share from 0 to 1");
    return IJ_OK;
}

/* ---- Work of the threads --------------------------------------------------------------------- */

/* With the mutex held: fills in the next batch of the ring. */
static void open_batch(struct loader *loader)
{
    const struct loader_options *options = &loader->options;
    struct slot *slot = &loader->slots[loader->opened % options->depth];
    size_t count = dataset_count(loader->dataset);
    if (!loader->order_valid || loader->order_epoch != loader->next_epoch) {
        sample_order_fill(loader->order, count, options->seed, loader->next_epoch,
                          options->shuffle);
        loader->order_epoch = loader->next_epoch;
        loader->order_valid = true;
    }
    uint64_t first = (loader->next_batch * options->ranks + options->rank) * options->batch;
    uint64_t left = first < count ? count - first : 0;
    slot->batch.count = left < options->batch ? (uint32_t)left : options->batch;
    slot->batch.epoch = loader->next_epoch;
    slot->batch.batch = loader->next_batch;
    slot->done = 0;
    for (uint32_t i = 0; i < slot->batch.count; i++)
        slot->planned[i] = loader->order[first + i];
    loader->opened++;
    loader->cursor = 0;
    if (++loader->next_batch == loader->batches) {
        loader->next_batch = 0;
        loader->next_epoch++;
    }
}

/* With the mutex held: is there an image to make? Opens a batch where needed. (The last batch of an
 * epoch may be empty on some ranks; it is ready as it is.) */
static bool find_work(struct loader *loader)
{
    uint32_t depth = loader->options.depth;
    if (loader->paused || loader->status != IJ_OK)
        return false;
    for (;;) {
        const struct slot *newest = &loader->slots[(loader->opened + depth - 1) % depth];
        if (loader->opened > loader->head && loader->cursor < newest->batch.count)
            return true;
        if (loader->opened >= loader->head + depth)
            return false;
        open_batch(loader);
        pthread_cond_signal(&loader->ready);
    }
}

/* Makes image `i` of `slot`; the mutex is held on entry and on return, not between. */
static void make_image(struct loader *loader, struct image_maker *maker, struct slot *slot,
                       uint32_t i)
{
    struct image_maker_times times = {0};
    struct ij_err err = IJ_ERR_INIT;
    uint64_t shown = 0, epoch = slot->batch.epoch;
    loader->active++;
    pthread_mutex_unlock(&loader->mutex);
    enum ij_status status =
        image_maker_make(maker, epoch, slot->planned[i], slot->pixels + i * loader->image_bytes,
                         &shown, &times, &err);
    slot->shown[i] = shown;
    slot->labels[i] = dataset_label(loader->dataset, shown);
    pthread_mutex_lock(&loader->mutex);
    loader->active--;
    loader->images_made++;
    loader->times.read_ns += times.read_ns;
    loader->times.decode_ns += times.decode_ns;
    loader->times.resize_ns += times.resize_ns;
    slot->done++;
    if (status != IJ_OK && loader->status == IJ_OK) {
        loader->status = status;
        loader->err = err;
    }
    if (slot->done == slot->batch.count || status != IJ_OK)
        pthread_cond_signal(&loader->ready);
    if (loader->active == 0)
        pthread_cond_signal(&loader->idle);
}

struct thread_start {
    struct loader *loader;
    struct image_maker *maker;
};

static void *run_thread(void *argument)
{
    struct thread_start start = *(struct thread_start *)argument;
    struct loader *loader = start.loader;
    mem_free(argument);
    pthread_mutex_lock(&loader->mutex);
    while (!loader->stop) {
        if (!find_work(loader)) {
            pthread_cond_wait(&loader->work, &loader->mutex);
            continue;
        }
        struct slot *slot = &loader->slots[(loader->opened - 1) % loader->options.depth];
        uint32_t i = loader->cursor++;
        make_image(loader, start.maker, slot, i);
    }
    pthread_mutex_unlock(&loader->mutex);
    image_maker_free(start.maker);
    return NULL;
}

/* Signals are for the process's main thread. */
static enum ij_status start_thread(struct loader *loader, uint32_t index, struct ij_err *reterr_err)
{
    struct thread_start *start = mem_new(struct thread_start);
    if (!start)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a loader thread");
    start->loader = loader;
    enum ij_status status =
        image_maker_new(loader->dataset, &loader->options, loader->bad, &start->maker, reterr_err);
    if (status != IJ_OK) {
        mem_free(start);
        return status;
    }
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    struct image_maker *maker = start->maker;
    int sys = pthread_create(&loader->threads[index], NULL, run_thread, start);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (sys) {
        image_maker_free(maker);
        mem_free(start);
        return IJ_ERR_SYS(reterr_err, sys, "data.loader_threads", "cannot start a loader thread");
    }
    char name[16];
    snprintf(name, sizeof(name), "loader-%u", index);
    pthread_setname_np(loader->threads[index], name);
    loader->thread_count++;
    return IJ_OK;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static enum ij_status make_slots(struct loader *loader, struct ij_err *reterr_err)
{
    const struct loader_options *options = &loader->options;
    loader->slots = mem_array(struct slot, options->depth);
    loader->order = mem_array(uint32_t, dataset_count(loader->dataset));
    loader->threads = mem_array(pthread_t, options->threads);
    bool complete_set = loader->slots && loader->order && loader->threads;
    for (uint32_t i = 0; complete_set && i < options->depth; i++) {
        struct slot *slot = &loader->slots[i];
        slot->pixels = mem_alloc_aligned(64, loader->image_bytes * options->batch);
        slot->planned = mem_array(uint64_t, options->batch);
        slot->shown = mem_array(uint64_t, options->batch);
        slot->labels = mem_array(int32_t, options->batch);
        complete_set = slot->pixels && slot->planned && slot->shown && slot->labels;
        slot->batch.pixels = slot->pixels;
        slot->batch.samples = slot->shown;
        slot->batch.labels = slot->labels;
    }
    if (!complete_set)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %u batches of %u images",
                      options->depth, options->batch);
    return IJ_OK;
}

static enum ij_status count_batches(struct loader *loader, struct ij_err *reterr_err)
{
    const struct loader_options *options = &loader->options;
    uint64_t count = dataset_count(loader->dataset);
    uint64_t per_round = (uint64_t)options->batch * options->ranks;
    if (count > UINT32_MAX)
        return IJ_ERR_FIELD(reterr_err, IJ_TOO_LARGE, "data.path", "more than 2^32 images");
    loader->batches = options->keep_last ? (count + per_round - 1) / per_round : count / per_round;
    if (loader->batches == 0)
        return IJ_ERR_FIELD(reterr_err, IJ_DATA, "optimizer.batch",
                            "the dataset has %llu images, fewer than one batch of %llu",
                            (unsigned long long)count, (unsigned long long)per_round);
    return IJ_OK;
}

static enum ij_status set_up(struct loader *loader, struct ij_err *reterr_err)
{
    const struct loader_options *options = &loader->options;
    IJ_TRY(check(options, reterr_err));
    IJ_TRY(count_batches(loader, reterr_err));
    loader->image_bytes = 3 * (size_t)options->crop * options->crop;
    loader->next_epoch = options->epoch + options->batch_first / loader->batches;
    loader->next_batch = options->batch_first % loader->batches;
    IJ_TRY(bad_images_new(loader->dataset, options->bad_image_limit, &loader->bad, reterr_err));
    IJ_TRY(make_slots(loader, reterr_err));
    for (uint32_t i = 0; i < options->threads; i++)
        IJ_TRY(start_thread(loader, i, reterr_err));
    return IJ_OK;
}

enum ij_status loader_new(const struct dataset *dataset, const struct loader_options *options,
                          struct loader **ret_loader, struct ij_err *reterr_err)
{
    struct loader *loader = mem_new(struct loader);
    if (!loader)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a loader");
    loader->dataset = dataset;
    loader->options = *options;
    complete(&loader->options);
    pthread_mutex_init(&loader->mutex, NULL);
    pthread_cond_init(&loader->work, NULL);
    pthread_cond_init(&loader->ready, NULL);
    pthread_cond_init(&loader->idle, NULL);
    enum ij_status status = set_up(loader, reterr_err);
    if (status != IJ_OK) {
        loader_free(loader);
        return status;
    }
    *ret_loader = loader;
    return IJ_OK;
}

void loader_free(struct loader *loader)
{
    if (!loader)
        return;
    pthread_mutex_lock(&loader->mutex);
    loader->stop = true;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->mutex);
    for (uint32_t i = 0; i < loader->thread_count; i++)
        pthread_join(loader->threads[i], NULL);
    for (uint32_t i = 0; loader->slots && i < loader->options.depth; i++) {
        mem_free(loader->slots[i].pixels);
        mem_free(loader->slots[i].planned);
        mem_free(loader->slots[i].shown);
        mem_free(loader->slots[i].labels);
    }
    mem_free(loader->slots);
    mem_free(loader->order);
    mem_free(loader->threads);
    bad_images_free(loader->bad);
    pthread_cond_destroy(&loader->work);
    pthread_cond_destroy(&loader->ready);
    pthread_cond_destroy(&loader->idle);
    pthread_mutex_destroy(&loader->mutex);
    mem_free(loader);
}

/* ---- Consumer -------------------------------------------------------------------------------- */

uint64_t loader_batches(const struct loader *loader)
{
    return loader->batches;
}

static bool head_is_ready(const struct loader *loader)
{
    const struct slot *slot = &loader->slots[loader->head % loader->options.depth];
    return loader->opened > loader->head && slot->done == slot->batch.count;
}

enum ij_status loader_next(struct loader *loader, const struct loader_batch **ret_batch,
                           struct ij_err *reterr_err)
{
    pthread_mutex_lock(&loader->mutex);
    IJ_ASSERT(!loader->holding);
    int64_t since = clock_monotonic_ns();
    while (loader->status == IJ_OK && !head_is_ready(loader)) {
        pthread_cond_signal(&loader->work);
        pthread_cond_wait(&loader->ready, &loader->mutex);
    }
    loader->wait_ns += clock_monotonic_ns() - since;
    enum ij_status status = loader->status;
    if (status != IJ_OK && reterr_err)
        *reterr_err = loader->err;
    if (status == IJ_OK) {
        loader->holding = true;
        loader->batches_taken++;
        *ret_batch = &loader->slots[loader->head % loader->options.depth].batch;
    }
    pthread_mutex_unlock(&loader->mutex);
    return status;
}

void loader_release(struct loader *loader)
{
    pthread_mutex_lock(&loader->mutex);
    IJ_ASSERT(loader->holding);
    loader->holding = false;
    loader->head++;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->mutex);
}

void loader_seek(struct loader *loader, uint64_t epoch, uint64_t batch)
{
    pthread_mutex_lock(&loader->mutex);
    loader->paused = true;
    while (loader->active > 0)
        pthread_cond_wait(&loader->idle, &loader->mutex);
    loader->head = loader->opened = 0;
    loader->cursor = 0;
    loader->holding = false;
    loader->next_epoch = epoch + batch / loader->batches;
    loader->next_batch = batch % loader->batches;
    loader->paused = false;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->mutex);
}

void loader_bad(struct loader *loader, struct loader_bad *ret_bad)
{
    bad_images_list(loader->bad, ret_bad);
}

void loader_stats(struct loader *loader, struct loader_stats *ret_stats)
{
    pthread_mutex_lock(&loader->mutex);
    *ret_stats = (struct loader_stats){
        .images = loader->images_made,
        .batches = loader->batches_taken,
        .wait_s = (double)loader->wait_ns * 1e-9,
        .read_s = (double)loader->times.read_ns * 1e-9,
        .decode_s = (double)loader->times.decode_ns * 1e-9,
        .resize_s = (double)loader->times.resize_ns * 1e-9,
        .threads = loader->options.threads,
    };
    pthread_mutex_unlock(&loader->mutex);
}
