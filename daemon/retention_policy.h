/*
 * Which checkpoints of a run stay: the newest few, the best by k-NN or by RankMe, one per so many
 * epochs, and what people have pinned. Never by the loss, which says nothing about the quality of
 * representations. Pure; any thread.
 *
 * As JSON, with every key optional: {"latest": 3, "best": 1, "best_by": "knn", "every_epochs": 0}
 */
#ifndef DAEMON_RETENTION_POLICY_H
#define DAEMON_RETENTION_POLICY_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "store/checkpoint_row.h"

#define RETENTION_POLICY_LATEST_MAX 10000
#define RETENTION_POLICY_BEST_MAX   100
#define RETENTION_POLICY_EPOCHS_MAX 1000000.0

enum retention_policy_measure { RETENTION_POLICY_KNN, RETENTION_POLICY_RANKME };

struct retention_policy {
    uint32_t latest; /* at least 1 */
    uint32_t best;   /* 0: none for being good */
    enum retention_policy_measure best_by;
    double every_epochs; /* 0: off; else the first checkpoint after each multiple stays */
};

/* Why a checkpoint stays, as bits; 0: it may go. */
enum retention_policy_reason {
    RETENTION_POLICY_IS_LATEST = 1,
    RETENTION_POLICY_IS_BEST = 2,
    RETENTION_POLICY_IS_EPOCH = 4,
    RETENTION_POLICY_IS_PINNED = 8,
};

struct retention_policy retention_policy_default(uint32_t latest);
/* Takes the keys of `object` over into *policy, which keeps what they do not name. IJ_INVALID: an
 * unknown key, a wrong type or range; the error's field is "/retention/<key>". */
IJ_MUST_USE enum ij_status retention_policy_parse(const json_t *object,
                                                  struct retention_policy *policy,
                                                  struct ij_err *reterr_err);
json_t *retention_policy_json(const struct retention_policy *policy); /* NULL: no memory */
char *retention_policy_text(const struct retention_policy *policy);   /* the same; mem_free */
/* The metric's stream and key, as a metric query names it. */
const char *retention_policy_metric(enum retention_policy_measure measure);

/* `rows`: valid checkpoints of one run, highest step first; `ret_reasons` as many. The better score
 * is the larger; of equal ones the earlier checkpoint, and one without a score is never best. */
void retention_policy_choose(const struct retention_policy *policy,
                             const struct checkpoint_row *rows, size_t count,
                             unsigned *ret_reasons);

#endif
