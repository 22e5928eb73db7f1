/* See explained.h. */
#include "gpu/eval/explained.h"

#include <math.h>

enum ij_status explained_init(struct explained *explained, int64_t width, struct ij_err *reterr_err)
{
    explained->missed = 0;
    return rankme_spread_init(&explained->target, width, reterr_err);
}

void explained_done(struct explained *explained)
{
    rankme_spread_done(&explained->target);
}

void explained_clear(struct explained *explained)
{
    explained->missed = 0;
    rankme_spread_clear(&explained->target);
}

void explained_add(struct explained *explained, const float *prediction, const float *target,
                   size_t rows)
{
    size_t count = rows * (size_t)explained->target.width;
    for (size_t i = 0; i < count; i++) {
        double gap = (double)prediction[i] - (double)target[i];
        explained->missed += gap * gap;
    }
    rankme_spread_add(&explained->target, target, rows, -1);
}

double explained_share(const struct explained *explained)
{
    double varied = rankme_spread_squares(&explained->target);
    return varied > 0 ? 1 - explained->missed / varied : (double)NAN;
}
