/*
 * Weighted k-nearest-neighbour classification by cosine.
 *
 * Features are L2-normalised; the k nearest of the bank vote for their label with the weight
 * exp(cosine / temperature); the class with the largest sum wins, ties go to the smaller class.
 * Convention of DINO (Caron et al., ICCV 2021): k 20, temperature 0.07.
 */
#ifndef GPU_EVAL_KNN_H
#define GPU_EVAL_KNN_H

#include <stddef.h>
#include <stdint.h>

#include "gpu/ops/ops.h"

struct knn_options {
    uint32_t neighbors; /* k; more than the bank holds means all of it */
    double temperature;
    size_t classes;
};

/* Rows with a label outside 0..classes-1 are left out of the bank's votes, and count as wrong among
 * the queries. */
struct knn_set {
    const float *features; /* (count, width), host memory */
    const int32_t *labels; /* (count) */
    size_t count;
};

/* ret_classes (query->count) receives the predicted class of each query. Similarities are computed
 * by the backend in blocks; memory beyond the inputs is O(queries * k + bank * width). */
IJ_MUST_USE enum ij_status knn_classify(struct backend *backend, const struct knn_options *options,
                                        int64_t width, const struct knn_set *bank,
                                        const struct knn_set *query, int32_t *ret_classes,
                                        struct ij_err *reterr_err);
/* Device memory that it takes meanwhile. */
uint64_t knn_device_bytes(int64_t width, size_t banks, size_t queries);

/* Share of queries classified as labelled. */
IJ_MUST_USE enum ij_status knn_top1(struct backend *backend, const struct knn_options *options,
                                    int64_t width, const struct knn_set *bank,
                                    const struct knn_set *query, double *ret_top1,
                                    struct ij_err *reterr_err);

#endif
