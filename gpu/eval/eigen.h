/* Eigenvalues of symmetric matrices, in double. */
#ifndef GPU_EVAL_EIGEN_H
#define GPU_EVAL_EIGEN_H

#include <stdint.h>

#include "base/status.h"

/*
 * All eigenvalues of the symmetric matrix a (n, n), descending. The matrix is overwritten.
 * Householder tridiagonalisation, then implicit QL with Wilkinson's shift (Golub and Van Loan,
 * Matrix Computations, 8.3). O(n^3): 1280 takes seconds. IJ_NONFINITE: it does not converge,
 * which only NaN or infinity in `a` can cause.
 */
IJ_MUST_USE enum ij_status eigen_symmetric(double *a, int64_t n, double *ret_values,
                                           struct ij_err *reterr_err);

#endif
