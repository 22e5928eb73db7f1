/* What a `struct store` is made of. Internal to store/. */
#ifndef STORE_HANDLE_H
#define STORE_HANDLE_H

#include "store/db.h"
#include "store/store.h"

struct metric_cache;
struct schema;

struct store {
    struct db state, metrics;
    bool reader;
    int lock_fd; /* writer: holds the directory */
    char directory[900];
    struct metric_cache *cache;    /* writer: open summary buckets, made on first use */
    size_t metrics_pending;        /* bytes put since the last commit */
    enum ij_status metrics_failed; /* why what was pending is gone; told by the next commit */
};

/* store_open with other schemas: how a test makes a file of the next version. */
IJ_MUST_USE enum ij_status store_open_as(const char *directory, const struct schema *state,
                                         const struct schema *metrics, struct store **ret_store,
                                         struct ij_err *reterr_err);

#endif
