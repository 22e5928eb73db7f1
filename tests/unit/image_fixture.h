/* Images for the data tests: golden crops, files made on the spot, and folders to put them in. Each
 * test is its own process, so the statics are its own. */
#ifndef TESTS_UNIT_IMAGE_FIXTURE_H
#define TESTS_UNIT_IMAGE_FIXTURE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jpeglib.h>

#include "base/file.h"
#include "base/mem.h"
#include "gpu/data/crop.h"
#include "gpu/data/image_reader.h"
#include "gpu/data/resize.h"

static char image_folder[] = "/tmp/test_data.XXXXXX";

static inline void image_folder_make(void)
{
    cr_assert_not_null(mkdtemp(image_folder));
}

static inline void image_folder_remove(void)
{
    cr_expect_eq(file_remove_tree(image_folder, NULL), IJ_OK);
}

/* The path of `name` in the test's folder; four may be in use at once. */
static inline const char *image_below(const char *name)
{
    static char path[4][1000];
    static int turn;
    turn = (turn + 1) % 4;
    int n = snprintf(path[turn], sizeof(path[turn]), "%s/%s", image_folder, name);
    cr_assert(n > 0 && (size_t)n < sizeof(path[turn]));
    return path[turn];
}

/* Writes `data` to `name` below the test's folder, making folders as needed. */
static inline void image_write(const char *name, const void *data, size_t size)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", image_folder, name);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    cr_assert_eq(file_make_dirs(path, 0755, NULL), IJ_OK);
    *slash = '/';
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(data, 1, size, file), size);
    fclose(file);
}

/* A smooth picture that depends on `kind`; (height, width, 3). The caller frees. */
static inline uint8_t *image_paint(uint32_t width, uint32_t height, unsigned kind)
{
    uint8_t *pixels = mem_array(uint8_t, (size_t)width * height * 3);
    cr_assert_not_null(pixels);
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) {
            uint8_t *p = pixels + ((size_t)y * width + x) * 3;
            unsigned edge = (x / 9 + y / 13 + kind) % 3 == 0 ? 90 : 0;
            p[0] = (uint8_t)((x * 5 + y * 2 + kind * 31) % 160 + edge);
            p[1] = (uint8_t)((x * 3 + y * 7 + kind * 17) % 160 + edge);
            p[2] = (uint8_t)((x * 11 + y + kind * 7) % 160);
        }
    return pixels;
}

struct image_jpeg_options {
    int quality, h, v; /* sampling factors of the first component */
    bool grey, progressive;
    int restart;
};

/* Compresses (height, width, 3) pixels; the caller frees *ret_data with free(). */
static inline void image_jpeg(const uint8_t *pixels, uint32_t width, uint32_t height,
                              const struct image_jpeg_options *options, unsigned char **ret_data,
                              size_t *ret_size)
{
    struct jpeg_compress_struct codec;
    struct jpeg_error_mgr errors;
    unsigned long size = 0;
    *ret_data = NULL;
    codec.err = jpeg_std_error(&errors);
    jpeg_create_compress(&codec);
    jpeg_mem_dest(&codec, ret_data, &size);
    codec.image_width = width;
    codec.image_height = height;
    codec.input_components = 3;
    codec.in_color_space = JCS_RGB;
    jpeg_set_defaults(&codec);
    if (options->grey)
        jpeg_set_colorspace(&codec, JCS_GRAYSCALE);
    jpeg_set_quality(&codec, options->quality, TRUE);
    codec.comp_info[0].h_samp_factor = options->h;
    codec.comp_info[0].v_samp_factor = options->v;
    codec.restart_interval = (unsigned)options->restart;
    if (options->progressive)
        jpeg_simple_progression(&codec);
    jpeg_start_compress(&codec, TRUE);
    while (codec.next_scanline < height) {
        JSAMPROW row = (JSAMPROW)(pixels + (size_t)codec.next_scanline * width * 3);
        jpeg_write_scanlines(&codec, &row, 1);
    }
    jpeg_finish_compress(&codec);
    jpeg_destroy_compress(&codec);
    *ret_size = size;
}

/* Writes a small JPEG with the picture of `kind` to `name`. */
static inline void image_write_jpeg(const char *name, uint32_t width, uint32_t height,
                                    unsigned kind)
{
    struct image_jpeg_options options = {.quality = 90, .h = 2, .v = 2};
    uint8_t *pixels = image_paint(width, height, kind);
    unsigned char *data;
    size_t size;
    image_jpeg(pixels, width, height, &options, &data, &size);
    image_write(name, data, size);
    free(data);
    mem_free(pixels);
}

/* Decodes `box` into (height, width, 3) `pixels`. */
static inline enum ij_status image_decode(struct image_reader *reader, const void *data,
                                          size_t size, const struct image_box *box, uint8_t *pixels,
                                          struct ij_err *err)
{
    struct image_info info;
    struct image_strip strip;
    IJ_TRY(image_reader_open(reader, data, size, &info, err));
    IJ_TRY(image_reader_start(reader, box, err));
    for (uint32_t y = 0; y < box->height; y += strip.count) {
        IJ_TRY(image_reader_rows(reader, &strip, err));
        for (uint32_t i = 0; i < strip.count; i++)
            for (uint32_t x = 0; x < box->width; x++)
                memcpy(pixels + ((size_t)(y + i) * box->width + x) * 3,
                       strip.pixels + i * strip.stride + x * 4, 3);
    }
    image_reader_close(reader);
    return IJ_OK;
}

static inline int image_largest_difference(const uint8_t *a, const uint8_t *b, size_t count)
{
    int largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = abs(a[i] - b[i]) > largest ? abs(a[i] - b[i]) : largest;
    return largest;
}

#endif
