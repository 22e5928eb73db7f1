/*
 * Read-only database handles for the API's threads: taken while a request is checked or answered,
 * and never held while a peer is waited for.
 *
 * A handle serves one thread at a time. At most READERS_MAX exist; they are opened when first
 * needed and stay open. Thread-safe.
 */
#ifndef API_READERS_H
#define API_READERS_H

#include "base/status.h"
#include "store/store.h"

#define READERS_MAX 8

struct readers;

IJ_MUST_USE enum ij_status readers_new(const char *state_dir, struct readers **ret_readers,
                                       struct ij_err *reterr_err);
void readers_free(struct readers *readers); /* every handle has been given back; NULL is fine */

/* IJ_BUSY when all are in use, else what store_reader_open says. */
IJ_MUST_USE enum ij_status readers_take(struct readers *readers, struct store **ret_store,
                                        struct ij_err *reterr_err);
void readers_give(struct readers *readers, struct store *store); /* NULL is fine */

#endif
