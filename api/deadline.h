/*
 * Deadlines of connections. libmicrohttpd only knows an idle time-out, which one byte a second
 * defeats: here a whole head and a whole body have a time limit.
 *
 * Each connection has an entry from its accept to its close; the ticker shuts the socket of an
 * overdue one down and libmicrohttpd then sees the end. An entry is removed before its socket is
 * closed, so a reused descriptor is never hit. Thread-safe.
 */
#ifndef API_DEADLINE_H
#define API_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct deadline_table;
struct deadline_entry;

IJ_MUST_USE enum ij_status deadline_table_new(struct deadline_table **ret_table,
                                              struct ij_err *reterr_err);
void deadline_table_free(struct deadline_table *table); /* NULL is fine */

/* NULL: no memory (the connection then has the idle time-out only). */
struct deadline_entry *deadline_add(struct deadline_table *table, int fd, int64_t at_ms);
void deadline_remove(struct deadline_table *table, struct deadline_entry *entry);
/* `at_ms` on the monotonic clock, 0: none. NULL entry is fine. */
void deadline_set(struct deadline_table *table, struct deadline_entry *entry, int64_t at_ms);
/* Shuts down every overdue connection; returns how many. */
unsigned deadline_enforce(struct deadline_table *table, int64_t now_ms);
unsigned deadline_count(struct deadline_table *table); /* connections open now */

#endif
