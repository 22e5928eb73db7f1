/*
 * Figures that show a representation collapsing, computed on the host in double.
 */
#ifndef GPU_EVAL_RANKME_H
#define GPU_EVAL_RANKME_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define RANKME_PLACES_MAX 14   /* 1, 2, 4, ... 8192 */
#define RANKME_LEVEL_MIN  (-4) /* below it, rounding of the squares decides */

/* The singular values at places 1, 2, 4, ... up to min(rows, width), the largest first: log10 of
 * their share of the largest. RANKME_LEVEL_MIN: that, or less. */
struct rankme_spectrum {
    size_t places;
    double level[RANKME_PLACES_MAX];
};

/* RankMe of z (rows, width): exp(-sum p log p), p = s / sum(s) + 1e-7 over the min(rows, width)
 * singular values s (Garrido et al., ICML 2023, eq. 1). 1: all rows on a line; min(rows, width):
 * all directions equally strong. 0 for a matrix of zeros. ret_spectrum may be NULL. */
IJ_MUST_USE enum ij_status rankme_compute(const float *z, size_t rows, int64_t width,
                                          double *ret_rank, struct rankme_spectrum *ret_spectrum,
                                          struct ij_err *reterr_err);

/* Mean cosine over all pairs of different rows; NaN for fewer than two rows. Zero rows count as
 * cosine 0. */
double rankme_pair_cosine(const float *z, size_t rows, int64_t width);

/* Per-dimension standard deviation, one row after another (Welford). */
struct rankme_spread {
    int64_t width;
    uint64_t count;
    double *mean, *square; /* (width) owned */
    double *sorted;        /* (width) owned; working space */
};
IJ_MUST_USE enum ij_status rankme_spread_init(struct rankme_spread *spread, int64_t width,
                                              struct ij_err *reterr_err);
void rankme_spread_done(struct rankme_spread *spread);
void rankme_spread_clear(struct rankme_spread *spread);
/* With `eps` >= 0 each row is first normalised to mean 0 and variance 1 as a layer norm without
 * weights does; negative: rows as they are. */
void rankme_spread_add(struct rankme_spread *spread, const float *rows, size_t count, double eps);
/* Over dimensions of the standard deviation (divisor: count). */
struct rankme_spread_summary {
    double mean, p5, least; /* p5: 5th percentile, linear between ranks */
    double dead;            /* share of the dimensions below a hundredth of the median */
};
struct rankme_spread_summary rankme_spread_summary(const struct rankme_spread *spread);
/* Sum over dimensions of the squared distances from the mean. */
double rankme_spread_squares(const struct rankme_spread *spread);

#endif
