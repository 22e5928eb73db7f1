/* What a `struct store` is made of. Internal to store/. */
#ifndef STORE_HANDLE_H
#define STORE_HANDLE_H

#include "store/db.h"
#include "store/store.h"

struct metric_cache;

struct store {
    struct db state, metrics;
    bool reader;
    int lock_fd; /* writer: holds the directory */
    char directory[900];
    struct metric_cache *cache;    /* writer: open summary buckets, made on first use */
    size_t metrics_pending;        /* bytes put since the last commit */
    enum ij_status metrics_failed; /* why what was pending is gone; told by the next commit */
};

#endif
