/* See tally.h. */
#include "daemon/tally.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

struct tally {
    struct histogram commits; /* atomic */
    pthread_mutex_t mutex;
    struct tally_failure failures[TALLY_REASONS_MAX]; /* guarded */
    size_t count;                                     /* guarded */
};

enum ij_status tally_new(struct tally **ret_tally, struct ij_err *reterr_err)
{
    struct tally *tally = mem_new(struct tally);
    if (!tally)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the daemon's counters");
    pthread_mutex_init(&tally->mutex, NULL);
    *ret_tally = tally;
    return IJ_OK;
}

void tally_free(struct tally *tally)
{
    if (!tally)
        return;
    pthread_mutex_destroy(&tally->mutex);
    mem_free(tally);
}

struct histogram *tally_commits(struct tally *tally)
{
    return &tally->commits;
}

/* The last place is for what finds none. */
static struct tally_failure *place_of(struct tally *tally, const char *reason)
{
    for (size_t i = 0; i < tally->count; i++)
        if (strcmp(tally->failures[i].reason, reason) == 0)
            return &tally->failures[i];
    if (tally->count == TALLY_REASONS_MAX)
        return &tally->failures[TALLY_REASONS_MAX - 1];
    struct tally_failure *fresh = &tally->failures[tally->count++];
    bool last = tally->count == TALLY_REASONS_MAX;
    snprintf(fresh->reason, sizeof(fresh->reason), "%s", last ? "other" : reason);
    return fresh;
}

void tally_count_failure(struct tally *tally, const char *reason)
{
    pthread_mutex_lock(&tally->mutex);
    place_of(tally, reason)->count++;
    pthread_mutex_unlock(&tally->mutex);
}

size_t tally_failures(struct tally *tally, struct tally_failure ret_failures[TALLY_REASONS_MAX])
{
    if (!tally)
        return 0;
    pthread_mutex_lock(&tally->mutex);
    size_t count = tally->count;
    memcpy(ret_failures, tally->failures, count * sizeof(*ret_failures));
    pthread_mutex_unlock(&tally->mutex);
    return count;
}
