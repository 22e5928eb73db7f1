/* See vector.h. */
#include "gpu/eval/vector.h"

#include "gpu/ops/host/host_simd.h"

HOST_CLONES double vector_dot(const double *a, const double *b, size_t count)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

HOST_CLONES double vector_dot_float(const float *a, const float *b, size_t count)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

HOST_CLONES void vector_add(double *to, double factor, const double *from, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        to[i] += factor * from[i];
}

HOST_CLONES void vector_add_float(double *to, double factor, const float *from, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        to[i] += factor * (double)from[i];
}

HOST_CLONES void vector_subtract_two(double *to, double a, const double *x, double b,
                                     const double *y, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++)
        to[i] -= a * x[i] + b * y[i];
}
