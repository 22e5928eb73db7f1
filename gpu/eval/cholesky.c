/* See cholesky.h. */
#include "gpu/eval/cholesky.h"

#include <math.h>

#include "gpu/eval/vector.h"

bool cholesky_factor(double *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = a[i * n + j] - vector_dot(a + i * n, a + j * n, j);
            if (i == j && !(sum > 0))
                return false;
            a[i * n + j] = i == j ? sqrt(sum) : sum / a[j * n + j];
        }
    return true;
}

void cholesky_solve(const double *lower, size_t n, double *x, bool both)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (x[i] - vector_dot(lower + i * n, x, i)) / lower[i * n + i];
    for (size_t i = n; both && i-- > 0;) {
        x[i] /= lower[i * n + i];
        vector_add(x, -x[i], lower + i * n, i);
    }
}
