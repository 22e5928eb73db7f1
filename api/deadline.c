/* See deadline.h. */
#include "api/deadline.h"

#include <pthread.h>
#include <sys/socket.h>

#include "base/mem.h"

struct deadline_entry {
    struct deadline_entry *next, *previous;
    int fd;
    int64_t at_ms;
};

struct deadline_table {
    pthread_mutex_t mutex;
    struct deadline_entry *first; /* guarded by mutex */
    unsigned count;               /* guarded by mutex */
};

enum ij_status deadline_table_new(struct deadline_table **ret_table, struct ij_err *reterr_err)
{
    struct deadline_table *table = mem_new(struct deadline_table);
    if (!table)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for deadlines");
    pthread_mutex_init(&table->mutex, NULL);
    *ret_table = table;
    return IJ_OK;
}

void deadline_table_free(struct deadline_table *table)
{
    if (!table)
        return;
    IJ_ASSERT(!table->first);
    pthread_mutex_destroy(&table->mutex);
    mem_free(table);
}

struct deadline_entry *deadline_add(struct deadline_table *table, int fd, int64_t at_ms)
{
    struct deadline_entry *entry = mem_new(struct deadline_entry);
    if (!entry)
        return NULL;
    entry->fd = fd;
    entry->at_ms = at_ms;
    pthread_mutex_lock(&table->mutex);
    entry->next = table->first;
    if (entry->next)
        entry->next->previous = entry;
    table->first = entry;
    table->count++;
    pthread_mutex_unlock(&table->mutex);
    return entry;
}

void deadline_remove(struct deadline_table *table, struct deadline_entry *entry)
{
    if (!entry)
        return;
    pthread_mutex_lock(&table->mutex);
    if (entry->next)
        entry->next->previous = entry->previous;
    if (entry->previous)
        entry->previous->next = entry->next;
    else
        table->first = entry->next;
    table->count--;
    pthread_mutex_unlock(&table->mutex);
    mem_free(entry);
}

void deadline_set(struct deadline_table *table, struct deadline_entry *entry, int64_t at_ms)
{
    if (!entry)
        return;
    pthread_mutex_lock(&table->mutex);
    entry->at_ms = at_ms;
    pthread_mutex_unlock(&table->mutex);
}

unsigned deadline_enforce(struct deadline_table *table, int64_t now_ms)
{
    unsigned overdue = 0;
    pthread_mutex_lock(&table->mutex);
    for (struct deadline_entry *entry = table->first; entry; entry = entry->next) {
        if (entry->at_ms == 0 || entry->at_ms > now_ms)
            continue;
        (void)shutdown(entry->fd, SHUT_RDWR);
        entry->at_ms = 0;
        overdue++;
    }
    pthread_mutex_unlock(&table->mutex);
    return overdue;
}

unsigned deadline_count(struct deadline_table *table)
{
    pthread_mutex_lock(&table->mutex);
    unsigned count = table->count;
    pthread_mutex_unlock(&table->mutex);
    return count;
}
