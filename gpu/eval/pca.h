/*
 * The first three principal components of a set of vectors, for colours.
 *
 * By orthogonal iteration on the data (Golub and Van Loan, Matrix Computations, 8.2), in double,
 * from a fixed start, so equal data give equal components. A component's sign is such that its
 * largest entry is positive.
 */
#ifndef GPU_EVAL_PCA_H
#define GPU_EVAL_PCA_H

#include <stdint.h>

#include "base/status.h"

#define PCA_COMPONENTS 3

struct pca {
    int64_t width;
    double *mean;                 /* owned; (width) */
    double *basis;                /* owned; (3, width), orthonormal rows, by falling variance */
    double share[PCA_COMPONENTS]; /* of the total variance */
};

/* values: (rows, width); rows >= 2, width >= 3. */
IJ_MUST_USE enum ij_status pca_fit(const float *values, int64_t rows, int64_t width,
                                   struct pca *ret_pca, struct ij_err *reterr_err);
void pca_done(struct pca *pca); /* a zeroed struct is fine */

/* ret_scores: (rows, 3). */
void pca_scores(const struct pca *pca, const float *values, int64_t rows, float *ret_scores);

/* Reorders and flips the components so that the scores correlate best with `reference` scores of
 * the same vectors under another model. scores, reference: (rows, 3); scores are changed too. */
void pca_align(struct pca *pca, float *scores, const float *reference, int64_t rows);

#endif
