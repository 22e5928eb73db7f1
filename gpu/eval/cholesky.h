/* Linear systems of symmetric positive matrices, in double. */
#ifndef GPU_EVAL_CHOLESKY_H
#define GPU_EVAL_CHOLESKY_H

#include <stdbool.h>
#include <stddef.h>

/* The lower triangle of a (n, n) becomes L, a = L L^T; the upper one is neither read nor written.
 * False: not positive. */
bool cholesky_factor(double *a, size_t n);
/* x (n) becomes L^-1 x, then with `both` L^-T L^-1 x. */
void cholesky_solve(const double *lower, size_t n, double *x, bool both);

#endif
