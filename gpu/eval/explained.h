/*
 * The share of the targets' variance that predictions explain:
 *
 *   1 - sum |prediction - target|^2 / sum |target - mean target|^2
 *
 * over tokens, the mean being per dimension over all tokens. 1: every target is met; 0: no better
 * than the mean; negative: worse. Unlike the loss it does not fall because targets stop varying. In
 * double, one batch after another.
 */
#ifndef GPU_EVAL_EXPLAINED_H
#define GPU_EVAL_EXPLAINED_H

#include "gpu/eval/rankme.h"

struct explained {
    struct rankme_spread target; /* owned */
    double missed;               /* sum of squared errors */
};

IJ_MUST_USE enum ij_status explained_init(struct explained *explained, int64_t width,
                                          struct ij_err *reterr_err);
void explained_done(struct explained *explained); /* a zeroed struct is fine */
void explained_clear(struct explained *explained);
/* prediction, target: (rows, width) */
void explained_add(struct explained *explained, const float *prediction, const float *target,
                   size_t rows);
/* NaN where nothing was added or the targets do not vary. */
double explained_share(const struct explained *explained);

#endif
