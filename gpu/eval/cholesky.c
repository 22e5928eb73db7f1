/* See cholesky.h. */
#include "gpu/eval/cholesky.h"

#include <math.h>

bool cholesky_factor(double *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = a[i * n + j];
            for (size_t k = 0; k < j; k++)
                sum -= a[i * n + k] * a[j * n + k];
            if (i == j && !(sum > 0))
                return false;
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
    return true;
}

void cholesky_solve(const double *lower, size_t n, double *x, bool both)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++)
            x[i] -= lower[i * n + k] * x[k];
        x[i] /= lower[i * n + i];
    }
    for (size_t i = n; both && i-- > 0;) {
        x[i] /= lower[i * n + i];
        for (size_t k = 0; k < i; k++)
            x[k] -= lower[i * n + k] * x[i];
    }
}
