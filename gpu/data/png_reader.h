/* PNG by libspng, behind image_reader.h, which states limits, errors and the order of calls. */
#ifndef GPU_DATA_PNG_READER_H
#define GPU_DATA_PNG_READER_H

#include "gpu/data/image_reader.h"

struct png_reader;

IJ_MUST_USE enum ij_status png_reader_new(struct png_reader **ret_reader,
                                          struct ij_err *reterr_err);
void png_reader_free(struct png_reader *reader);
IJ_MUST_USE enum ij_status png_reader_open(struct png_reader *reader, const uint8_t *data,
                                           size_t size, struct image_info *ret_info,
                                           struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status png_reader_start(struct png_reader *reader, const struct image_box *box,
                                            struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status png_reader_rows(struct png_reader *reader, struct image_strip *ret_strip,
                                           struct ij_err *reterr_err);
void png_reader_close(struct png_reader *reader);

#endif
