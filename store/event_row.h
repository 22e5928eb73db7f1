/* Rows of table `event`: the durable events of the event stream. Ids only grow, also after
 * trimming. */
#ifndef STORE_EVENT_ROW_H
#define STORE_EVENT_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

#define EVENT_ROW_KEEP_ROWS 1000000
#define EVENT_ROW_KEEP_MS   (30LL * 24 * 3600 * 1000)

struct event_row {
    int64_t id; /* set by append */
    int64_t ts_ms;
    int64_t run;   /* 0: none */
    char type[48]; /* "run.state", "checkpoint.saved", ... */
    char *body;    /* JSON object; owned in rows that were read, borrowed by append */
};

struct event_row_list {
    struct event_row *rows;
    size_t count;
};
void event_row_list_done(struct event_row_list *list);

IJ_MUST_USE enum ij_status event_row_append(struct store *store, struct event_row *row,
                                            struct ij_err *reterr_err);
/* Oldest first, ids > after, of one run or (0) of all; at most `limit`. */
IJ_MUST_USE enum ij_status event_row_list(struct store *store, int64_t run, int64_t after,
                                          uint32_t limit, struct event_row_list *ret_list,
                                          struct ij_err *reterr_err);
/* Lowest and highest id held; both 0 when empty. A client whose last id < oldest - 1 missed some.
 */
IJ_MUST_USE enum ij_status event_row_bounds(struct store *store, int64_t *ret_oldest,
                                            int64_t *ret_newest, struct ij_err *reterr_err);
/* Removes all but the newest `keep_rows` and all older than `keep_from_ms`, at most 10,000 a call.
 */
IJ_MUST_USE enum ij_status event_row_trim(struct store *store, int64_t keep_rows,
                                          int64_t keep_from_ms, int64_t *ret_removed,
                                          struct ij_err *reterr_err);

#endif
