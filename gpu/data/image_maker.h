/*
 * Makes the pixels of one sample: take the bytes that were read ahead, decode, crop, resize, and
 * replace where the image is bad.
 *
 * A maker belongs to one thread; it owns that thread's buffers, which stop growing once the largest
 * image was seen. It opens no file: the readers do.
 */
#ifndef GPU_DATA_IMAGE_MAKER_H
#define GPU_DATA_IMAGE_MAKER_H

#include "gpu/data/bad_images.h"
#include "gpu/data/loader.h"
#include "gpu/data/read_ahead.h"

struct image_maker;

struct image_maker_times {
    int64_t read_ns, decode_ns, resize_ns;
};

/* Borrows all four for its life; `options` are complete (no zero that means a default). */
IJ_MUST_USE enum ij_status image_maker_new(const struct dataset *dataset,
                                           const struct loader_options *options,
                                           struct bad_images *bad, struct read_ahead *ahead,
                                           struct image_maker **ret_maker,
                                           struct ij_err *reterr_err);
void image_maker_free(struct image_maker *maker);

/* Makes the sample that `jar` was asked for; the jar is free again afterwards, whatever is
 * returned. Writes (crop, crop, 3) to `pixels` and the index of the image that they show. Adds to
 * *times. IJ_DATA over the bad image limit or where no good image is found; IJ_NO_MEMORY. */
IJ_MUST_USE enum ij_status image_maker_make(struct image_maker *maker, uint64_t epoch,
                                            struct read_ahead_jar *jar, uint8_t *pixels,
                                            uint64_t *ret_shown, struct image_maker_times *times,
                                            struct ij_err *reterr_err);

#endif
