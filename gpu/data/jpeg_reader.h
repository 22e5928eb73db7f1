/* JPEG by libjpeg-turbo, behind image_reader.h, which states limits, errors and the order of
 * calls. */
#ifndef GPU_DATA_JPEG_READER_H
#define GPU_DATA_JPEG_READER_H

#include "gpu/data/image_reader.h"

struct jpeg_reader;

IJ_MUST_USE enum ij_status jpeg_reader_new(struct jpeg_reader **ret_reader,
                                           struct ij_err *reterr_err);
void jpeg_reader_free(struct jpeg_reader *reader);
IJ_MUST_USE enum ij_status jpeg_reader_open(struct jpeg_reader *reader, const uint8_t *data,
                                            size_t size, struct image_info *ret_info,
                                            struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status jpeg_reader_start(struct jpeg_reader *reader,
                                             const struct image_box *box,
                                             struct ij_err *reterr_err);
IJ_MUST_USE enum ij_status jpeg_reader_rows(struct jpeg_reader *reader,
                                            struct image_strip *ret_strip,
                                            struct ij_err *reterr_err);
void jpeg_reader_close(struct jpeg_reader *reader);

#endif
