/* See readers.h. */
#include "api/readers.h"

#include <pthread.h>

#include "base/mem.h"

struct readers {
    pthread_mutex_t mutex;
    char *state_dir;
    struct store *idle[READERS_MAX]; /* guarded by mutex */
    size_t idle_count, open_count;   /* guarded by mutex */
};

enum ij_status readers_new(const char *state_dir, struct readers **ret_readers,
                           struct ij_err *reterr_err)
{
    struct readers *readers = mem_new(struct readers);
    if (readers)
        readers->state_dir = mem_strdup(state_dir);
    if (!readers || !readers->state_dir) {
        mem_free(readers);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for the readers");
    }
    pthread_mutex_init(&readers->mutex, NULL);
    *ret_readers = readers;
    return IJ_OK;
}

void readers_free(struct readers *readers)
{
    if (!readers)
        return;
    for (size_t i = 0; i < readers->idle_count; i++)
        store_close(readers->idle[i]);
    pthread_mutex_destroy(&readers->mutex);
    mem_free(readers->state_dir);
    mem_free(readers);
}

enum ij_status readers_take(struct readers *readers, struct store **ret_store,
                            struct ij_err *reterr_err)
{
    struct store *store = NULL;
    pthread_mutex_lock(&readers->mutex);
    if (readers->idle_count)
        store = readers->idle[--readers->idle_count];
    bool room = !store && readers->open_count < READERS_MAX;
    if (room)
        readers->open_count++;
    pthread_mutex_unlock(&readers->mutex);
    if (!store && !room)
        return IJ_ERR(reterr_err, IJ_BUSY, "all database readers are in use");
    enum ij_status status =
        store ? IJ_OK : store_reader_open(readers->state_dir, &store, reterr_err);
    if (status == IJ_OK) {
        *ret_store = store;
        return IJ_OK;
    }
    pthread_mutex_lock(&readers->mutex);
    readers->open_count--;
    pthread_mutex_unlock(&readers->mutex);
    return status;
}

void readers_give(struct readers *readers, struct store *store)
{
    if (!store)
        return;
    pthread_mutex_lock(&readers->mutex);
    readers->idle[readers->idle_count++] = store;
    pthread_mutex_unlock(&readers->mutex);
}
