/*
 * See jpeg_reader.h. Partial decoding: rows above the box are skipped, columns beside it are not
 * transformed. Chroma upsampling looks at neighbours, so the window begins and ends one MCU outside
 * the box; with that its pixels equal those of a full decode.
 *
 * libjpeg reports errors by longjmp: every entry point sets the jump first, and whatever must
 * survive it lives in the struct.
 */
#include "gpu/data/jpeg_reader.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "base/mem.h"

#define PIXEL_BYTES 4u

struct jpeg_reader {
    struct jpeg_decompress_struct codec;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    enum ij_status failure; /* valid after a jump, with `cause` */
    char cause[JMSG_LENGTH_MAX];
    uint8_t *strip; /* IMAGE_STRIP_ROWS rows of the window */
    size_t strip_capacity, stride;
    struct image_box box;
    uint32_t left;      /* columns of the window to the left of the box */
    uint32_t rows_left; /* rows of the box not yet handed out */
};

static struct jpeg_reader *reader_of(j_common_ptr codec)
{
    return codec->client_data;
}

static void on_error(j_common_ptr codec)
{
    struct jpeg_reader *reader = reader_of(codec);
    int code = codec->err->msg_code;
    bool memory = code == JERR_OUT_OF_MEMORY || code == JERR_NO_BACKING_STORE;
    reader->failure = memory ? IJ_TOO_LARGE : IJ_DATA;
    if (memory)
        snprintf(reader->cause, sizeof(reader->cause), "decoding takes more than %u MiB",
                 IMAGE_DECODER_BYTES_MAX >> 20);
    else
        codec->err->format_message(codec, reader->cause);
    longjmp(reader->jump, 1);
}

/* Warnings after which pixels are made up are errors; the others are ignored. */
static void on_message(j_common_ptr codec, int level)
{
    int code = codec->err->msg_code;
    if (level < 0 &&
        (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE ||
         code == JWRN_ARITH_BAD_CODE || code == JWRN_MUST_RESYNC))
        on_error(codec);
}

/* A progressive file may name any number of scans, each as costly as the whole image. */
static void on_progress(j_common_ptr codec)
{
    struct jpeg_reader *reader = reader_of(codec);
    if (reader->codec.input_scan_number <= IMAGE_SCANS_MAX)
        return;
    reader->failure = IJ_TOO_LARGE;
    snprintf(reader->cause, sizeof(reader->cause), "more than %d scans", IMAGE_SCANS_MAX);
    longjmp(reader->jump, 1);
}

static enum ij_status failed(struct jpeg_reader *reader, struct ij_err *reterr_err)
{
    jpeg_abort_decompress(&reader->codec);
    return IJ_ERR(reterr_err, reader->failure, "%s", reader->cause);
}

enum ij_status jpeg_reader_new(struct jpeg_reader **ret_reader, struct ij_err *reterr_err)
{
    struct jpeg_reader *reader = mem_new(struct jpeg_reader);
    if (!reader)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a JPEG decoder");
    reader->codec.err = jpeg_std_error(&reader->errors);
    reader->errors.error_exit = on_error;
    reader->errors.emit_message = on_message;
    reader->codec.client_data = reader;
    if (setjmp(reader->jump)) {
        mem_free(reader);
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for a JPEG decoder");
    }
    jpeg_create_decompress(&reader->codec);
    reader->codec.mem->max_memory_to_use = IMAGE_DECODER_BYTES_MAX;
    reader->progress.progress_monitor = on_progress;
    reader->codec.progress = &reader->progress;
    *ret_reader = reader;
    return IJ_OK;
}

void jpeg_reader_free(struct jpeg_reader *reader)
{
    if (!reader)
        return;
    jpeg_destroy_decompress(&reader->codec);
    mem_free(reader->strip);
    mem_free(reader);
}

void jpeg_reader_close(struct jpeg_reader *reader)
{
    jpeg_abort_decompress(&reader->codec);
}

enum ij_status jpeg_reader_open(struct jpeg_reader *reader, const uint8_t *data, size_t size,
                                struct image_info *ret_info, struct ij_err *reterr_err)
{
    struct jpeg_decompress_struct *codec = &reader->codec;
    if (setjmp(reader->jump))
        return failed(reader, reterr_err);
    jpeg_mem_src(codec, data, size);
    (void)jpeg_read_header(codec, TRUE);
    if ((uint64_t)codec->image_width * codec->image_height > IMAGE_PIXELS_MAX) {
        jpeg_abort_decompress(codec);
        return IJ_ERR(reterr_err, IJ_TOO_LARGE, "%u x %u pixels, more than %u million",
                      codec->image_width, codec->image_height, IMAGE_PIXELS_MAX / 1000000);
    }
    *ret_info = (struct image_info){IMAGE_JPEG, codec->image_width, codec->image_height};
    return IJ_OK;
}

static enum ij_status make_strip(struct jpeg_reader *reader, struct ij_err *reterr_err)
{
    reader->stride = (size_t)reader->codec.output_width * PIXEL_BYTES;
    size_t bytes = reader->stride * IMAGE_STRIP_ROWS + IMAGE_SLACK_BYTES;
    if (bytes <= reader->strip_capacity)
        return IJ_OK;
    mem_free(reader->strip);
    reader->strip_capacity = 0;
    reader->strip = mem_alloc_aligned(64, bytes + bytes / 2);
    if (!reader->strip)
        return IJ_ERR(reterr_err, IJ_NO_MEMORY, "no memory for rows of %u pixels",
                      reader->codec.output_width);
    reader->strip_capacity = bytes + bytes / 2;
    return IJ_OK;
}

/* Columns: the codec moves the left edge to an MCU by itself and keeps the right one. */
static void choose_columns(struct jpeg_reader *reader)
{
    struct jpeg_decompress_struct *codec = &reader->codec;
    const struct image_box *box = &reader->box;
    JDIMENSION margin = (JDIMENSION)codec->max_h_samp_factor * DCTSIZE;
    JDIMENSION x = box->x > margin ? box->x - margin : 0;
    JDIMENSION end = box->x + box->width + margin;
    if (end > codec->output_width)
        end = codec->output_width;
    JDIMENSION width = end - x;
    if (x > 0 || end < codec->output_width)
        jpeg_crop_scanline(codec, &x, &width);
    reader->left = box->x - x;
}

static void read_rows(struct jpeg_reader *reader, uint32_t count)
{
    struct jpeg_decompress_struct *codec = &reader->codec;
    JSAMPROW rows[IMAGE_STRIP_ROWS];
    for (uint32_t i = 0; i < count; i++)
        rows[i] = reader->strip + i * reader->stride;
    for (uint32_t done = 0; done < count;) {
        uint32_t got = jpeg_read_scanlines(codec, rows + done, count - done);
        if (got == 0)
            ERREXIT((j_common_ptr)codec, JERR_INPUT_EMPTY);
        done += got;
    }
}

static void skip_rows(struct jpeg_reader *reader)
{
    struct jpeg_decompress_struct *codec = &reader->codec;
    JDIMENSION margin = (JDIMENSION)codec->max_v_samp_factor * DCTSIZE;
    if (reader->box.y > margin)
        (void)jpeg_skip_scanlines(codec, reader->box.y - margin);
    while (codec->output_scanline < reader->box.y) {
        uint32_t left = reader->box.y - codec->output_scanline;
        read_rows(reader, left < IMAGE_STRIP_ROWS ? left : IMAGE_STRIP_ROWS);
    }
}

enum ij_status jpeg_reader_start(struct jpeg_reader *reader, const struct image_box *box,
                                 struct ij_err *reterr_err)
{
    struct jpeg_decompress_struct *codec = &reader->codec;
    reader->box = *box;
    reader->rows_left = box->height;
    if (setjmp(reader->jump))
        return failed(reader, reterr_err);
    bool inks = codec->jpeg_color_space == JCS_CMYK || codec->jpeg_color_space == JCS_YCCK;
    codec->out_color_space = inks ? JCS_CMYK : JCS_EXT_RGBX;
    codec->dct_method = JDCT_ISLOW;
    (void)jpeg_start_decompress(codec);
    choose_columns(reader);
    IJ_TRY(make_strip(reader, reterr_err));
    skip_rows(reader);
    return IJ_OK;
}

/* a * b / 255, rounded as Pillow does it. */
static uint8_t multiply_share(uint32_t a, uint32_t b)
{
    uint32_t t = a * b + 128;
    return (uint8_t)((t + (t >> 8)) >> 8);
}

/* CMYK in JPEG files is stored inverted (Adobe's convention, which Pillow assumes for all). */
static void inks_to_rgb(uint8_t *pixel, size_t count)
{
    for (size_t i = 0; i < count; i++, pixel += PIXEL_BYTES) {
        uint8_t light = pixel[3];
        for (int c = 0; c < 3; c++)
            pixel[c] = (uint8_t)(light - multiply_share(255u - pixel[c], light));
    }
}

enum ij_status jpeg_reader_rows(struct jpeg_reader *reader, struct image_strip *ret_strip,
                                struct ij_err *reterr_err)
{
    uint32_t count = reader->rows_left < IMAGE_STRIP_ROWS ? reader->rows_left : IMAGE_STRIP_ROWS;
    IJ_ASSERT(count > 0);
    if (setjmp(reader->jump))
        return failed(reader, reterr_err);
    read_rows(reader, count);
    if (reader->codec.out_color_space == JCS_CMYK)
        inks_to_rgb(reader->strip, count * (size_t)reader->codec.output_width);
    *ret_strip = (struct image_strip){reader->strip + reader->left * (size_t)PIXEL_BYTES,
                                      reader->stride, count};
    reader->rows_left -= count;
    return IJ_OK;
}
