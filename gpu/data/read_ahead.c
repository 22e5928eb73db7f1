/* See read_ahead.h. One mutex guards the queue and the jars in it. */
#include "gpu/data/read_ahead.h"

#include <signal.h>

#include "base/clock.h"
#include "base/mem.h"

struct read_ahead {
    const struct dataset *dataset;
    pthread_t *threads;
    uint32_t thread_count;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    /* guarded by mutex, all of the following */
    struct read_ahead_jar *first, *last;
    bool stop;
};

void read_ahead_jar_init(struct read_ahead_jar *jar)
{
    *jar = (struct read_ahead_jar){.err = IJ_ERR_INIT};
    pthread_cond_init(&jar->filled, NULL);
}

void read_ahead_jar_done(struct read_ahead_jar *jar)
{
    IJ_ASSERT(!jar->asked);
    mem_free(jar->bytes.data);
    pthread_cond_destroy(&jar->filled);
}

/* With the mutex held and the queue not empty. */
static struct read_ahead_jar *take(struct read_ahead *ahead)
{
    struct read_ahead_jar *jar = ahead->first;
    ahead->first = jar->next;
    if (!ahead->first)
        ahead->last = NULL;
    return jar;
}

static void fill(const struct dataset *dataset, struct read_ahead_jar *jar)
{
    int64_t since = clock_monotonic_ns();
    jar->err = (struct ij_err)IJ_ERR_INIT;
    jar->status = dataset_read(dataset, jar->sample, &jar->bytes, &jar->err);
    jar->read_ns = clock_monotonic_ns() - since;
}

static void *run_reader(void *user)
{
    struct read_ahead *ahead = user;
    pthread_setname_np(pthread_self(), "reader");
    pthread_mutex_lock(&ahead->mutex);
    for (;;) {
        while (!ahead->first && !ahead->stop)
            pthread_cond_wait(&ahead->work, &ahead->mutex);
        if (!ahead->first)
            break;
        struct read_ahead_jar *jar = take(ahead);
        pthread_mutex_unlock(&ahead->mutex);
        fill(ahead->dataset, jar);
        pthread_mutex_lock(&ahead->mutex);
        jar->done = true;
        pthread_cond_signal(&jar->filled);
    }
    pthread_mutex_unlock(&ahead->mutex);
    return NULL;
}

static enum ij_status start(struct read_ahead *ahead, uint32_t threads, struct ij_err *reterr_err)
{
    sigset_t all, old;
    ahead->threads = mem_array(pthread_t, threads);
    if (!ahead->threads)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the reading threads");
    sigfillset(&all); /* signals are for the main thread; SIGUSR2 as in loader.c */
    sigdelset(&all, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int sys = 0;
    for (uint32_t i = 0; i < threads && !sys; i++) {
        sys = pthread_create(&ahead->threads[i], NULL, run_reader, ahead);
        if (sys)
            break;
        ahead->thread_count++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (sys)
        return IJ_ERR_SYS(reterr_err, sys, "data.loader_threads", "cannot start a reading thread");
    return IJ_OK;
}

enum ij_status read_ahead_new(const struct dataset *dataset, uint32_t threads,
                              struct read_ahead **ret_ahead, struct ij_err *reterr_err)
{
    struct read_ahead *ahead = mem_new(struct read_ahead);
    if (!ahead)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the reading threads");
    ahead->dataset = dataset;
    pthread_mutex_init(&ahead->mutex, NULL);
    pthread_cond_init(&ahead->work, NULL);
    enum ij_status status = start(ahead, threads, reterr_err);
    if (status != IJ_OK) {
        read_ahead_free(ahead);
        return status;
    }
    *ret_ahead = ahead;
    return IJ_OK;
}

void read_ahead_free(struct read_ahead *ahead)
{
    if (!ahead)
        return;
    pthread_mutex_lock(&ahead->mutex);
    IJ_ASSERT(!ahead->first);
    ahead->stop = true;
    pthread_cond_broadcast(&ahead->work);
    pthread_mutex_unlock(&ahead->mutex);
    for (uint32_t i = 0; i < ahead->thread_count; i++)
        pthread_join(ahead->threads[i], NULL);
    mem_free(ahead->threads);
    pthread_cond_destroy(&ahead->work);
    pthread_mutex_destroy(&ahead->mutex);
    mem_free(ahead);
}

void read_ahead_request(struct read_ahead *ahead, struct read_ahead_jar *jar, uint64_t sample)
{
    IJ_ASSERT(!jar->asked);
    jar->sample = sample;
    jar->asked = true;
    jar->done = false;
    jar->next = NULL;
    pthread_mutex_lock(&ahead->mutex);
    if (ahead->last)
        ahead->last->next = jar;
    else
        ahead->first = jar;
    ahead->last = jar;
    pthread_cond_signal(&ahead->work);
    pthread_mutex_unlock(&ahead->mutex);
}

enum ij_status read_ahead_wait(struct read_ahead *ahead, struct read_ahead_jar *jar,
                               struct ij_err *reterr_err)
{
    IJ_ASSERT(jar->asked);
    pthread_mutex_lock(&ahead->mutex);
    while (!jar->done)
        pthread_cond_wait(&jar->filled, &ahead->mutex);
    jar->asked = false;
    pthread_mutex_unlock(&ahead->mutex);
    if (jar->status != IJ_OK && reterr_err)
        *reterr_err = jar->err;
    return jar->status;
}
