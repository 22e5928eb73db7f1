/*
 * The record of bad images: how many, and the first ones with their causes. Thread-safe.
 */
#ifndef GPU_DATA_BAD_IMAGES_H
#define GPU_DATA_BAD_IMAGES_H

#include "gpu/data/loader.h"

struct bad_images;

/* `limit` is the share of the dataset that may be bad. Borrows the dataset. */
IJ_MUST_USE enum ij_status bad_images_new(const struct dataset *dataset, double limit,
                                          struct bad_images **ret_bad, struct ij_err *reterr_err);
void bad_images_free(struct bad_images *bad);

/* Notes image `sample` once. IJ_DATA with the list once more than ceil(limit * count) are bad. */
IJ_MUST_USE enum ij_status bad_images_add(struct bad_images *bad, uint64_t sample,
                                          const char *cause, struct ij_err *reterr_err);
/* IJ_DATA with the list: nothing good was found in place of a bad image. */
IJ_MUST_USE enum ij_status bad_images_give_up(struct bad_images *bad, struct ij_err *reterr_err);
void bad_images_list(struct bad_images *bad, struct loader_bad *ret_list);

/* All of them, in the order in which they were met, as CSV with a header "name,cause" (RFC 4180,
 * control bytes shown as ?); what exceeds BAD_IMAGES_CSV_MAX bytes is counted only. The caller
 * frees with mem_free. */
#define BAD_IMAGES_CSV_MAX (4u << 20)
IJ_MUST_USE enum ij_status bad_images_csv(struct bad_images *bad, char **ret_text, size_t *ret_size,
                                          struct ij_err *reterr_err);

#endif
