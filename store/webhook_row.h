/* Rows of table `webhook`: who is told of which events. At most WEBHOOK_ROW_MAX. */
#ifndef STORE_WEBHOOK_ROW_H
#define STORE_WEBHOOK_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "store/delivery_row.h"
#include "store/store.h"

#define WEBHOOK_ROW_MAX        16
#define WEBHOOK_ROW_URL_SIZE   2049
#define WEBHOOK_ROW_EVENT_SIZE 1025

struct webhook_row {
    int64_t id; /* set by insert */
    char url[WEBHOOK_ROW_URL_SIZE];
    char events[WEBHOOK_ROW_EVENT_SIZE]; /* JSON array of names */
    char secret[64];                     /* whsec_..., never shown again */
    char note[129];
    char user[65]; /* who made it */
    bool enabled;
    char reason[129]; /* why it is not enabled; "" otherwise */
    int64_t cursor;   /* the last event that was looked at; set by insert to the newest */
    int64_t created_ms;
    /* Filled by get and list. */
    int64_t waiting;                    /* deliveries that are still to be made */
    enum delivery_row_state last_state; /* of the newest that has ended */
    int64_t last_http, last_ms;         /* 0: none has ended */
};

/* IJ_CONFLICT when there are WEBHOOK_ROW_MAX. */
IJ_MUST_USE enum ij_status webhook_row_insert(struct store *store, struct webhook_row *row,
                                              struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status webhook_row_get(struct store *store, int64_t id,
                                           struct webhook_row *ret_row, struct ij_err *reterr_err);
/* All, oldest first; the caller frees *ret_rows with mem_free. */
IJ_MUST_USE enum ij_status webhook_row_list(struct store *store, struct webhook_row **ret_rows,
                                            size_t *ret_count, struct ij_err *reterr_err);
/* Switched off: what waits is given up. Switched on: begins with the next event. */
IJ_MUST_USE enum ij_status webhook_row_enable(struct store *store, int64_t id, bool enabled,
                                              const char *reason, int64_t now_ms,
                                              struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status webhook_row_delete(struct store *store, int64_t id,
                                              struct ij_err *reterr_err);
/* Every webhook has now looked at events up to `cursor`. */
IJ_MUST_USE enum ij_status webhook_row_advance(struct store *store, int64_t cursor,
                                               struct ij_err *reterr_err);

#endif
