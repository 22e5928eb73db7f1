/*
 * A light decoder from features to pixels: a linear map with bias, fitted by ridge regression.
 *
 *   min over W of sum |W (x - mean x) - (y - mean y)|^2 + lambda trace(X^T X) / width |W|^2
 *
 * lambda is the best of 1e-5, 1e-4, ... 1 on the last tenth of the rows, which the weights of that
 * choice are not fitted on. In closed form, in double: equal data give equal weights.
 */
#ifndef GPU_EVAL_DECODER_H
#define GPU_EVAL_DECODER_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct decoder {
    size_t width, values;
    double *weight; /* owned; (values, width) */
    double *mean;   /* owned; (width) of the features */
    double *bias;   /* owned; (values): the mean of y */
    double lambda;
    double fit; /* share of the variance of the rows set aside that is explained */
};

/* x (rows, width), y (rows, values); at least 20 rows. */
IJ_MUST_USE enum ij_status decoder_fit(const float *x, const float *y, size_t rows, size_t width,
                                       size_t values, struct decoder *ret_decoder,
                                       struct ij_err *reterr_err);
void decoder_done(struct decoder *decoder); /* a zeroed struct is fine */

/* ret_y (values) of one feature x (width). */
void decoder_apply(const struct decoder *decoder, const float *x, float *ret_y);

#endif
