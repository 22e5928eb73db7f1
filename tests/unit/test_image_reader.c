/* Decoding: partial against full, the limits, and files that mean harm. */
#include "tests/unit/image_fixture.h"

#include <dirent.h>

#include "base/clock.h"
#include "base/rng.h"

#define HOSTILE "tests/fuzz/images"

static struct image_reader *reader;

static void set_up(void)
{
    cr_assert_eq(image_reader_new(&reader, NULL), IJ_OK);
}

static void tear_down(void)
{
    image_reader_free(reader);
}

TestSuite(image_reader, .init = set_up, .fini = tear_down);

/* ---- Partial decoding ------------------------------------------------------------------------ */

static struct image_box random_box(struct rng *rng, uint32_t width, uint32_t height)
{
    struct image_box box;
    box.width = 1 + rng_below(rng, width);
    box.height = 1 + rng_below(rng, height);
    box.x = rng_below(rng, width - box.width + 1);
    box.y = rng_below(rng, height - box.height + 1);
    return box;
}

static void copy_box(const uint8_t *pixels, uint32_t width, const struct image_box *box,
                     uint8_t *out)
{
    for (uint32_t y = 0; y < box->height; y++)
        memcpy(out + (size_t)y * box->width * 3,
               pixels + ((size_t)(box->y + y) * width + box->x) * 3, (size_t)box->width * 3);
}

/* Boxes of one file, decoded alone and cut from the whole. */
static void compare_boxes(uint32_t width, uint32_t height, const struct image_jpeg_options *options,
                          struct rng *rng)
{
    unsigned char *data;
    size_t size, bytes = (size_t)width * height * 3;
    struct ij_err err = IJ_ERR_INIT;
    struct image_box whole = {0, 0, width, height};
    mem_auto uint8_t *painted = image_paint(width, height, 3);
    mem_auto uint8_t *full = mem_array(uint8_t, bytes), *part = mem_array(uint8_t, bytes);
    mem_auto uint8_t *cut = mem_array(uint8_t, bytes);
    image_jpeg(painted, width, height, options, &data, &size);
    cr_assert_eq(image_decode(reader, data, size, &whole, full, &err), IJ_OK, "%s", err.text);
    for (int i = 0; i < 12; i++) {
        struct image_box box = random_box(rng, width, height);
        copy_box(full, width, &box, cut);
        cr_assert_eq(image_decode(reader, data, size, &box, part, &err), IJ_OK, "%s", err.text);
        int difference = image_largest_difference(part, cut, (size_t)box.width * box.height * 3);
        cr_assert_leq(difference, 1, "%ux%u at %u,%u of %ux%u, sampling %dx%d%s: differs by %d",
                      box.width, box.height, box.x, box.y, width, height, options->h, options->v,
                      options->progressive ? " progressive" : "", difference);
    }
    free(data);
}

Test(image_reader, a_box_equals_that_part_of_the_whole)
{
    static const int sampling[][2] = {{1, 1}, {2, 1}, {1, 2}, {2, 2}, {4, 1}, {4, 2}};
    static const uint32_t sizes[][2] = {{1, 1},   {7, 9},    {16, 16}, {17, 33},  {64, 48},
                                        {83, 61}, {129, 97}, {200, 3}, {211, 160}};
    struct rng rng;
    rng_init(&rng, 11, RNG_TEST, 0, 0);
    for (size_t s = 0; s < COUNT_OF(sampling); s++)
        for (size_t i = 0; i < COUNT_OF(sizes); i++)
            for (unsigned kind = 0; kind < 4; kind++) {
                struct image_jpeg_options options = {.quality = 88,
                                                     .h = sampling[s][0],
                                                     .v = sampling[s][1],
                                                     .progressive = kind & 1,
                                                     .restart = kind & 2 ? 3 : 0};
                compare_boxes(sizes[i][0], sizes[i][1], &options, &rng);
            }
}

Test(image_reader, a_box_of_a_grey_file_equals_that_part_of_the_whole)
{
    struct image_jpeg_options options = {.quality = 90, .h = 1, .v = 1, .grey = true};
    struct rng rng;
    rng_init(&rng, 12, RNG_TEST, 0, 0);
    compare_boxes(83, 61, &options, &rng);
    options.progressive = true;
    compare_boxes(83, 61, &options, &rng);
}

Test(image_reader, a_box_of_a_png_equals_that_part_of_the_whole)
{
    mem_auto char *data = NULL;
    size_t size;
    struct image_box whole = {0, 0, 40, 30};
    uint8_t full[40 * 30 * 3], part[40 * 30 * 3], cut[40 * 30 * 3];
    struct rng rng;
    rng_init(&rng, 13, RNG_TEST, 0, 0);
    cr_assert_eq(file_read("tests/golden/images/rgb.png", 1 << 20, &data, &size, NULL), IJ_OK);
    cr_assert_eq(image_decode(reader, data, size, &whole, full, NULL), IJ_OK);
    for (int i = 0; i < 50; i++) {
        struct image_box box = random_box(&rng, 40, 30);
        copy_box(full, 40, &box, cut);
        cr_assert_eq(image_decode(reader, data, size, &box, part, NULL), IJ_OK);
        cr_assert_arr_eq(part, cut, (size_t)box.width * box.height * 3);
    }
}

/* ---- Hostile files --------------------------------------------------------------------------- */

static enum ij_status decode_whole(const void *data, size_t size, struct ij_err *err)
{
    struct image_info info;
    struct image_strip strip;
    IJ_TRY(image_reader_open(reader, data, size, &info, err));
    struct image_box box = {0, 0, info.width, info.height};
    IJ_TRY(image_reader_start(reader, &box, err));
    for (uint32_t y = 0; y < box.height; y += strip.count)
        IJ_TRY(image_reader_rows(reader, &strip, err));
    return IJ_OK;
}

static const struct {
    const char *file;
    enum ij_status status;
    const char *cause; /* part of the message */
} hostile[] = {
    {"animation.jpg", IJ_DATA, "looks like a GIF"},
    {"corrupt_entropy.jpg", IJ_DATA, "Corrupt JPEG data"},
    {"empty.jpg", IJ_DATA, "empty"},
    {"five_components.jpg", IJ_DATA, "Bogus marker"},
    {"header_only.jpg", IJ_DATA, "Premature end"},
    {"largest_size.png", IJ_DATA, "overflow"},
    {"memory_over_limit.jpg", IJ_TOO_LARGE, "256 MiB"},
    {"named_png.jpg", IJ_OK, ""},
    {"no_size.jpg", IJ_DATA, "Empty JPEG image"},
    {"page.jpg", IJ_DATA, "HTML"},
    {"palette_missing.png", IJ_DATA, "PLTE"},
    {"pixels_at_limit.jpg", IJ_DATA, "premature end"},
    {"pixels_at_limit.png", IJ_DATA, "too short"},
    {"pixels_over_limit.jpg", IJ_TOO_LARGE, "10000 x 5001"},
    {"pixels_over_limit.png", IJ_TOO_LARGE, "10000 x 5001"},
    {"profile_bomb.png", IJ_TOO_LARGE, "limits"},
    {"scans_at_limit.jpg", IJ_OK, ""},
    {"scans_over_limit.jpg", IJ_TOO_LARGE, "100 scans"},
    {"stray_bytes.jpg", IJ_OK, ""},
    {"text.jpg", IJ_DATA, "neither JPEG nor PNG"},
    {"too_little_data.png", IJ_DATA, "too short"},
    {"truncated.jpg", IJ_DATA, "Premature end"},
    {"truncated.png", IJ_DATA, "end of stream"},
    {"twelve_bits.jpg", IJ_DATA, "precision"},
    {"two_bytes.jpg", IJ_DATA, "Premature end"},
    {"wrong_checksum.png", IJ_DATA, "checksum"},
};

Test(image_reader, hostile_files_are_refused_by_cause)
{
    for (size_t i = 0; i < COUNT_OF(hostile); i++) {
        char path[200];
        mem_auto char *data = NULL;
        size_t size;
        struct ij_err err = IJ_ERR_INIT;
        snprintf(path, sizeof(path), HOSTILE "/%s", hostile[i].file);
        cr_assert_eq(file_read(path, 1 << 20, &data, &size, NULL), IJ_OK, "%s", path);
        enum ij_status status = decode_whole(data, size, &err);
        cr_expect_eq(status, hostile[i].status, "%s: %s: %s", path, ij_status_name(status),
                     err.text);
        cr_expect_not_null(strstr(err.text, hostile[i].cause), "%s: %s", path, err.text);
    }
}

/* After any failure, wherever it struck, the reader decodes a good file as before. */
Test(image_reader, a_failure_leaves_the_reader_usable)
{
    unsigned char *data;
    size_t size;
    struct image_jpeg_options options = {.quality = 90, .h = 2, .v = 2};
    struct image_box box = {0, 0, 90, 70};
    mem_auto uint8_t *painted = image_paint(90, 70, 1);
    mem_auto uint8_t *expected = mem_array(uint8_t, 90 * 70 * 3);
    mem_auto uint8_t *pixels = mem_array(uint8_t, 90 * 70 * 3);
    image_jpeg(painted, 90, 70, &options, &data, &size);
    cr_assert_eq(image_decode(reader, data, size, &box, expected, NULL), IJ_OK);
    for (size_t cut = 0; cut < size - 2; cut += 7) {
        cr_expect_neq(image_decode(reader, data, cut, &box, pixels, NULL), IJ_OK, "cut at %zu",
                      cut);
        cr_assert_eq(image_decode(reader, data, size, &box, pixels, NULL), IJ_OK);
        cr_assert_arr_eq(pixels, expected, 90 * 70 * 3);
    }
    free(data);
}

/* The corpus of malformed JPEGs: no crash, each within two seconds (ten under a sanitizer). */
static void try_file(const char *path, int64_t *slowest_ms)
{
    mem_auto char *data = NULL;
    size_t size;
    struct image_info info;
    struct image_strip strip;
    cr_assert_eq(file_read(path, 64u << 20, &data, &size, NULL), IJ_OK, "%s", path);
    int64_t since = clock_monotonic_ms();
    (void)!decode_whole(data, size, NULL);
    if (image_reader_open(reader, (uint8_t *)data, size, &info, NULL) == IJ_OK) {
        struct image_box box = {info.width / 3, info.height / 3, (info.width + 1) / 2,
                                (info.height + 1) / 2};
        enum ij_status status = image_reader_start(reader, &box, NULL);
        for (uint32_t y = 0; status == IJ_OK && y < box.height; y += strip.count)
            status = image_reader_rows(reader, &strip, NULL);
    }
    image_reader_close(reader);
    int64_t spent = clock_monotonic_ms() - since;
    *slowest_ms = spent > *slowest_ms ? spent : *slowest_ms;
    cr_expect_lt(spent, 10000, "%s takes %lld ms", path, (long long)spent);
}

static size_t try_folder(const char *path, int64_t *slowest_ms)
{
    DIR *folder = opendir(path);
    struct dirent *entry;
    size_t count = 0;
    cr_assert_not_null(folder);
    while ((entry = readdir(folder))) {
        char child[1500];
        snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] == '.')
            continue;
        if (entry->d_type == DT_DIR)
            count += try_folder(child, slowest_ms);
        else if (entry->d_type == DT_REG && ++count)
            try_file(child, slowest_ms);
    }
    closedir(folder);
    return count;
}

Test(image_reader, malformed_corpus_is_survived, .timeout = 280)
{
    const char *corpus = getenv("IJEPAD_TEST_DATA");
    char command[1200];
    int64_t slowest_ms = 0;
    if (!corpus)
        cr_skip_test("IJEPAD_TEST_DATA is not set");
    snprintf(command, sizeof(command), "%s/jpeg-malformed.tar.gz", corpus);
    if (access(command, R_OK) < 0)
        cr_skip_test("no jpeg-malformed.tar.gz in IJEPAD_TEST_DATA");
    image_folder_make();
    snprintf(command, sizeof(command), "tar -xzf %s/jpeg-malformed.tar.gz -C %s", corpus,
             image_folder);
    cr_assert_eq(system(command), 0);
    size_t count = try_folder(image_folder, &slowest_ms);
    image_folder_remove();
    cr_log_info("%zu files, slowest %lld ms", count, (long long)slowest_ms);
    cr_expect_geq(count, 3000);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    cr_expect_lt(slowest_ms, 2000);
#endif
}
