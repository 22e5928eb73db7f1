/* See eigen.h. */
#include "gpu/eval/eigen.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "gpu/eval/vector.h"

#define ROUNDS_MAX 60 /* QL needs two or three per eigenvalue */

/*
 * Reduces column k below the diagonal to (beta, 0, ..., 0) by H = I - tau v v' and applies H from
 * both sides to the trailing block: A <- A - v w' - w v', w = p - (tau / 2)(p'v) v, p = tau A v.
 */
static double reflect(double *a, int64_t n, int64_t k, double *v, double *w)
{
    int64_t m = n - k - 1; /* order of the trailing block */
    double *block = a + (k + 1) * n + k + 1, scale = 0, square = 0;
    for (int64_t i = 0; i < m; i++)
        scale = fmax(scale, fabs(a[(k + 1 + i) * n + k]));
    if (scale == 0 || m == 1)
        return a[(k + 1) * n + k];
    for (int64_t i = 0; i < m; i++) {
        v[i] = a[(k + 1 + i) * n + k] / scale;
        square += v[i] * v[i];
    }
    double beta = -copysign(sqrt(square), v[0]), tau = 1 / (square - v[0] * beta), dot = 0;
    v[0] -= beta;
    for (int64_t i = 0; i < m; i++) {
        w[i] = tau * vector_dot(block + i * n, v, (size_t)m);
        dot += w[i] * v[i];
    }
    vector_add(w, -0.5 * tau * dot, v, (size_t)m);
    for (int64_t i = 0; i < m; i++)
        vector_subtract_two(block + i * n, v[i], w, w[i], v, (size_t)m);
    return beta * scale;
}

static void tridiagonalise(double *a, int64_t n, double *diagonal, double *off, double *v,
                           double *w)
{
    for (int64_t k = 0; k + 1 < n; k++) {
        diagonal[k] = a[k * n + k];
        off[k] = reflect(a, n, k, v, w);
    }
    diagonal[n - 1] = a[n * n - 1];
    off[n - 1] = 0;
}

/* One implicit QL sweep over rows l..m of an unreduced block. */
static void ql_sweep(double *d, double *e, int64_t l, int64_t m)
{
    double p = (d[l + 1] - d[l]) / (2 * e[l]), r = hypot(p, 1);
    double g = d[m] - d[l] + e[l] / (p + copysign(r, p));
    double s = 1, c = 1, shift = 0;
    for (int64_t i = m - 1; i >= l; i--) {
        double f = s * e[i], b = c * e[i];
        r = hypot(f, g);
        e[i + 1] = r;
        if (r == 0) { /* the block splits here */
            d[i + 1] -= shift;
            e[m] = 0;
            return;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - shift;
        r = (d[i] - g) * s + 2 * c * b;
        shift = s * r;
        d[i + 1] = g + shift;
        g = c * r - b;
    }
    d[l] -= shift;
    e[l] = g;
    e[m] = 0;
}

/* An off-diagonal entry counts as 0 beside its neighbours, or beside the whole matrix: among the
 * rounding errors that a matrix without full rank has for eigenvalues the former may never be. */
static enum ij_status ql(double *d, double *e, int64_t n, struct ij_err *reterr_err)
{
    double norm = 0;
    for (int64_t i = 0; i < n; i++)
        norm = fmax(norm, fabs(d[i]) + fabs(e[i]));
    for (int64_t l = 0; l < n; l++)
        for (int round = 0;; round++) {
            int64_t m = l;
            while (m + 1 < n && fabs(e[m]) > DBL_EPSILON * (fabs(d[m]) + fabs(d[m + 1])) &&
                   fabs(e[m]) > DBL_EPSILON / 2 * norm)
                m++;
            if (m == l)
                break;
            if (round == ROUNDS_MAX)
                return IJ_ERR(reterr_err, IJ_NONFINITE, "eigenvalues do not converge");
            ql_sweep(d, e, l, m);
        }
    return IJ_OK;
}

static int compare_descending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

enum ij_status eigen_symmetric(double *a, int64_t n, double *ret_values, struct ij_err *reterr_err)
{
    IJ_ASSERT(n >= 1);
    mem_auto double *work = mem_array(double, (size_t)n * 3);
    if (!work)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for %lld eigenvalues", (long long)n);
    double *off = work, *v = work + n, *w = v + n;
    tridiagonalise(a, n, ret_values, off, v, w);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(ret_values[i]) || !isfinite(off[i]))
            return IJ_ERR(reterr_err, IJ_NONFINITE, "a matrix holds values that are not finite");
    IJ_TRY(ql(ret_values, off, n, reterr_err));
    qsort(ret_values, (size_t)n, sizeof *ret_values, compare_descending);
    return IJ_OK;
}
