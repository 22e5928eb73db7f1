/*
 * How the daemon is: what an operator should know beyond single runs. Written by the loop thread
 * and the backup's thread, read by any. One mutex, never held across I/O.
 */
#ifndef DAEMON_CONDITION_H
#define DAEMON_CONDITION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "store/cordon_row.h"

struct condition_view {
    bool degraded;        /* restored from a backup, and nobody has acknowledged it */
    bool wal_large;       /* the write-ahead logs are beyond the configured limit */
    bool metrics_damaged; /* a check in the background found it */
    bool backup_running;
    int64_t backup_ms[2];    /* newest verified copy of state.db, metrics.db; 0: none */
    char backup_error[256];  /* why the last one failed; "" */
    struct cordon_row drain; /* nothing is started, by order; ts_ms 0: no */
};

struct condition;

IJ_MUST_USE enum ij_status condition_new(struct condition **ret_condition,
                                         struct ij_err *reterr_err);
void condition_free(struct condition *condition); /* NULL is fine */

/* NULL, as in tests of the API alone: all is well. */
void condition_read(struct condition *condition, struct condition_view *ret_view);
/* The account of the restoration as JSON (see recovery.h); NULL if not degraded. New reference. */
json_t *condition_account(struct condition *condition);

void condition_set_degraded(struct condition *condition, json_t *account); /* copied; NULL: no */
/* True if it changed. */
bool condition_set_wal_large(struct condition *condition, bool large);
void condition_set_drain(struct condition *condition, const struct cordon_row *drain);
void condition_set_metrics_damaged(struct condition *condition);
void condition_set_backup_running(struct condition *condition, bool running);
void condition_set_backup(struct condition *condition, bool metrics, int64_t made_ms);
void condition_set_backup_error(struct condition *condition, const char *text); /* "": none */

#endif
