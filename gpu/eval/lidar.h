/*
 * LiDAR: how many directions tell images apart better than they tell masks of one image apart.
 *
 * Each image is a class, its features under several masks are the class's members. With the
 * covariance between classes S_b and within them S_w + delta I, delta 1e-4,
 *
 *   S = S_w^(-1/2) S_b S_w^(-1/2),  p_i = lambda_i / sum(lambda) + 1e-7,
 *   LiDAR = exp(-sum p_i log p_i)   over all `width` eigenvalues lambda of S
 *
 * (Thilak et al., "LiDAR: sensing linear probing performance in joint embedding SSL architectures",
 * ICLR 2024). Both covariances divide by the number of what they sum. In double.
 */
#ifndef GPU_EVAL_LIDAR_H
#define GPU_EVAL_LIDAR_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define LIDAR_DELTA 1e-4

/* z (images, draws, width); at least two images and two draws. 1..min(images - 1, width); 0 where
 * all images have one mean. IJ_NONFINITE: a feature is not finite. */
IJ_MUST_USE enum ij_status lidar_compute(const float *z, size_t images, size_t draws, int64_t width,
                                         double *ret_rank, struct ij_err *reterr_err);

#endif
