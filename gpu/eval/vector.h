/* Sums over vectors in double precision: the inner loops of small dense algebra. */
#ifndef GPU_EVAL_VECTOR_H
#define GPU_EVAL_VECTOR_H

#include <stddef.h>

double vector_dot(const double *a, const double *b, size_t count);
double vector_dot_float(const float *a, const float *b, size_t count);
void vector_add(double *to, double factor, const double *from,
                size_t count); /* to += factor from */
void vector_add_float(double *to, double factor, const float *from, size_t count);
/* to -= a x + b y */
void vector_subtract_two(double *to, double a, const double *x, double b, const double *y,
                         size_t count);

#endif
