/* Rows of table `delivery`: one message to one webhook, and what came of it. */
#ifndef STORE_DELIVERY_ROW_H
#define STORE_DELIVERY_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

#define DELIVERY_ROW_WAITING_MAX 1000 /* per webhook; one more is given up at once */
#define DELIVERY_ROW_KEEP        1000 /* ended ones per webhook */

#define DELIVERY_ROW_STATE_MAP(X)                                                                  \
    X(WAITING, "waiting")                                                                          \
    X(DELIVERED, "delivered")                                                                      \
    X(FAILED, "failed")

enum delivery_row_state {
#define X(code, name) DELIVERY_ROW_##code,
    DELIVERY_ROW_STATE_MAP(X)
#undef X
        DELIVERY_ROW_STATE_COUNT
};

struct delivery_row {
    int64_t id; /* set by insert */
    int64_t webhook;
    int64_t event; /* row of the event table; 0: a test */
    int64_t run;   /* 0: none */
    char type[48]; /* "run.failed" */
    enum delivery_row_state state;
    int32_t tries;
    int64_t next_ms; /* waiting: not before */
    int32_t http;    /* status of the last answer; 0: none came */
    char error[160]; /* why the last try failed; "" */
    int64_t created_ms, ended_ms;
    char *body; /* JSON; owned in rows that were read, borrowed by insert */
};

struct delivery_row_list {
    struct delivery_row *rows;
    size_t count;
};
void delivery_row_done(struct delivery_row *row);
void delivery_row_list_done(struct delivery_row_list *list);
const char *delivery_row_state_name(enum delivery_row_state state); /* static */

/* Becomes FAILED at once where DELIVERY_ROW_WAITING_MAX wait already. */
IJ_MUST_USE enum ij_status delivery_row_insert(struct store *store, struct delivery_row *row,
                                               struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status delivery_row_get(struct store *store, int64_t id,
                                            struct delivery_row *ret_row,
                                            struct ij_err *reterr_err);
/* Of one webhook, newest first, ids below `before` (0: all), at most `limit`; without bodies. */
IJ_MUST_USE enum ij_status delivery_row_list(struct store *store, int64_t webhook, int64_t before,
                                             uint32_t limit, struct delivery_row_list *ret_list,
                                             struct ij_err *reterr_err);
/* Of one webhook, those to send by `now_ms`, oldest first, with bodies. */
IJ_MUST_USE enum ij_status delivery_row_due(struct store *store, int64_t webhook, int64_t now_ms,
                                            uint32_t limit, struct delivery_row_list *ret_list,
                                            struct ij_err *reterr_err);
/* state, tries, next_ms, http, error, ended_ms. IJ_NOT_FOUND: its webhook is gone. */
IJ_MUST_USE enum ij_status delivery_row_update(struct store *store, const struct delivery_row *row,
                                               struct ij_err *reterr_err);
/* Gives up what waits for a webhook. */
IJ_MUST_USE enum ij_status delivery_row_give_up(struct store *store, int64_t webhook,
                                                const char *error, int64_t now_ms,
                                                struct ij_err *reterr_err);
/* Removes ended ones but for the newest DELIVERY_ROW_KEEP of each webhook. */
IJ_MUST_USE enum ij_status delivery_row_trim(struct store *store, int64_t *ret_removed,
                                             struct ij_err *reterr_err);

#endif
