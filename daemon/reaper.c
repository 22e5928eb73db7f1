/*
 * See reaper.h. The thread takes the first job, which stays in the queue as `current` while its
 * tree goes, and then moves it to `ended`; an eventfd wakes the loop, which tells of each.
 */
#include "daemon/reaper.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

struct node {
    struct node *next;
    struct reaper_job job;
    bool failed;
    struct ij_err err;
};

struct reaper {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct node *first, **last; /* waiting, the one in work first; guarded by lock */
    struct node *ended, **ended_last;
    size_t count; /* waiting and in work; guarded by lock */
    bool stop;    /* guarded by lock */
    int wake_fd;
    pthread_t thread;
    bool has_thread;
    /* Loop thread only. */
    sd_event_source *source;
    reaper_done done;
    void *user;
};

static void wake_loop(struct reaper *reaper)
{
    uint64_t one = 1;
    ssize_t n = write(reaper->wake_fd, &one, sizeof(one));
    IJ_ASSERT(n == (ssize_t)sizeof(one) || errno == EAGAIN || errno == EINTR);
}

/* With the lock held. The job in work goes to the ended ones. */
static void end_first(struct reaper *reaper)
{
    struct node *node = reaper->first;
    reaper->first = node->next;
    if (!reaper->first)
        reaper->last = &reaper->first;
    reaper->count--;
    node->next = NULL;
    *reaper->ended_last = node;
    reaper->ended_last = &node->next;
}

static enum ij_status work(const struct reaper_job *job, struct ij_err *reterr_err)
{
    if (job->guard)
        IJ_TRY(job->guard(job, reterr_err));
    return file_remove_tree(job->path, reterr_err);
}

static void *run_thread(void *user)
{
    struct reaper *reaper = user;
    pthread_mutex_lock(&reaper->lock);
    for (;;) {
        while (!reaper->first && !reaper->stop)
            pthread_cond_wait(&reaper->changed, &reaper->lock);
        if (reaper->stop)
            break;
        struct node *node = reaper->first; /* stays first: only this thread takes away */
        pthread_mutex_unlock(&reaper->lock);
        node->failed = work(&node->job, &node->err) != IJ_OK;
        pthread_mutex_lock(&reaper->lock);
        end_first(reaper);
        wake_loop(reaper);
    }
    pthread_mutex_unlock(&reaper->lock);
    return NULL;
}

static int on_ended(sd_event_source *source, int fd, uint32_t events, void *user)
{
    (void)source;
    (void)events;
    struct reaper *reaper = user;
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof(count));
    (void)n; /* EAGAIN: emptied already */
    pthread_mutex_lock(&reaper->lock);
    struct node *node = reaper->ended;
    reaper->ended = NULL;
    reaper->ended_last = &reaper->ended;
    pthread_mutex_unlock(&reaper->lock);
    while (node) {
        struct node *next = node->next;
        reaper->done(reaper->user, &node->job, node->failed ? &node->err : NULL);
        mem_free(node);
        node = next;
    }
    return 0;
}

enum ij_status reaper_new(sd_event *event, reaper_done done, void *user, struct reaper **ret_reaper,
                          struct ij_err *reterr_err)
{
    struct reaper *reaper = mem_new(struct reaper);
    if (!reaper)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the removal of files");
    *reaper = (struct reaper){.done = done, .user = user};
    reaper->last = &reaper->first;
    reaper->ended_last = &reaper->ended;
    pthread_mutex_init(&reaper->lock, NULL);
    pthread_cond_init(&reaper->changed, NULL);
    reaper->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int r = reaper->wake_fd < 0 ? -errno
                                : sd_event_add_io(event, &reaper->source, reaper->wake_fd, EPOLLIN,
                                                  on_ended, reaper);
    if (r >= 0)
        r = -pthread_create(&reaper->thread, NULL, run_thread, reaper);
    if (r < 0) {
        reaper_free(reaper);
        return IJ_ERR_SYS(reterr_err, -r, "", "cannot start the thread that removes files");
    }
    reaper->has_thread = true;
    *ret_reaper = reaper;
    return IJ_OK;
}

static void free_nodes(struct node *node)
{
    while (node) {
        struct node *next = node->next;
        mem_free(node);
        node = next;
    }
}

void reaper_free(struct reaper *reaper)
{
    if (!reaper)
        return;
    pthread_mutex_lock(&reaper->lock);
    reaper->stop = true;
    pthread_cond_signal(&reaper->changed);
    pthread_mutex_unlock(&reaper->lock);
    if (reaper->has_thread)
        pthread_join(reaper->thread, NULL);
    sd_event_source_disable_unref(reaper->source);
    free_nodes(reaper->first);
    free_nodes(reaper->ended);
    if (reaper->wake_fd >= 0)
        close(reaper->wake_fd);
    pthread_cond_destroy(&reaper->changed);
    pthread_mutex_destroy(&reaper->lock);
    mem_free(reaper);
}

/* With the lock held. */
static enum ij_status append(struct reaper *reaper, struct node *node, bool *ret_known,
                             struct ij_err *reterr_err)
{
    for (const struct node *each = reaper->first; each; each = each->next)
        if (each->job.kind == node->job.kind && each->job.id == node->job.id &&
            strcmp(each->job.path, node->job.path) == 0) {
            *ret_known = true;
            return IJ_OK;
        }
    if (reaper->count == REAPER_QUEUE_MAX)
        return IJ_ERR(reterr_err, IJ_BUSY, "%d deletions are under way already", REAPER_QUEUE_MAX);
    *reaper->last = node;
    reaper->last = &node->next;
    reaper->count++;
    pthread_cond_signal(&reaper->changed);
    return IJ_OK;
}

enum ij_status reaper_submit(struct reaper *reaper, const struct reaper_job *job,
                             struct ij_err *reterr_err)
{
    struct node *node = mem_new(struct node);
    bool known = false;
    if (!node)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a deletion");
    *node = (struct node){.job = *job, .err = IJ_ERR_INIT};
    pthread_mutex_lock(&reaper->lock);
    enum ij_status status = append(reaper, node, &known, reterr_err);
    pthread_mutex_unlock(&reaper->lock);
    if (status != IJ_OK || known)
        mem_free(node);
    return status;
}

size_t reaper_waiting(struct reaper *reaper)
{
    pthread_mutex_lock(&reaper->lock);
    size_t count = reaper->count;
    pthread_mutex_unlock(&reaper->lock);
    return count;
}
