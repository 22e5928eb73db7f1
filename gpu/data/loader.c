/*
 * See loader.h. One mutex guards the ring; threads claim images in order from the newest open
 * batch, and open the next one while fewer than `depth` are in the ring. A thread claims some
 * images more than it is working on, so that the readers (read_ahead.h) fetch their files
 * meanwhile.
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
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "gpu/data/bad_images.h"
#include "gpu/data/decoder_jail.h"
#include "gpu/data/image_maker.h"
#include "gpu/data/loader_options.h"
#include "gpu/data/read_ahead.h"
#include "gpu/data/sample_order.h"

#define CLAIMS_MIN 2u /* images of a thread at a time: one in work, one being read */
#define CLAIMS_MAX 8u

struct slot {
    struct loader_batch batch; /* what the consumer sees; its arrays are the ones below */
    uint8_t *pixels;
    uint64_t *planned, *shown;
    int32_t *labels;
    uint32_t done; /* images finished */
};

struct claim {
    struct slot *slot;
    uint32_t i; /* image of the slot */
};

/* One thread; its claims are a queue, and the n-th claim ever made uses jar n % CLAIMS_MAX. */
struct decoder {
    struct loader *loader;
    struct image_maker *maker;
    pthread_t thread;
    struct read_ahead_jar jars[CLAIMS_MAX];
    struct claim claims[CLAIMS_MAX];
    uint64_t claimed, made;
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
    struct read_ahead *ahead;
    struct decoder *decoders;
    uint32_t thread_count; /* decoders started */
    uint32_t claims;       /* of one decoder at most */

    pthread_mutex_t mutex;
    pthread_cond_t work, ready, idle;
    /* guarded by mutex, all of the following */
    uint64_t head, opened, next_epoch, next_batch;
    uint32_t cursor, active;
    uint32_t confined; /* decoders in their jail */
    bool stop, paused, holding;
    enum ij_status status;
    struct ij_err err;
    struct image_maker_times times;
    uint64_t images_made, batches_taken;
    int64_t wait_ns;
};

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
    if (loader->stop || loader->paused || loader->status != IJ_OK)
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

/* With the mutex held: claims images for this decoder. It does so when half of its claims are used
 * up, not one by one, which wakes a reader for several files at once. */
static void claim_images(struct decoder *decoder)
{
    struct loader *loader = decoder->loader;
    if (decoder->claimed - decoder->made > loader->claims / 2)
        return;
    while (decoder->claimed - decoder->made < loader->claims && find_work(loader)) {
        uint64_t n = decoder->claimed++ % CLAIMS_MAX;
        struct claim *claim = &decoder->claims[n];
        claim->slot = &loader->slots[(loader->opened - 1) % loader->options.depth];
        claim->i = loader->cursor++;
        loader->active++;
        read_ahead_request(loader->ahead, &decoder->jars[n], claim->slot->planned[claim->i]);
    }
}

/* With the mutex held: one image of `slot` is made, or failed with `status`. */
static void finish(struct loader *loader, struct slot *slot, const struct image_maker_times *times,
                   enum ij_status status, const struct ij_err *err)
{
    loader->active--;
    loader->images_made++;
    loader->times.read_ns += times->read_ns;
    loader->times.decode_ns += times->decode_ns;
    loader->times.resize_ns += times->resize_ns;
    slot->done++;
    if (status != IJ_OK && loader->status == IJ_OK) {
        loader->status = status;
        loader->err = *err;
    }
    if (slot->done == slot->batch.count || status != IJ_OK)
        pthread_cond_signal(&loader->ready);
    if (loader->active == 0)
        pthread_cond_signal(&loader->idle);
}

/* Makes the image claimed first; the mutex is held on entry and on return, not between. */
static void make_image(struct decoder *decoder)
{
    struct loader *loader = decoder->loader;
    uint64_t n = decoder->made % CLAIMS_MAX;
    struct claim claim = decoder->claims[n];
    struct slot *slot = claim.slot;
    struct image_maker_times times = {0};
    struct ij_err err = IJ_ERR_INIT;
    uint64_t shown = 0, epoch = slot->batch.epoch;
    pthread_mutex_unlock(&loader->mutex);
    enum ij_status status =
        image_maker_make(decoder->maker, epoch, &decoder->jars[n],
                         slot->pixels + claim.i * loader->image_bytes, &shown, &times, &err);
    slot->shown[claim.i] = shown;
    slot->labels[claim.i] = dataset_label(loader->dataset, shown);
    pthread_mutex_lock(&loader->mutex);
    finish(loader, slot, &times, status, &err);
    decoder->made++;
}

static void *run_decoder(void *user)
{
    struct decoder *decoder = user;
    struct loader *loader = decoder->loader;
    pthread_setname_np(pthread_self(), "loader"); /* by another thread it would take a file */
    bool confined = decoder_jail_enter(NULL) == IJ_OK;
    pthread_mutex_lock(&loader->mutex);
    loader->confined += confined;
    for (;;) {
        claim_images(decoder);
        if (decoder->claimed > decoder->made)
            make_image(decoder);
        else if (loader->stop)
            break;
        else
            pthread_cond_wait(&loader->work, &loader->mutex);
    }
    pthread_mutex_unlock(&loader->mutex);
    return NULL;
}

/* Signals are for the process's main thread, but for SIGUSR2: by it a thread that hangs is asked
 * where it is (daemon/worker_stacks.h). */
static enum ij_status start_decoder(struct loader *loader, struct decoder *decoder,
                                    struct ij_err *reterr_err)
{
    decoder->loader = loader;
    IJ_TRY(image_maker_new(loader->dataset, &loader->options, loader->bad, loader->ahead,
                           &decoder->maker, reterr_err));
    for (uint32_t i = 0; i < CLAIMS_MAX; i++)
        read_ahead_jar_init(&decoder->jars[i]);
    sigset_t all, old;
    sigfillset(&all);
    sigdelset(&all, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int sys = pthread_create(&decoder->thread, NULL, run_decoder, decoder);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (sys) {
        image_maker_free(decoder->maker);
        return IJ_ERR_SYS(reterr_err, sys, "data.loader_threads", "cannot start a loader thread");
    }
    loader->thread_count++;
    return IJ_OK;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static enum ij_status make_slots(struct loader *loader, struct ij_err *reterr_err)
{
    const struct loader_options *options = &loader->options;
    loader->slots = mem_array(struct slot, options->depth);
    loader->order = mem_array(uint32_t, dataset_count(loader->dataset));
    loader->decoders = mem_array(struct decoder, options->threads);
    bool complete_set = loader->slots && loader->order && loader->decoders;
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
    IJ_TRY(loader_options_check(options, reterr_err));
    IJ_TRY(count_batches(loader, reterr_err));
    loader->image_bytes = 3 * (size_t)options->crop * options->crop;
    loader->next_epoch = options->epoch + options->batch_first / loader->batches;
    loader->next_batch = options->batch_first % loader->batches;
    IJ_TRY(bad_images_new(loader->dataset, options->bad_image_limit, &loader->bad, reterr_err));
    IJ_TRY(make_slots(loader, reterr_err));
    uint32_t share = options->batch / options->threads;
    loader->claims = share < CLAIMS_MIN ? CLAIMS_MIN : share > CLAIMS_MAX ? CLAIMS_MAX : share;
    decoder_jail_prepare();
    IJ_TRY(read_ahead_new(loader->dataset, options->threads, &loader->ahead, reterr_err));
    for (uint32_t i = 0; i < options->threads; i++)
        IJ_TRY(start_decoder(loader, &loader->decoders[i], reterr_err));
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
    loader_options_complete(&loader->options);
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

static void end_decoder(struct decoder *decoder)
{
    pthread_join(decoder->thread, NULL);
    image_maker_free(decoder->maker);
    for (uint32_t i = 0; i < CLAIMS_MAX; i++)
        read_ahead_jar_done(&decoder->jars[i]);
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
        end_decoder(&loader->decoders[i]);
    read_ahead_free(loader->ahead);
    for (uint32_t i = 0; loader->slots && i < loader->options.depth; i++) {
        mem_free(loader->slots[i].pixels);
        mem_free(loader->slots[i].planned);
        mem_free(loader->slots[i].shown);
        mem_free(loader->slots[i].labels);
    }
    mem_free(loader->slots);
    mem_free(loader->order);
    mem_free(loader->decoders);
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

bool loader_is_ready(struct loader *loader)
{
    pthread_mutex_lock(&loader->mutex);
    IJ_ASSERT(!loader->holding);
    bool ready = loader->status == IJ_OK && head_is_ready(loader);
    pthread_mutex_unlock(&loader->mutex);
    return ready;
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

enum ij_status loader_bad_write(struct loader *loader, const char *path, struct ij_err *reterr_err)
{
    mem_auto char *text = NULL;
    size_t size = 0;
    IJ_TRY(bad_images_csv(loader->bad, &text, &size, reterr_err));
    return file_write_durable(path, text, size, 0600, reterr_err);
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
        .confined = loader->confined,
    };
    pthread_mutex_unlock(&loader->mutex);
}
