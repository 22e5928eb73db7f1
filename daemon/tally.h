/*
 * What has happened since the daemon's start, counted for GET /metrics. The loop thread counts, any
 * thread reads.
 */
#ifndef DAEMON_TALLY_H
#define DAEMON_TALLY_H

#include <stddef.h>
#include <stdint.h>

#include "base/histogram.h"
#include "base/status.h"

#define TALLY_REASONS_MAX 40 /* causes of failures are few and fixed; more than that are "other" */

struct tally;

struct tally_failure {
    char reason[48]; /* as the attempt's `cause` */
    uint64_t count;
};

IJ_MUST_USE enum ij_status tally_new(struct tally **ret_tally, struct ij_err *reterr_err);
void tally_free(struct tally *tally); /* NULL is fine */

/* An attempt has failed. */
void tally_count_failure(struct tally *tally, const char *reason);
/* In the order of their first time; returns how many. `tally` NULL: none. */
size_t tally_failures(struct tally *tally, struct tally_failure ret_failures[TALLY_REASONS_MAX]);
/* Of commits of the state and the metrics, for store_time_commits; lives as long as the tally. */
struct histogram *tally_commits(struct tally *tally);

#endif
