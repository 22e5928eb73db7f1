/*
 * Reads a box of pixels out of a JPEG or PNG file in memory, a strip of rows at a time.
 *
 * The format is told by the first bytes, never by the name. Only what the box needs is decoded.
 * Grey becomes RGB, CMYK and YCCK become RGB as in Pillow, palettes are looked up, alpha is
 * dropped, 16-bit samples keep their high byte, EXIF rotation is not applied. A damaged file is an
 * error as soon as the damage touches the rows that are read: truncated or corrupt entropy data are
 * not repaired; harmless oddities (stray bytes between markers, unknown versions) are ignored.
 *
 * Limits, all independent of the clock so that the same file always has the same fate:
 * IMAGE_PIXELS_MAX, IMAGE_SCANS_MAX, IMAGE_DECODER_BYTES_MAX.
 *
 * A reader belongs to one thread and keeps its buffers from image to image.
 */
#ifndef GPU_DATA_IMAGE_READER_H
#define GPU_DATA_IMAGE_READER_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define IMAGE_PIXELS_MAX        50000000u
#define IMAGE_SCANS_MAX         100
#define IMAGE_DECODER_BYTES_MAX (256u << 20)
#define IMAGE_STRIP_ROWS        16u
#define IMAGE_SLACK_BYTES       16u /* readable past the last pixel of a strip */

enum image_format { IMAGE_JPEG, IMAGE_PNG };

struct image_info {
    enum image_format format;
    uint32_t width, height;
};

struct image_box {
    uint32_t x, y, width, height;
};

struct image_strip {
    const uint8_t *pixels; /* (count, box width) RGBX: the fourth byte means nothing */
    size_t stride;         /* bytes from row to row */
    uint32_t count;        /* rows, 1..IMAGE_STRIP_ROWS */
};

struct image_reader;

IJ_MUST_USE enum ij_status image_reader_new(struct image_reader **ret_reader,
                                            struct ij_err *reterr_err);
void image_reader_free(struct image_reader *reader);

/* Parses the header of `data`, which is borrowed until close or the next open. IJ_DATA: not an
 * image, damaged or of an unsupported kind; IJ_TOO_LARGE: over a limit. The text is the cause,
 * without a file name. After an error, here or below, the reader can open the next image. */
IJ_MUST_USE enum ij_status image_reader_open(struct image_reader *reader, const uint8_t *data,
                                             size_t size, struct image_info *ret_info,
                                             struct ij_err *reterr_err);
/* Chooses the box: inside the image and not empty. Once per open. */
IJ_MUST_USE enum ij_status image_reader_start(struct image_reader *reader,
                                              const struct image_box *box,
                                              struct ij_err *reterr_err);
/* The next rows of the box, valid until the next call. Not to be called after the last row. */
IJ_MUST_USE enum ij_status image_reader_rows(struct image_reader *reader,
                                             struct image_strip *ret_strip,
                                             struct ij_err *reterr_err);
/* Allowed in any state. */
void image_reader_close(struct image_reader *reader);

#endif
